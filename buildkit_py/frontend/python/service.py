"""Services: containers that a command finds running beside it, `run("pytest", services={"db": db})`."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend import run_options, services
from buildkit_py.frontend.python.expect import exact, expect, shown
from buildkit_py.frontend.python.policy import read
from buildkit_py.frontend.python.position import here
from buildkit_py.frontend.python.text import Text
from buildkit_py.frontend.python.tree import Tree
from buildkit_py.record import Record
from buildkit_py.source_map import Position

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    from buildkit_py.frontend.python.actions import KnownText
    from buildkit_py.frontend.python.image import Image

    Words: TypeAlias = str | list[str] | tuple[str, ...]

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz")
_IN_NAMES = _LETTERS | frozenset("0123456789-_.")


class Service(Record):
    """What `service()` was given. A command is a text for the image's shell, or words; () and "" for none.

    `files` are seen at `files_at` while the service is seeded.
    """

    image: Image
    port: int
    ready: str | tuple[str, ...]
    env: tuple[tuple[str, KnownText], ...]
    seed: str | tuple[str, ...]
    files: Tree | None
    files_at: str
    timeout: int
    position: Position


def service(
    image: str | Text | Image,
    *,
    port: int = 0,
    ready: Words = "",
    env: Mapping[str, str | Text] | None = None,
    seed: Words | Tree = "",
    seed_files: Tree | None = None,
    timeout: str = "",
) -> Service:
    """A container for the `services` of `run()`, on the filesystem of an image, and run as `pybuild run` would.

    It is ready once something listens on `port` and the command `ready` succeeds in it; without `ready`, the image's
    own health check. It has `timeout` for that, a minute where nothing is said. `env` are more variables.

    `seed` is a command that is run in it, once it is ready, before anybody uses it: what it has written when it was
    stopped is kept, and each later use begins with that. The command finds `seed_files` in `/run/pybuild/seed`. Files
    as `seed` are put into `/docker-entrypoint-initdb.d`, from where the images of databases take them when they begin.
    """
    from buildkit_py.frontend.python.image import Image

    expect(image, (str, Text, Image), "the image of service()")
    expect(port, int, "`port` of service()")
    if port or isinstance(port, bool):
        read("port", services.port, str(port), 0)
    expect(timeout, str, "`timeout` of service()")
    expect(seed_files, (Tree, type(None)), "`seed_files` of service()")
    files, place = seed_files, services.SEED_FILES
    command: Any = seed
    if isinstance(seed, Tree):
        if seed_files is not None:
            raise BuildfileError("service() takes its files as `seed` or as `seed_files`, not both", at=here())
        files, place, command = seed, services.INIT_FILES, ""
    elif files is not None and not seed:
        raise BuildfileError(
            "`seed_files` of service() are for a command",
            at=here(),
            hint='give it as `seed`, or the files alone: seed=src["schema.sql"]',
        )
    made = Service(
        image if isinstance(image, Image) else Image(image),
        port,
        _command(ready, "`ready` of service()"),
        _variables(env),
        _command(command, "`seed` of service()"),
        files,
        place,
        read("timeout", run_options.milliseconds, timeout, 0),
        here(),
    )
    service: Service = exact(made)
    return service


def named(wanted: Any) -> tuple[tuple[str, Service], ...]:
    """The `services` of a command, as (name, service). Raises `BuildfileError`."""
    if not hasattr(wanted, "items"):
        raise BuildfileError(f'`services` of run() is a dict, as in {{"db": db}}, got {shown(wanted)}', at=here())
    found: list[tuple[str, Service]] = []
    for name, value in wanted.items():
        expect(name, str, "each name in `services` of run()")
        expect(value, Service, f"the service `{name}` of run()")
        if name[:1] not in _LETTERS or not _IN_NAMES.issuperset(name):
            raise BuildfileError(
                f"`{name}` cannot be the name of a service",
                at=here(),
                hint="a name begins with a letter and holds small letters, digits, `-`, `_` and `.`",
            )
        services.check_name(name, here())
        found.append((name, value))
    return tuple(found)


def _command(value: Any, what: str) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise BuildfileError(f"{what} must be a str or a list of str, got {shown(value)}", at=here())


def _variables(env: Any) -> tuple[tuple[str, KnownText], ...]:
    pairs = tuple(env.items()) if hasattr(env, "items") else ()
    if env is not None and not hasattr(env, "items"):
        raise BuildfileError(f"`env` of service() takes a dict of str, got {shown(env)}", at=here())
    for name, value in pairs:
        expect(name, str, "the names in `env` of service()")
        expect(value, (str, Text), f"`{name}` in `env` of service()")
    return pairs
