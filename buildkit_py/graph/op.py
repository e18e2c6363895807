"""Ops: what a step does, as pure data; a closed union that is taken apart with `match`.

A field belongs to the op's cache key unless its comment says otherwise
(`solver/keys.py` is the one place that decides). Paths inside a filesystem
are absolute POSIX paths of that filesystem; a trailing slash is kept where it
means something.
"""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias


class ImageSource(Record):
    """The root filesystem of a resolved image: its layers, lowest first, named by diff_id.

    `reference` is the name a person wrote, for messages; not in the key.
    """

    digest: str
    platform: str
    layers: tuple[str, ...]
    reference: str = ""


class WorkTree(Record):
    """A work tree of git: the path of its index, and the directory in it that is a context ("" or ending in "/").

    `file_mode`: the modes of its files are believed (git's `core.fileMode`).
    """

    index: str
    below: str = ""
    file_mode: bool = True


class LocalSource(Record):
    """A directory of this machine, seen through its ignore rules; what git tracks of `tree` has git's modes.

    Its place in a key is taken by the content digest of the files a step
    takes from it, so none of these fields is in a key itself.
    """

    name: str
    root: str
    ignore: tuple[str, ...] = ()
    tree: WorkTree | None = None


class HostSource(Record):
    """This machine's own root filesystem, read-only. Impure: its layers never leave the machine."""

    fingerprint: str


class HttpSource(Record):
    """A file of the web: a filesystem with the one file `name`, mode 0600, of the time that the server gives.

    `digest` is the sha256 of its bytes: from a checksum in the Buildfile, else
    "" until the solver asks the server, which each build does. `url` is not
    in the key.
    """

    url: str
    name: str
    digest: str = ""


class GitSource(Record):
    """The files of a commit, or of its directory `subdir` (absolute, "/" for all).

    `commit` is the whole id where the Buildfile has it, else "" until the
    solver asks the server what `ref` is ("" for its default branch), which
    each build does; `checksum` is the beginning that the id must have. `url`
    and `ref` are not in the key.
    """

    url: str
    ref: str = ""
    subdir: str = "/"
    keep_git_dir: bool = False
    submodules: bool = True
    checksum: str = ""
    commit: str = ""


class Mount(Record):
    """One `RUN --mount`. `source` is an index into the step's sources, -1 for none.

    `keys` are paths and wildcards of the step's filesystem: their files tell what of a cache mount is to be restored.
    They, `id`, `sharing` and a secret's value are not in the step's key.
    """

    kind: str  # bind, cache, tmpfs, secret, ssh
    target: str
    source: int = -1
    path: str = "/"
    read_only: bool = True
    id: str = ""
    sharing: str = "shared"
    mode: int = -1
    uid: int = 0
    gid: int = 0
    size: int = 0
    env: str = ""
    required: bool = False
    keys: tuple[str, ...] = ()


class Pipe(Record):
    """A file that exists for one Run only, read-only under /dev/pipes (a heredoc with `#!`)."""

    name: str
    content: bytes
    mode: int = 0o755


class Policy(Record):
    """How a Run is run. Nothing of it changes what a success comes to, so nothing of it is in a key.

    `timeout` (milliseconds) is for each attempt, of which there are `retry` more after a failure. A result that is
    `ttl` seconds old does not count any more, with `always` none counts. `cpus` are thousandths of a processor,
    `memory` bytes. A Run of the pool `pool` starts only while fewer than `pool_size` of that pool run. Each of
    `save_always` is a path of the step's filesystem and its place below the project. 0 and "" stand for none.
    """

    timeout: int = 0
    retry: int = 0
    ttl: int = 0
    always: bool = False
    cpus: int = 0
    memory: int = 0
    pool: str = ""
    pool_size: int = 0
    save_always: tuple[tuple[str, str], ...] = ()


NO_POLICY = Policy()


