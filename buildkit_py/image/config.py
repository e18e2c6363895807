"""The image configuration: what a container made from an image runs, and how the image came to be.

OCI image-spec `config.md`, with the fields that docker adds (Healthcheck,
Shell, OnBuild, ArgsEscaped). Unknown fields of a base image are kept in `extra`.
"""

from __future__ import annotations

from buildkit_py.record import Record

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Healthcheck(Record):
    """`test` is ("NONE",), ("CMD", …) or ("CMD-SHELL", text); times in nanoseconds, 0 for the default."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ImageConfig(Record):
    """The `config` object. None means absent, which for `cmd` and `entrypoint` differs from empty.

    `env` keeps its order. `ports` are like "80/tcp". `labels` are pairs.
    """

    env: tuple[tuple[str, str], ...] = ()
    cmd: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    working_dir: str = ""
    user: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    shell: tuple[str, ...] | None = None
    healthcheck: Healthcheck | None = None
    on_build: tuple[str, ...] = ()
    args_escaped: bool = False
    extra: tuple[tuple[str, object], ...] = ()


class History(Record):
    """One entry of an image's history. `created` is RFC 3339, empty where it is to be filled at export."""

    created_by: str
    empty_layer: bool = False
    created: str = ""
    comment: str = "buildkit.dockerfile.v0"
    author: str = ""


class ImageDocument(Record):
    """A whole config document: platform, `config`, layers by diff_id, history."""

    architecture: str
    os: str
    config: ImageConfig
    diff_ids: tuple[str, ...] = ()
    history: tuple[History, ...] = ()
    variant: str = ""
    created: str = ""
    author: str = ""


def setenv(env: tuple[tuple[str, str], ...], name: str, value: str) -> tuple[tuple[str, str], ...]:
    """The environment with one variable set: in place where it exists, else at the end (as BuildKit does)."""
    if any(key == name for key, _ in env):
        return tuple((key, value if key == name else old) for key, old in env)
    return (*env, (name, value))
