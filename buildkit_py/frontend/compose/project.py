"""A project: the services of compose files and what they stand on, as immutable records.

Paths are absolute, times in seconds, sizes in bytes. `at` is where a thing stands in its file.
"""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.compose.files import Remark
    from buildkit_py.image.config import Healthcheck
    from buildkit_py.source_map import Position
    from buildkit_py.tmpfs_spec import TmpfsSpec

STARTED, HEALTHY, COMPLETED = "service_started", "service_healthy", "service_completed_successfully"


class BuildSecret(Record):
    """A secret of a build: its id there, and its file, or its value in `data`, or `missing`: the name of a variable
    that is not set. `at` is where the secret says that.
    """

    id: str
    at: Position
    file: str = ""
    data: str = ""
    missing: str = ""


class Build(Record):
    """How a service's image is built. `context` is a directory, or an address of git or of the web.

    `dockerfile` is absolute or relative to the context, "" for the usual names; `inline` is its text instead.
    """

    context: str
    at: Position
    dockerfile: str = ""
    inline: str = ""
    target: str = ""
    args: tuple[tuple[str, str], ...] = ()
    contexts: tuple[tuple[str, str], ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    ssh: tuple[str, ...] = ()
    secrets: tuple[BuildSecret, ...] = ()
    entitlements: tuple[str, ...] = ()
    network: str = "default"
    platform: str = ""
    no_cache: bool = False
    pull: bool = False


class Port(Record):
    """A port of a container, and where it is to be reached: at one of the `published` ports, from the first to the
    last, 0 for any that is free; `host_ip` "" is the usual address.
    """

    target: int
    at: Position
    published: tuple[int, int] = (0, 0)
    host_ip: str = ""
    protocol: str = "tcp"


class Mount(Record):
    """What is mounted at `target`. `kind` is "bind", "volume" or "tmpfs".

    `source` is a path, or a volume's name in the store. `create`: a directory of this machine that is not there is
    made. `tmpfs` says what one is.
    """

    kind: str
    target: str
    at: Position
    source: str = ""
    read_only: bool = False
    create: bool = False
    tmpfs: TmpfsSpec | None = None


class GivenFile(Record):
    """A secret or config as a file at `target`: a file of this machine in `source`, or `data`, or `missing`: the name
    of a variable that is not set.

    `owner` is (uid, gid, mode) where anything is said of them, else None: then a file is mounted as it is.
    """

    target: str
    at: Position
    source: str = ""
    data: str = ""
    missing: str = ""
    owner: tuple[int, int, int] | None = None


class Dependency(Record):
    """A service that has to have come to `condition` first. `restart`: this one is started anew when that one is."""

    service: str
    at: Position
    condition: str = STARTED
    restart: bool = False
    required: bool = True


class Attachment(Record):
    """A network that a service is on, and what else it is called there."""

    network: str
    aliases: tuple[str, ...] = ()


class Service(Record):
    """One service, of which there is one container. None and "" are what the image says.

    `mode` is "none" or "host" where it is on no network of the project. `cpus` are thousandths of a processor; 0 is no
    limit. `ulimits` are (name, soft, hard), -1 for none. `restart` is a policy as `pybuild run --restart` has it.
    `pull` is "missing", "always", "never" or "build".
    """

    name: str
    at: Position
    image: str = ""
    build: Build | None = None
    pull: str = "missing"
    container_name: str = ""
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    environment: tuple[tuple[str, str], ...] = ()
    ports: tuple[Port, ...] = ()
    expose: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    files: tuple[GivenFile, ...] = ()
    networks: tuple[Attachment, ...] = ()
    mode: str = ""
    depends_on: tuple[Dependency, ...] = ()
    healthcheck: Healthcheck | None = None
    restart: str = "no"
    stop_signal: str = ""
    patience: float = 10.0
    user: str = ""
    working_dir: str = ""
    hostname: str = ""
    hosts: tuple[tuple[str, str], ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    read_only: bool = False
    init: bool = False
    terminal: bool = False
    shm: int = 0
    ulimits: tuple[tuple[str, int, int], ...] = ()
    memory: int = 0
    cpus: int = 0
    pids: int = 0
    labels: tuple[tuple[str, str], ...] = ()
    attach: bool = True
    profiles: tuple[str, ...] = ()


class Project(Record):
    """`services` are those that are enabled, in dependency order; `disabled` those of profiles that are not.

    `volumes` are the names in the store of the project's own named volumes, `networks` the sets of networks of which
    services hear each other, `files` what was read or looked for.
    """

    name: str
    directory: str
    services: tuple[Service, ...]
    disabled: tuple[Service, ...] = ()
    volumes: tuple[str, ...] = ()
    external_volumes: tuple[str, ...] = ()
    networks: tuple[tuple[str, ...], ...] = ()
    files: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()

    def service(self, name: str) -> Service | None:
        """An enabled service by name."""
        return next((one for one in self.services if one.name == name), None)