class Service(Record):
    """A container that a Run finds running under the host name `name`, on the filesystem that is its source `source`.

    It is ready when something listens on `port` (0: whatever listens) and `ready`, a command that is run in it,
    succeeds (empty: none). It has `timeout` milliseconds for that, which are not in the key; `stop_signal` ends it,
    and is in the key where it is seeded.
    """

    name: str
    source: int
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    cwd: str = "/"
    user: str = ""
    port: int = 0
    ready: tuple[str, ...] = ()
    timeout: int = 60_000
    stop_signal: str = "SIGTERM"


class Run(Record):
    """A command in a sandbox over the base filesystem.

    `user` is `name[:group]` or numbers, looked up in the base's own /etc/passwd.
    `proxy_env` reaches the command but not the key. `hosts` are extra lines of
    /etc/hosts as (name, address); only the names are in the key. `ignore_cache`
    is not in the key. `capture` keeps standard output as the step's text. Where
    there are `inputs` (absolute paths in the language of `patterns`), the
    command stands on the last of the step's sources, the base without what they
    do not name of the context, and its changes are laid over the base itself.
    `test`: what it changes is dropped. `services` run beside it.
    `seeds` is a service that runs on the base itself, while the command (none, where `argv` is empty) is run in it:
    what both write is what the op makes.
    """

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    cwd: str = "/"
    user: str = ""
    network: str = "default"  # default, none, host
    hostname: str = "buildkitsandbox"
    platform: str = ""
    mounts: tuple[Mount, ...] = ()
    pipes: tuple[Pipe, ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()
    proxy_env: tuple[tuple[str, str], ...] = ()
    security: str = "sandbox"
    capture: bool = False
    ignore_cache: bool = False
    inputs: tuple[str, ...] = ()
    test: bool = False
    policy: Policy = NO_POLICY
    services: tuple[Service, ...] = ()
    seeds: Service | None = None


class CopyPath(Record):
    """A path or wildcard below the root of the source numbered `source`, as written after expansion.

    `unpack` says for this source alone what `Copy.unpack` says for all: ADD does not unpack what is from the web.
    `whole`: a directory gives the destination its own mode and owner, too, which is so for the files of git.
    """

    path: str
    source: int = 0
    wildcard: bool = True
    unpack: bool | None = None
    whole: bool = False


class Inline(Record):
    """A file whose bytes stand in the Buildfile (a heredoc of COPY or ADD)."""

    name: str
    content: bytes


class Copy(Record):
    """Files from the step's sources, or bytes from the Buildfile, put into the base filesystem.

    `dest` is absolute; a trailing slash (or `/.`) makes it a directory.
    `owner` is `user[:group]` as written, looked up in the base filesystem;
    empty keeps the source's owner. `mode` is octal or symbolic, empty keeps
    the source's. `unpack` takes archives apart (ADD). `link` puts the files
    into an empty root, laid over the base.
    """

    items: tuple[CopyPath | Inline, ...]
    dest: str
    owner: str = ""
    mode: str = ""
    exclude: tuple[str, ...] = ()
    parents: bool = False
    link: bool = False
    unpack: bool = False


class Restack(Record):
    """The layer of the step that is its source, laid over another base; a Mkdir is made anew there.

    Of the layer's members only those stay that one of `inputs` matches, where
    there are any, with the directories they are in.
    """

    inputs: tuple[str, ...] = ()


class Mkdir(Record):
    """A directory (with its parents, mode 0755), left alone where it exists: WORKDIR."""

    path: str
    user: str = ""


if TYPE_CHECKING:
    Op: TypeAlias = ImageSource | LocalSource | HostSource | HttpSource | GitSource | Run | Copy | Mkdir | Restack


def moves(op: Op) -> bool:
    """Whether what an op stands for is known only when its server is asked, and may be another thing each time."""
    return (isinstance(op, HttpSource) and not op.digest) or (isinstance(op, GitSource) and not op.commit)


def is_silent(op: Op) -> bool:
    """Whether an op takes no time worth telling people of."""
    return isinstance(op, LocalSource) or (isinstance(op, Restack) and not op.inputs)
