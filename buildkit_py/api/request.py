"""What a person asks of a build and what comes back, as plain records."""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.errors import PybuildError
    from buildkit_py.image.config import ImageConfig, ImageDocument


class Secret(Record):
    """`--secret id=…`: where the value is; it is read when the first step wants it. One of `file`, `env`, and `data`,
    which is the value itself.

    `scan`: it is looked for in what the build makes.
    """

    id: str
    file: str = ""
    env: str = ""
    scan: bool = True
    data: str | None = None


class Ssh(Record):
    """`--ssh ID[=…]`: an agent, by the path of its socket or by the files of the keys that it is to hold."""

    id: str
    socket: str = ""
    keys: tuple[str, ...] = ()


class WantedTarget(Record):
    """A target by name ("" for the default one) and its parameters as given on the command line."""

    name: str = ""
    parameters: tuple[tuple[str, str], ...] = ()


class OutputSpec(Record):
    """One `-o`: kind is local, tar, oci, docker, registry or cacheonly; `dest` "-" is standard output."""

    kind: str
    dest: str = ""
    attributes: tuple[tuple[str, str], ...] = ()


class CacheSpec(Record):
    """One `--cache-from` or `--cache-to`: kind is local, registry, http, s3 or gha; `place` an absolute directory,
    an image's name, a URL, that of a bucket (`http.bucket.base`), or what people call it.

    `name` tells several caches in one directory, or below one URL, apart. `mode`: "max" writes what every step gave,
    "min" only what is in the targets' images. `mounts`: the files of cache mounts are written, too, of each so many as
    hold `mounts_max` bytes (0: what the configuration says). `trust` are names of the configuration, by one of whose
    keys what is there must be signed; where there is none, the environment says who is believed.
    """

    kind: str
    place: str
    name: str = "main"
    mode: str = "max"
    mounts: bool = False
    mounts_max: int = 0
    trust: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The place for people: of a URL without a password, and without a query, which may carry a signature."""
        from buildkit_py.http.address import shown_url

        return shown_url(self.place) if self.kind in ("http", "s3") else self.place


class SizeLimits(Record):
    """`--max-size` and `--max-growth`: an image may take `most` bytes when it is pulled, and be `growth` bytes, or so
    many `percent`, larger than another one. None where that does not matter. `against` is the other one's name, ""
    for what the image's own name stood for until now.
    """

    most: int | None = None
    growth: int | None = None
    percent: float | None = None
    against: str = ""

    @property
    def compares(self) -> bool:
        """Whether another image is looked at."""
        return self.growth is not None or self.percent is not None

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return self.most is not None or self.compares


class BuildRequest(Record):
    """Everything that decides a build. Paths are absolute.

    `file` "-" is standard input. `context` "" means there is none, or that it is `remote`: an address of git or of a
    file of the web, "-" for standard input. `file` may then be relative, to the context, or "" for the usual names.
    `platform` "" is this machine's. `epoch` is SOURCE_DATE_EPOCH in seconds, None where unset. `jobs` 0: one per core.
    `normalize`: what git tracks of a directory has git's modes.
    `locked`: what `pybuild.lock` does not pin is an error. `offline`: nobody elsewhere is asked for anything.
    `allow` are entitlements, by docker's names. `cache_max` is what the store may take, in bytes, 0 for what the
    configuration says. `cache_policy`: "all", or "worthwhile" to send to no server what takes longer to move than to
    make.
    `written`: what comes out is named and put where the request and the Buildfile say, else it stays in the store.
    `test`: the tests of the targets are wanted and nothing else; where no target is named, those of all. A push waits
    for tests unless `no_test`. `job` is the CI job that the build belongs to, and for which it leaves word of what
    it did, None for none. `own` are directories of ours, besides those of caches, that are part of no context.
    `image`: a digest is wanted even if nothing else asks for an image; where none can be made, none is. `secret_scan`
    False: no secret is looked for in what is made.
    `spelled` are options that were written as a parameter of a target is; one of that name is not given by it.
    `on_error` says what becomes of a step that failed: "keep" keeps what it left, "fail" nothing, "shell" opens a shell
    in it if there is a `terminal`, and keeps it too.
    """

    file: str
    context: str = ""
    remote: str = ""
    targets: tuple[WantedTarget, ...] = ()
    spelled: tuple[str, ...] = ()
    build_args: tuple[tuple[str, str], ...] = ()
    build_contexts: tuple[tuple[str, str], ...] = ()
    secrets: tuple[Secret, ...] = ()
    secret_scan: bool = True
    ssh: tuple[Ssh, ...] = ()
    outputs: tuple[OutputSpec, ...] = ()
    tags: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()
    platform: str = ""
    network: str = "default"
    allow: tuple[str, ...] = ()
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    pull: bool = False
    jobs: int = 0
    keep_going: bool = False
    on_error: str = "keep"
    terminal: bool = False
    dry_run: bool = False
    compression: str = ""
    cache_from: tuple[CacheSpec, ...] = ()
    cache_to: tuple[CacheSpec, ...] = ()
    cache_max: int = 0
    cache_policy: str = "worthwhile"
    normalize: bool = False
    locked: bool = False
    offline: bool = False
    epoch: int | None = None
    reproducible: bool = False
    iidfile: str = ""
    metadata_file: str = ""
    image: bool = False
    limits: SizeLimits = SizeLimits()
    written: bool = True
    test: bool = False
    no_test: bool = False
    job: str | None = None
    own: tuple[str, ...] = ()
    store: str = ""

    @property
    def kept_out(self) -> tuple[str, ...]:
        """The directories, besides the store, that are part of no context."""
        return (*self.own, *(spec.place for spec in (*self.cache_from, *self.cache_to) if spec.kind == "local"))


class Planned(Record):
    """A step of a dry run. `verdict` is CACHED, RUN or UNKNOWN (it will not run if its inputs come out as they were).

    `causes` are sentences, most telling first; `paths` the files of the context that they come down to, also
    where a step only waits for another; `waits_for` are numbers of steps. `milliseconds` is how long it took when
    it last ran, -1 where that is not known.
    """

    id: str
    name: str
    verdict: str
    causes: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    milliseconds: int = -1
    position: str = ""


class TargetResult(Record):
    """`image` is the manifest digest where an image was made, else "". `snapshot` names the filesystem."""

    name: str
    snapshot: str
    image: str = ""
    tags: tuple[str, ...] = ()
    plan: tuple[Planned, ...] = ()  # of a dry run
    # what a container of this target runs, and the document of an image of it, which has no layers yet
    config: ImageConfig | None = None
    document: ImageDocument | None = None


class TestResult(Record):
    """What became of a test. `state` is PASSED, FAILED or SKIPPED: something that it stands on failed.

    `cached`: it passed before, with the same inputs. `problem` is why it failed.
    """

    name: str
    stage: str
    state: str
    cached: bool = False
    seconds: float = 0.0
    problem: PybuildError | None = None
    position: str = ""


class BuildResult(Record):
    """`tests` are those of a request for tests only, `failures` what failed besides them."""

    targets: tuple[TargetResult, ...]
    seconds: float
    ran: int
    cached: int
    tests: tuple[TestResult, ...] = ()
    failures: tuple[PybuildError, ...] = ()


class TargetSummary(Record):
    """A line of `--list`. `parameters` are (name, type, default, description)."""

    name: str
    description: str = ""
    default: bool = False
    parameters: tuple[tuple[str, str, str, str], ...] = ()
