"""The probe inside containers of each engine: a dictionary of facts for root and for an ordinary user of each."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.behaviour.world import World
from tests.needs import need
from tests.peers.daemon import Docker

SOURCES = Path(__file__).parent
Facts = dict[str, str]
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
USERS = ("0:0", "1000:1000")
# A root with nothing but the probe, which a step runs as root and as somebody else.
_BUILD = """
FROM scratch AS plain
COPY rootfs/ /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

FROM plain AS probed
RUN ["/probe", "/facts-0", {links}]
USER 1000:1000
RUN ["/probe", "/tmp/facts-1000", {links}]
"""


def compile_probe(target: Path) -> None:
    """The static program. Skips the test where there is no compiler."""
    need("gcc")
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    subprocess.run(["gcc", "-static", "-O1", "-w", "-o", str(target), *sources], check=True)


def write_context(project: Path, probe: Path) -> None:
    """The Dockerfile and what it copies."""
    links = ", ".join(json.dumps(link) for link in _links())
    root = project / "rootfs"
    for name, text in {
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/group": "root:x:0:\n",
        "etc/hostname": "image\n",
        "tmp/empty": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "tmp").chmod(0o1777)
    shutil.copy(probe, root / "probe")
    (project / "Dockerfile").write_text(_BUILD.replace("{links}", links))


def pybuild_build(world: World) -> Facts:
    """The facts of RUN steps of `pybuild build`."""
    out = world.out("--network=none", "--target=probed")
    return _of_both(lambda user: (out / _place(user)).read_text())


def pybuild_run(world: World) -> Facts:
    """The facts of `pybuild run`."""
    options = ("--network=none", "--hostname=probe")

    def facts(user: str) -> str:
        command = ("run", *options, f"--user={user}", "Dockerfile:plain", "--", "/probe", "-", *_links())
        return world.run(*command).stdout

    return _of_both(facts)


def docker_build(docker: Docker, project: Path) -> Facts:
    """The facts of RUN steps of `docker build`."""
    out = docker.directory / "out"
    docker("build", "--network=none", "--target=probed", "-o", str(out), ".", cwd=project)
    try:
        return _of_both(lambda user: (out / _place(user)).read_text())
    finally:
        shutil.rmtree(out)


_RUN = ("run", "--network=none", "--hostname=probe")


def docker_run(docker: Docker, project: Path) -> Facts:
    """The facts of `docker run`."""
    docker("build", "--network=none", "--target=plain", "-t", "plain", ".", cwd=project)
    return _of_both(lambda user: docker(*_RUN, "--rm", "-u", user, "plain", "/probe", "-", *_links()))


def runtime(docker: Docker, program: str) -> Facts:
    """The facts of `runc` or `crun`, given what docker writes for its own containers. `docker_run` comes first."""
    return _of_both(lambda user: _in_bundle(docker, program, user))


def _in_bundle(docker: Docker, program: str, user: str) -> str:
    name = docker(*_RUN, "-d", "-u", user, "plain", "/probe", "wait").strip()
    bundle = docker.directory / "bundle"
    try:
        (found,) = docker.directory.glob(f"run/**/{name}/config.json")
        config: dict[str, Any] = json.loads(found.read_text())
        config["process"]["args"] = ["/probe", "-", *_links()]
        config["root"]["path"] = str(bundle / "rootfs")
        config["linux"]["cgroupsPath"] = f"/pybuild-probe-{os.getpid()}"
        config.pop("hooks", None)
        for directory in ("rootfs", "upper", "work"):
            (bundle / directory).mkdir(parents=True)
        (bundle / "config.json").write_text(json.dumps(config))
        export = docker.directory / "export.tar"
        docker("export", "-o", str(export), name)
        subprocess.run(["tar", "-xf", str(export), "-C", str(bundle / "rootfs"), "--exclude=.dockerenv"], check=True)
        # crun refuses a machine with both versions of cgroups unless the second has nothing to offer.
        script = """
        set -e
        v2=/sys/fs/cgroup/unified/cgroup.controllers
        if [ -e $v2 ]; then mount --bind /dev/null $v2; fi
        mount -t overlay -o "lowerdir=$2/rootfs,upperdir=$2/upper,workdir=$2/work" overlay "$2/rootfs"
        exec "$1" --root "$2/state" run -b "$2" "$3"
        """
        # An empty pipe as standard input: crun gives its own to the user, and /dev/null is the machine's.
        command = ["unshare", "-m", "sh", "-c", script, "sh", program, str(bundle), f"probe-{os.getpid()}"]
        done = subprocess.run(command, input="", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout
    finally:
        docker("rm", "-f", name)
        shutil.rmtree(bundle, ignore_errors=True)


def _links() -> list[str]:
    return [f"{name}={os.readlink(f'/proc/self/ns/{name}')}" for name in NAMESPACES]


def _place(user: str) -> str:
    return "facts-0" if user == USERS[0] else "tmp/facts-1000"


def _of_both(facts: Callable[[str], str]) -> Facts:
    """Name → value, the name headed by `root` or `user`."""
    inherited = _inherited()
    out: Facts = {}
    for who, user in zip(("root", "user"), USERS, strict=True):
        for line in facts(user).splitlines():
            name, _, value = line.partition("\t")
            assert f"{who} {name}" not in out, name
            out[f"{who} {name}"] = "inherited" if inherited.get(name) == value else value
    return out


def _inherited() -> Facts:
    """What a process has that nobody changed it for: all engines are started from here."""
    names = "cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice rtprio rttime"
    limits = {name: resource.getrlimit(number) for number, name in enumerate(names.split())}
    facts = {f"limit/{name}": f"{soft} {hard}" for name, (soft, hard) in limits.items()}
    return {**facts, "process/nice": str(os.getpriority(os.PRIO_PROCESS, 0))}
