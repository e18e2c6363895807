"""The sandbox spec: everything that decides what a sandbox is, as one immutable record.

The fork server gets it as plain data (`wire`), so that the process that
enters the root needs no import to read it.
"""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


DEFAULT_CAPABILITIES = 0xA80425FB  # docker's default set
# What the files of mounts may come to in a sandbox that was begun before they were known.
ROOM_FOR_FILES = 2 << 20


class RootFilesystem(Record):
    """Layer directories in overlay form, lowest first, under a writable `upper` (with its `work`).

    `upper` empty: read-only. `host`: the lowest layer is this machine's own
    root, below `layers`; directories named in `hide` are then covered with
    empty ones. `volatile` skips overlay's syncs. `work` is empty and on the
    file system of `upper`. No directory of the list may be changed while the
    sandbox lives.
    """

    layers: tuple[str, ...] = ()
    upper: str = ""
    work: str = ""
    host: bool = False
    volatile: bool = True
    hide: tuple[str, ...] = ()


class SandboxMount(Record):
    """One mount inside. `target` is absolute inside the root; missing mount points are made (and
    removed again from the upper directory when the sandbox ends, if still empty).

    kind "bind": `source` is an absolute path of this machine.
    kind "tree": `layers` (overlay form, lowest first) are mounted and their `path` is bound; writes,
    if allowed, go to a directory that is dropped.
    kind "tmpfs": `size` bytes or `percent` of the machine's memory (both 0: half of it), `mode`, `uid`, `gid`;
    `executable`: what is in it may be run.
    kind "file": `data` becomes a file on a tmpfs of its own, with `mode`, `uid`, `gid`.
    """

    kind: str
    target: str
    source: str = ""
    layers: tuple[str, ...] = ()
    path: str = "/"
    read_only: bool = True
    size: int = 0
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    data: bytes = b""
    executable: bool = True
    percent: int = 0

    @property
    def limit(self) -> str:
        """How large a tmpfs may become, in the kernel's words; "" where nothing is said."""
        return f"{self.percent}%" if self.percent else str(self.size or "")


class Outline(Record):
    """What has to be known of a spec to begin its sandbox: the fields of it that go by these names."""

    network: str = "host"
    capabilities: int = DEFAULT_CAPABILITIES
    cgroups: tuple[str, ...] = ()
    shm: int = 0


class SandboxSpec(Record):
    """`user` is `name[:group]` or numbers, looked up in the root's own /etc/passwd and /etc/group;
    HOME is set from there unless `env` has it. `cwd` is made if it is missing. `resolv_conf` and
    `hosts` are the bytes bound over those files (None: leave the image's), read-only unless
    `writable_etc`; the first `below_etc` of the mounts lie below them.
    `network` is "host", "none", or "isolated": a namespace of its own that reaches out; with a `number`
    (from `network.plan.SERVICES` on, 0: none), one whose addresses are those of the number
    (`network.plan.Plan.address`), at which the other sandboxes of its hub reach it.
    `capabilities` is the bounding set as a bit mask.
    `terminal` makes standard input, output and error a new pseudo-terminal's other side. `cgroups` are directories of
    control groups that the first process joins before all else. `insecure`: nothing of /proc and /sys is covered or
    read-only, and devices that it makes can be opened. `shm` are the bytes of /dev/shm, 0 for docker's 64 MiB.
    `ulimits` are resource limits, each (name, number, soft, hard) as of `sandbox/ulimits.py`.
    `open_ports`: every user inside may take ports below 1024 and send pings, if the network is not the host's.
    `runtime` is who runs it instead of us: kind ("crun" or "runc"), program, and an empty directory for the bundle;
    `insecure` does not go with it. `screen` are the rows and columns that its terminal begins with,
    where they are known. `directories` are made where nothing is at their paths, and stay.
    """

    root: RootFilesystem
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    cwd: str = "/"
    user: str = ""
    hostname: str = "buildkitsandbox"
    network: str = "host"
    mounts: tuple[SandboxMount, ...] = ()
    hosts: bytes | None = None
    resolv_conf: bytes | None = None
    writable_etc: bool = False
    capabilities: int = DEFAULT_CAPABILITIES
    seccomp: bool = True
    no_new_privileges: bool = False
    terminal: bool = False
    read_only_root: bool = False
    cgroups: tuple[str, ...] = ()
    insecure: bool = False
    shm: int = 0
    ulimits: tuple[tuple[str, int, int, int], ...] = ()
    open_ports: bool = False
    runtime: tuple[str, ...] = ()
    screen: tuple[int, int] = (0, 0)
    number: int = 0
    directories: tuple[str, ...] = ()
    below_etc: int = 0

    @property
    def file_bytes(self) -> int:
        """What the files that the sandbox gets come to."""
        return len(self.hosts or b"") + sum([len(mount.data) for mount in self.mounts])

    @property
    def outline(self) -> Outline | None:
        """What a sandbox has to be begun with so that it can become this one, None where that cannot be."""
        if self.insecure or self.number or self.runtime or self.file_bytes > ROOM_FOR_FILES:
            return None
        return Outline(self.network, self.capabilities, self.cgroups, self.shm)

    @property
    def usual(self) -> bool:
        """Whether a sandbox that was begun before anything was known of this one but its network can become it."""
        shares = self.network in ("host", "isolated") and not self.open_ports  # whose network is as those of others
        return shares and self.outline == Outline(self.network)

    def wire(self) -> dict[str, Any]:
        """The spec as dicts and tuples of plain values, for `marshal`."""
        out = dict(zip(self.__fields__, self.values(), strict=True))
        out["root"] = dict(zip(self.root.__fields__, self.root.values(), strict=True))
        out["mounts"] = [dict(zip(m.__fields__, m.values(), strict=True)) for m in self.mounts]
        return out

    @staticmethod
    def from_wire(wire: dict[str, Any]) -> SandboxSpec:
        """The spec that `wire` described."""
        fields = dict(wire)
        fields["root"] = RootFilesystem(**wire["root"])
        fields["mounts"] = tuple([SandboxMount(**mount) for mount in wire["mounts"]])
        return SandboxSpec(**fields)


class Exit(Record):
    """How a sandbox ended: `code` as a shell would say it (128+n for signal n)."""

    code: int
    seconds: float = 0.0
    max_rss: int = 0
