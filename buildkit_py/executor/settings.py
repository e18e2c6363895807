"""What a build gives its executor besides the graph: how steps run here, and what a person gave for them."""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.executor.run_place import Asked
    from buildkit_py.executor.secret_gate import SecretGate


class Settings(Record):
    """What of the build's options decides how steps run, but not what they are.

    `network` is what "default" means: "isolated", "host", "none", or "" for what it means where nothing is set.
    `log_dir` gets a file for each step that ran.
    `ca_bundle` are certificates that steps trust besides their own, b"" for none. `offline`: sources from elsewhere
    are not asked for.
    `compression` is that of layers which are packed while they are made: what the image will want, or "none".
    `save(directories, source, dest)` copies a path of the filesystem that these directories make, lowest first, to
    the project; it raises `PybuildError`.
    `restore(name, key, directory)` fills a new cache mount with what another machine saved of it; False where there
    is nothing. `own` are directories, besides the store, that are part of no context: portable caches.
    `keep_failed(asked, upper)` takes over the directory with what a Run wrote that failed for good; it raises
    `PybuildError`. `mends`: what such a Run wrote is held for `Runs.mending` instead.
    """

    log_dir: str
    network: str = ""
    compression: str = "none"
    ca_bundle: bytes = b""
    offline: bool = False
    save: Callable[[tuple[str, ...], str, str], None] | None = None
    restore: Callable[[str, str, str], bool] | None = None
    keep_failed: Callable[[Asked, str], None] | None = None
    mends: bool = False
    own: tuple[str, ...] = ()


class Given(Record):
    """What a person gave to a build besides its files: `secret(id)` is a secret's value, `agent(id)` the path of an ssh
    agent's socket; None where there is none. Both raise `SourceError`. `gate` looks for the secrets in what is made;
    None where none is looked for.
    """

    secret: Callable[[str], bytes | None]
    agent: Callable[[str], str | None]
    gate: SecretGate | None = None
