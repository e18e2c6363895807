"""The workbench that all cases work on: directories, the peers that are there, their daemons, the command under test.

Every engine has its store below one directory on tmpfs and an environment
that says nothing of the user's own configuration.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.daemon import Daemon
from bench.private import discard
from bench.race import Contender
from bench.registry import Registry

# What a peer needs installed.
PEERS: Mapping[str, tuple[str, ...]] = {
    "docker": ("docker", "dockerd"),
    "buildah": ("buildah", "runc"),
    "podman": ("podman", "runc", "conmon"),
    "runc": ("runc",),
    "crun": ("crun",),
    "ninja": ("ninja",),
    "tar+zstd": ("tar", "zstd"),
    "curl+tar": ("curl", "tar", "gzip"),
}
_CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=10000:20000"]
# Where the pids controller is version 1's, version 2 has none to set a limit with.
pids_limit = 0
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
# The other kind is one of the machine, in /dev/shm.
lock_type = "file"
"""


def present(wanted: Sequence[str], find: Callable[[str], str | None]) -> tuple[str, ...]:
    """Those of the wanted peers whose commands are all found. Raises `ValueError` for one that is not known."""
    for name in wanted:
        if name not in PEERS:
            raise ValueError(f"there is no peer `{name}`; there are {', '.join(PEERS)}")
    return tuple(name for name in wanted if all(find(command) for command in PEERS[name]))


