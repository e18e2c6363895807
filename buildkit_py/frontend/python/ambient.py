"""What a Buildfile.py may want to know of the world around it; every look is recorded as an input of the build."""

from __future__ import annotations

import os

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.python import session
from buildkit_py.frontend.python.expect import expect
from buildkit_py.frontend.python.position import here

_GIVEN_NOTHING = object()


def env(name: str, default: str | None = None) -> str:
    """An environment variable of whoever builds. Raises `BuildfileError` where it is unset and has no default."""
    expect(name, str, "`name` of env()")
    expect(default, (str, type(None)), "`default` of env()")
    value = os.environ.get(name)
    running = session.current()
    if running is not None:
        running.inputs.env(name, value)
    if value is None and default is None:
        raise BuildfileError(
            f"the environment variable `{name}` is not set", at=here(), hint=f'give it a default: env("{name}", "…")'
        )
    return value if value is not None else default or ""


def platform_arg(name: str) -> str:
    """A predefined ARG of the platforms: TARGETPLATFORM, TARGETARCH, BUILDPLATFORM and so on.

    As in a Buildfile, a build arg of that name takes its place.
    Raises `BuildfileError` for a name that is none of them, and outside of a target.
    """
    from buildkit_py.frontend.platform_args import platform_args, this_platform

    expect(name, str, "`name` of platform_arg()")
    running = session.current()
    if running is None or not running.platform:
        raise BuildfileError(
            "the platform is known only while a target is made", at=here(), hint="call it inside a @target function"
        )
    values = dict(platform_args(this_platform(), running.platform, ""))
    if name not in values or name == "TARGETSTAGE":
        known = ", ".join(value for value in values if value != "TARGETSTAGE")
        raise BuildfileError(f"there is no predefined argument `{name}`", at=here(), hint=f"there are {known}")
    return running.build_args.get(name, values[name])


def read(path: str) -> str:
    """The text of a file, relative to the Buildfile.py's directory."""
    expect(path, str, "`path` of read()")
    whole = session.resolve(path)
    running = session.current()
    if running is not None:
        running.inputs.file(whole)
    try:
        with open(whole, encoding="utf-8") as file:
            return file.read()
    except OSError as problem:
        raise BuildfileError(f"cannot read `{path}`: {problem.strerror}", at=here()) from problem
    except UnicodeDecodeError as problem:
        raise BuildfileError(f"`{path}` is not UTF-8 text", at=here()) from problem
