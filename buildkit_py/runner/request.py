"""What a person asks of `pybuild run`, as a plain record."""

from __future__ import annotations

from buildkit_py.image.config import Healthcheck
from buildkit_py.record import Record
from buildkit_py.sandbox.spec import DEFAULT_CAPABILITIES, SandboxMount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.runner.published import Published
    from buildkit_py.sandbox.limits import Limits
    from buildkit_py.tmpfs_spec import TmpfsSpec


class Bounds(Record):
    """What all processes of a container may use together: bytes, thousandths of a processor, processes; 0: no limit."""

    memory: int = 0
    cpus: int = 0
    pids: int = 0

    def enforce(self) -> Limits | None:
        """The control groups that see to it, None where nothing is limited.

        Raises `SandboxError` where this machine or user cannot have them.
        """
        if not any(self.values()):
            return None
        from buildkit_py.sandbox.limits import Limits, hierarchies

        return Limits.make(hierarchies(), memory=self.memory, cpus=self.cpus, pids=self.pids)


def tmpfs_mount(spec: TmpfsSpec) -> SandboxMount:
    """The mount of a tmpfs that somebody specified."""
    given = {name: getattr(spec, name) for name in spec.__fields__}
    return SandboxMount("tmpfs", read_only=False, **given)


class RunRequest(Record):
    """What `pybuild run` runs: `what` is an image reference, or `FILE:TARGET` / `FILE` of a Buildfile.

    None in `entrypoint` keeps the image's. `volumes` are (source, target, read_only); a source is the absolute path of
    a directory or file, or the name of a volume of the store. `network` is "default", "isolated", "host", "none",
    or "project:NAME", where the others find it by its name and its `aliases`.
    `interactive` keeps standard input, `terminal` allocates one. `capabilities` is a bit mask, `tmpfs` are mounts of
    that kind, `shm` the bytes of /dev/shm (0: 64 MiB), and `ulimits` as of a `SandboxSpec`. `runtime` is who runs it
    instead of us: `crun`, `runc` or a path. `health` is what is asked of the health check of one in the background: its
    image says what this leaves open. `init`: an init program of this machine is its first process. `ports` are
    published, and with `publish_all` those, too, that the image exposes.
    """

    what: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    env: tuple[tuple[str, str], ...] = ()
    volumes: tuple[tuple[str, str, bool], ...] = ()
    workdir: str = ""
    user: str = ""
    hostname: str = ""
    network: str = "default"
    read_only: bool = False
    interactive: bool = False
    terminal: bool = False
    hosts: tuple[tuple[str, str], ...] = ()
    pull: bool = False
    store: str = ""
    bounds: Bounds = Bounds()
    capabilities: int = DEFAULT_CAPABILITIES
    seccomp: bool = True
    no_new_privileges: bool = False
    tmpfs: tuple[SandboxMount, ...] = ()
    shm: int = 0
    ulimits: tuple[tuple[str, int, int, int], ...] = ()
    runtime: str = ""
    health: Healthcheck = Healthcheck()
    init: bool = False
    ports: tuple[Published, ...] = ()
    publish_all: bool = False
    aliases: tuple[str, ...] = ()