class Workbench:
    """Directories, peers and daemons. `small`: a tenth of the sizes, to try the benchmark out."""

    def __init__(self, root: str, pybuild: str, peers: Sequence[str], rounds: int, small: bool) -> None:
        self.root, self.pybuild_path, self.peers = root, pybuild, peers
        self.small = small
        self._rounds = rounds
        self._registry: Registry | None = None
        self._dockerd: Daemon | None = None
        self._pulled: set[tuple[str, str]] = set()
        for name in ("home", "run", "tmp", "cases", "engines"):
            os.mkdir(f"{root}/{name}", 0o755)
        os.mkdir(f"{root}/home/.docker")
        # buildah takes an empty one, but not none.
        Path(f"{root}/home/.docker/config.json").write_text("{}")
        containers = f"{root}/containers.conf"
        Path(containers).write_text(_CONTAINERS_CONF)
        self.env = {
            "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin",
            "PYBUILD_NETWORK": "host",  # as the others have it
            "HOME": f"{root}/home",
            "XDG_RUNTIME_DIR": f"{root}/run",
            "TMPDIR": f"{root}/tmp",
            "LANG": "C.UTF-8",
            "PYBUILD_HOME": f"{root}/engines/pybuild",
            "DOCKER_HOST": f"unix://{root}/run/docker.sock",
            "DOCKER_CONFIG": f"{root}/home/.docker",
            "CONTAINERS_CONF": containers,
        }

    def has(self, peer: str) -> bool:
        """Whether a peer is here and wanted."""
        return peer in self.peers

    def rounds(self, usual: int) -> int:
        """How many rounds to run where `usual` are right."""
        return self._rounds or (2 if self.small else usual)

    def size(self, full: int) -> int:
        """A size or count: all of it, or a tenth where things are only tried out."""
        return max(1, full // 10) if self.small else full

    def directory(self, name: str) -> str:
        """A new empty directory for a case."""
        path = f"{self.root}/cases/{name}"
        os.makedirs(path)
        return path

    # The contenders.

    def pybuild(
        self,
        *arguments: str,
        cwd: str,
        name: str = "pybuild",
        home: str = "",
        prepare: Callable[[int], None] | None = None,
        changing: Callable[[int], Mapping[str, str]] | None = None,
    ) -> Contender:
        """The command under test, with a store of its own where `home` is given."""
        env = {**self.env, "PYBUILD_HOME": home} if home else self.env
        return Contender(name, ((self.pybuild_path, *arguments),), cwd, env, prepare, changing)

    def docker_build(
        self, tag: str, cwd: str, *, save: str = "", prepare: Callable[[int], None] | None = None
    ) -> Contender:
        """`docker build` with the host's network; with `save` also the image as an archive."""
        commands: list[tuple[str, ...]] = [("docker", "build", "--network=host", "-t", tag, ".")]
        if save:
            commands.append(("docker", "save", "-o", save, tag))
        return Contender("docker", tuple(commands), cwd, self.env, prepare)

    def buildah_build(
        self, tag: str, cwd: str, *, save: str = "", jobs: int = 1, prepare: Callable[[int], None] | None = None
    ) -> Contender:
        """`buildah build --layers` with the host's network; with `save` also the image as an OCI archive."""
        build = ("build", "--layers", "--network=host", "--tls-verify=false", f"--jobs={jobs}", "-t", tag, ".")
        commands = [(*self.storage("buildah"), *build)]
        if save:
            commands.append((*self.storage("buildah"), "push", "-q", tag, f"oci-archive:{save}"))
        return Contender("buildah", tuple(commands), cwd, self.env, prepare, most=3)

    def other(
        self,
        name: str,
        *commands: Sequence[str],
        cwd: str,
        prepare: Callable[[int], None] | None = None,
    ) -> Contender:
        """A contender that needs nothing from here but the environment."""
        return Contender(name, tuple(tuple(command) for command in commands), cwd, self.env, prepare)

    def storage(self, program: str, root: str = "") -> tuple[str, ...]:
        """buildah or podman with its store below `root`, by default the one that all cases share."""
        root = root or f"{self.root}/engines/containers"
        options = (program, "--root", f"{root}/store", "--runroot", f"{root}/run", "--storage-driver", "overlay")
        return (*options, "--tmpdir", f"{root}/tmp") if program == "podman" else options

    # What they need to be ready.

    @property
    def registry(self) -> Registry:
        """The local registry, started when first asked for."""
        if self._registry is None:
            self._registry = Registry(f"{self.root}/registry", self.env)
        return self._registry

    def start_docker(self) -> None:
        """Have dockerd running, with no network of its own."""
        if self._dockerd is None:
            command = (
                "dockerd",
                *("--data-root", f"{self.root}/engines/docker"),
                *("--exec-root", f"{self.root}/run/docker"),
                *("--pidfile", f"{self.root}/run/docker.pid"),
                *("--host", self.env["DOCKER_HOST"]),
                *("--storage-driver", "overlay2"),
                *("--bridge=none", "--iptables=false", "--ip6tables=false"),
            )
            self._dockerd = Daemon(command, f"{self.root}/docker.log", self.env, self._docker_answers)

    def base(self, image: str) -> str:
        """The full reference of an image that every peer and the command under test have in their stores."""
        reference = self.registry.image(image)
        pulls: list[tuple[str, tuple[str, ...]]] = [("pybuild", (self.pybuild_path, "pull", reference))]
        if self.has("docker"):
            self.start_docker()
            pulls.append(("docker", ("docker", "pull", "-q", reference)))
        if self.has("buildah") or self.has("podman"):
            program = "buildah" if self.has("buildah") else "podman"
            pulls.append(("containers", (*self.storage(program), "pull", "-q", "--tls-verify=false", reference)))
        for store, command in pulls:
            if (store, image) not in self._pulled:
                self.run(*command)
                self._pulled.add((store, image))
        return reference

    def run(self, *command: str, cwd: str = "", check: bool = True) -> str:
        """Run a command that is not measured; its output. Raises `RuntimeError` with it if it fails."""
        result = subprocess.run(
            command,
            cwd=cwd or self.root,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if check and result.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit code {result.returncode}\n{result.stdout[-1500:]}")
        return result.stdout

    def forget_docker(self, *tags: str) -> None:
        """Remove images and the whole build cache from docker; base images stay."""
        if tags:
            self.run("docker", "rmi", "-f", *tags, check=False)
        self.run("docker", "builder", "prune", "-af")

    def forget_containers(self, *tags: str) -> None:
        """Remove images and their intermediate ones from the store of buildah and podman; base images stay."""
        self.run(*self.storage("buildah"), "rmi", "-f", *tags, check=False)
        self.run(*self.storage("buildah"), "rmi", "--prune", check=False)

    def tidy(self) -> None:
        """After a case: give its memory back."""
        if self._dockerd is not None:
            self.run("docker", "system", "prune", "-f", check=False)
            self.run("docker", "builder", "prune", "-af", check=False)
        for name in os.listdir(f"{self.root}/cases"):
            discard(f"{self.root}/cases/{name}")

    def close(self) -> None:
        """End the daemons."""
        if self._dockerd is not None:
            self._dockerd.stop()
        if self._registry is not None:
            self._registry.daemon.stop()

    def _docker_answers(self) -> bool:
        return subprocess.run(("docker", "version"), env=self.env, capture_output=True, check=False).returncode == 0

    @property
    def interpreter(self) -> str:
        """The interpreter that the command under test names in its first line."""
        with open(self.pybuild_path, "rb") as file:
            first = file.readline()
        return first[2:].decode().split()[0] if first.startswith(b"#!") else sys.executable


def installed(command: str) -> str | None:
    """Where a command is; administration commands live where an ordinary PATH does not look."""
    return shutil.which(command, path=os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin")
