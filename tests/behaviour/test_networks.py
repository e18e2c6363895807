"""The network of steps and runs: what is reached by default, by choice, and where a machine has none to give."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.containers import begin, removed_at_the_end
from tests.behaviour.world import World
from tests.needs import need, need_way_out


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """Of a server on this machine's loopback and one on all its addresses, which say so."""
    servers = []
    for address, said in (("127.0.0.1", b"loopback\n"), ("0.0.0.0", b"machine\n")):
        sock = socket.create_server((address, 0))

        def serve(sock: socket.socket = sock, said: bytes = said) -> None:
            while True:
                try:
                    connection, _ = sock.accept()
                except OSError:
                    return
                connection.sendall(said)
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        servers.append(sock)
    yield servers[0].getsockname()[1], servers[1].getsockname()[1]
    for sock in servers:
        sock.shutdown(socket.SHUT_RDWR)
        sock.close()


def _own_address() -> str:
    """An address of this machine that is no loopback one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("203.0.113.1", 9))  # nothing is sent
        return str(sock.getsockname()[0])


@pytest.fixture
def project(world: World, base_layout: Path) -> World:
    need_way_out(world.mode)
    world.env["PYBUILD_NETWORK"] = ""
    world.write({"Dockerfile": "FROM busybox\n"})
    world.build("-t", "box", "--build-context", f"busybox=oci-layout://{base_layout}")
    return world


def test_what_was_made_without_a_network_is_not_taken_for_what_is_made_with_one(
    project: World, base_layout: Path
) -> None:
    """Also where the environment or the configuration, and no option, says that there is none."""
    project.write({"Dockerfile": f"FROM oci-layout://{base_layout}\nRUN ls /sys/class/net | wc -l > /net\n"})

    def ran(network: str) -> int:
        return len(project.ran(project.build(PYBUILD_NETWORK=network)))

    assert [ran(network) for network in ("none", "", "isolated", "none")] == [1, 1, 0, 0]
    config = project.top / "home" / ".config" / "pybuild"
    config.mkdir(parents=True)
    (config / "config.toml").write_text('[build]\nnetwork = "none"\n')
    config.parent.parent.chmod(0o755)
    project.write({"Dockerfile": f"FROM oci-layout://{base_layout}\nRUN ls /sys/class/net | wc -l > /again\n"})
    assert [ran(network) for network in ("", "isolated", "none")] == [1, 1, 0]


def _build(project: World, steps: str, base_layout: Path, *options: str, ok: bool = True, **env: str) -> str:
    project.write({"Dockerfile": f"FROM busybox\n{steps}"})
    done = project.build("--no-cache", "--build-context", f"busybox=oci-layout://{base_layout}", *options, ok=ok, **env)
    return done.stderr


@pytest.mark.attack("S13")
def test_a_step_reaches_the_machine_and_not_its_loopback(
    project: World, base_layout: Path, ports: tuple[int, int]
) -> None:
    loopback, machine = ports
    steps = (
        f"RUN nc -w 3 127.0.0.1 {loopback} </dev/null && echo reached it || echo no way\n"
        f"RUN nc -w 3 machine.test {machine} </dev/null\n"
    )
    said = _build(project, steps, base_layout, f"--add-host=machine.test:{_own_address()}")
    assert " no way\n" in said
    assert " machine\n" in said
    assert "warning" not in said


@pytest.mark.attack("S9")
def test_the_hosts_network_by_choice(project: World, base_layout: Path, ports: tuple[int, int]) -> None:
    ask = f"nc -w 3 127.0.0.1 {ports[0]} </dev/null\n"
    assert " loopback\n" in _build(project, f"RUN {ask}", base_layout, "--network=host")
    assert " loopback\n" in _build(project, f"RUN {ask}", base_layout, PYBUILD_NETWORK="host")
    said = _build(project, f"RUN --network=host {ask}", base_layout, ok=False)
    assert "Dockerfile:2:5: a RUN with `--network=host` is not allowed in this build" in said
    assert "--allow network.host" in said
    for allowed in ({}, {"PYBUILD_NETWORK": "host"}):
        options = () if allowed else ("--allow", "network.host")
        assert " loopback\n" in _build(project, f"RUN --network=host {ask}", base_layout, *options, **allowed)


def test_no_network_by_choice(project: World, base_layout: Path) -> None:
    for steps, options in (
        ("RUN --network=none ls /sys/class/net\n", ()),
        ("RUN ls /sys/class/net\n", ("--network=none",)),
    ):
        said = _build(project, steps, base_layout, *options)
        assert [line.split()[-1] for line in said.splitlines() if line.split()[2:] in (["lo"], ["eth0"])] == ["lo"]


def test_a_container_on_the_machines_network_knows_the_names_that_the_machine_knows(project: World) -> None:
    machine = Path("/etc/hosts").read_text()
    options = ("--hostname=own", "--add-host=db:10.0.0.1", "--network=host")
    said = project.run("run", *options, "box", "cat", "/etc/hosts").stdout
    assert said.endswith(machine)
    assert said.startswith("127.0.0.1\tlocalhost own\n")
    assert "\n10.0.0.1\tdb\n" in said
    with removed_at_the_end(project):
        project.run("run", "-d", "--name=behind", *options, "box", "cat", "/etc/hosts")
        project.run("wait", "behind")
        project.run("start", "behind")
        project.run("wait", "behind")
        assert project.run("logs", "behind").stdout == 2 * said
    assert machine not in project.run("run", "--network=none", "box", "cat", "/etc/hosts").stdout


@pytest.mark.attack("S13", by="run")
def test_a_run_reaches_the_machine_and_not_its_loopback(project: World, ports: tuple[int, int]) -> None:
    ask = ("sh", "-c", f"nc -w 3 127.0.0.1 {ports[0]} </dev/null; nc -w 3 {_own_address()} {ports[1]} </dev/null")
    assert project.run("run", "box", *ask).stdout == "machine\n"
    assert project.run("run", "--network=host", "box", *ask).stdout == "loopback\nmachine\n"
    assert project.run("run", "--network=isolated", "box", *ask, PYBUILD_NETWORK="host").stdout == "machine\n"
    assert project.run("run", "box", *ask, ok=False, PYBUILD_NETWORK="none").stdout == ""


def test_host_gateway_is_an_address_of_the_machine_that_is_reached(
    project: World, base_layout: Path, ports: tuple[int, int]
) -> None:
    there = "--add-host=host.docker.internal:host-gateway"
    ask = f"nc -w 3 host.docker.internal {ports[1]} </dev/null"
    for network in ("isolated", "host"):
        assert project.run("run", there, f"--network={network}", "box", "sh", "-c", ask).stdout == "machine\n", network
    with removed_at_the_end(project):
        project.run("run", "-d", "--name=asks", there, "--network=project:gateway", "box", "sh", "-c", ask)
        project.run("wait", "asks")
        assert project.run("logs", "asks").stdout == "machine\n"
    assert " machine\n" in _build(project, f"RUN {ask}\n", base_layout, there)


def test_a_shell_has_the_network_of_its_step(project: World, base_layout: Path, ports: tuple[int, int]) -> None:
    project.write({"Dockerfile": "FROM busybox AS base\nRUN echo it\n"})
    options = ("--build-context", f"busybox=oci-layout://{base_layout}")
    ask = ("--", "sh", "-c", f"nc -w 3 127.0.0.1 {ports[0]} </dev/null; nc -w 3 {_own_address()} {ports[1]} </dev/null")
    assert project.run("shell", *options, "base@it", *ask).stdout == "machine\n"


def test_steps_that_run_at_once_are_apart(project: World, base_layout: Path) -> None:
    stages = "".join(
        f"FROM busybox AS s{number}\nRUN cat /sys/class/net/eth0/address > /{number}; sleep 1\n" for number in range(4)
    )
    copies = "".join(f"COPY --from=s{number} /{number} /\n" for number in range(4))
    project.write({"Dockerfile": f"{stages}FROM scratch\n{copies}"})
    out = project.out("--build-context", f"busybox=oci-layout://{base_layout}", "-j4")
    assert len({(out / str(number)).read_text() for number in range(4)}) == 4


def _instead_of(project: World, programs: tuple[str, ...], text: str) -> str:
    """A PATH on which these programs are a script."""
    directory = project.top / "programs"
    directory.mkdir(exist_ok=True)
    for name in programs:
        (directory / name).write_text(f"#!/bin/sh\n{text}\n")
        (directory / name).chmod(0o755)
    return f"{directory}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def test_a_run_begins_before_its_way_out_is_there_and_what_it_sends_arrives(
    project: World, ports: tuple[int, int]
) -> None:
    (project.top / "programs").mkdir()
    now = project.top / "programs/now"
    waits = f"while [ ! -e {now} ]; do sleep 0.05; done"
    project.env["PATH"] = _instead_of(project, ("pasta",), f'{waits}; exec {shutil.which("pasta")} "$@"')
    with begin(
        project, "run", "box", "sh", "-c", f"echo it runs; nc -w 30 {_own_address()} {ports[1]} </dev/null"
    ) as it:
        assert it.stdout is not None
        assert it.stdout.readline() == "it runs\n"
        now.touch()
        assert it.stdout.read() == "machine\n"
    assert it.returncode == 0


def test_a_run_that_ends_at_once_leaves_nothing(project: World) -> None:
    mark = f"slow-{os.getpid()}-{project.mode}"
    path = _instead_of(project, ("pasta",), f"exec sh -c 'sleep 1000; : {mark}'")
    for _ in range(5):
        assert project.run("run", "box", "echo", "done", PATH=path).stdout == "done\n"
    deadline = time.monotonic() + 30  # for a hung test, not a measure
    while any(mark in _command_line(pid) for pid in os.listdir("/proc") if pid.isdigit()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _command_line(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize("after", ["0", "1"], ids=["at-once", "later"])
def test_a_way_out_that_fails_ends_the_run_with_an_error(project: World, after: str) -> None:
    path = _instead_of(project, ("pasta", "slirp4netns"), f"sleep {after}; echo nothing doing >&2; exit 3")
    done = _without_the_bridge(project, path, "run", "box", "sh", "-c", "echo it runs; sleep 1000")
    assert done.returncode == 125, done.stderr
    assert "an isolated network could not be made (pasta ended with 3: nothing doing" in done.stderr
    assert "--network=host" in done.stderr
    done = _without_the_bridge(project, path, "run", "-d", "box", "sleep", "1000")
    assert done.returncode == 125, done.stderr
    assert "an isolated network could not be made" in done.stderr


def _without_the_bridge(project: World, path: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run pybuild where root has no bridge either: in a network that forwards nothing."""
    command = project.command(*argv)
    if project.mode == "root" and os.geteuid() == 0:
        need("unshare")
        forwards = "echo 0 > /proc/sys/net/ipv4/ip_forward"
        command = ["unshare", "-n", "sh", "-c", f'{forwards} && exec "$@"', "sh", *command]
    return subprocess.run(
        command,
        cwd=project.project,
        env=project.environment(PATH=path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


_WITHOUT_TUN = """
mount --make-rprivate / && mount -t tmpfs tun "$1" && mknod -m 600 "$1/tun" c 10 200 &&
mount --bind "$1/tun" /dev/net/tun && shift && exec "$@"
"""


def test_where_nothing_reaches_out_the_machines_network_is_shared_and_that_is_said_once(
    world: World, base_layout: Path
) -> None:
    if world.mode == "root" or os.geteuid() != 0:
        pytest.skip("root has the bridge, and who is not root cannot take /dev/net/tun away")
    need("unshare", "mount", "mknod")
    world.write({"Dockerfile": "FROM busybox\nRUN ls /sys/class/net > /dev/null\nRUN echo second\n"})
    (scratch := world.top / "scratch").mkdir()
    command = world.command("build", "--progress=plain", "--build-context", f"busybox=oci-layout://{base_layout}", ".")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", _WITHOUT_TUN, "sh", str(scratch), *command],
        cwd=world.project,
        env=world.environment(PYBUILD_NETWORK=""),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no isolated network can be made here, so commands share this machine's") == 1
    assert "as root: chmod 666 /dev/net/tun" in done.stderr
    assert " second\n" in done.stderr
