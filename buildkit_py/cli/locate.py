"""Where a build's Buildfile and its context are, from what the command line names."""

from __future__ import annotations

import os

from buildkit_py.errors import ContextError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.cli.options import Parsed


def here() -> str:
    """The working directory. Raises `ContextError` where it was removed."""
    try:
        return os.getcwd()
    except FileNotFoundError as problem:
        raise ContextError("the working directory was removed", hint="cd to one that is there") from problem


def locate(operand: str, file: str, cwd: str) -> tuple[str, str]:
    """The Buildfile and the context as absolute paths; "-" is standard input, "" is no context.

    `operand` is a Buildfile, a directory, an address or "-"; `file` is the value of `-f`, "" without one. A context
    that is no directory (`is_remote`) is given as it stands, and the Buildfile then as `-f` has it. Raises
    `UsageError` for a combination that means nothing, `ContextError` for what is not there.
    """
    if not operand:
        raise UsageError("no Buildfile and no context is named", hint="`pybuild .` builds what this directory has")
    path = os.path.join(cwd, operand)
    if is_remote(operand):
        return file, operand
    if not os.path.exists(path):
        raise ContextError(f"there is no `{operand}`")
    if not os.path.isdir(path):
        if file:
            raise UsageError(f"the Buildfile is named twice: `-f {file}` and `{operand}`")
        return os.path.normpath(path), os.path.dirname(os.path.normpath(path))
    context = os.path.normpath(path)
    return (_named(file, context, cwd) if file else _found(context, operand)), context


def is_remote(context: str) -> bool:
    """Whether a context is an address or standard input, and no path of this machine."""
    if context == "-" or "://" in context or context.startswith("git@"):
        return True
    # docker's short form; a directory of that name goes first here, as it does there.
    return context.startswith("github.com/") and not os.path.exists(context)


def candidates(operand: str, file: str, cwd: str) -> tuple[str, ...]:
    """The paths whose being there decided what `locate` answered."""
    path = os.path.normpath(os.path.join(cwd, operand))
    if file and file != "-":
        return tuple(os.path.normpath(os.path.join(start, file)) for start in (cwd, path))
    from buildkit_py.frontend.files import NAMES

    return tuple(os.path.join(path, name) for name in NAMES) if os.path.isdir(path) else ()


def with_file(parsed: Parsed, cwd: str) -> Parsed:
    """The same command line with its FILE: this directory, where the first operand is a target or is missing."""
    first = parsed.operands[0] if parsed.operands else ""
    if not first or not (is_remote(first) or "/" in first or os.path.exists(os.path.join(cwd, first))):
        parsed.operands.insert(0, ".")
        parsed.parameters = [(seen + 1, name, value) for seen, name, value in parsed.parameters]
    return parsed


def _named(file: str, context: str, cwd: str) -> str:
    if file == "-":
        return "-"
    # docker looks from here first, and then, for the sake of old scripts, from the context.
    for start in (cwd, context):
        path = os.path.normpath(os.path.join(start, file))
        if os.path.isfile(path):
            return path
    if os.path.isdir(os.path.join(cwd, file)):
        raise ContextError(f"the Buildfile `{file}` is a directory")
    from buildkit_py.cli.options import near

    here = [name for name in os.listdir(cwd) if os.path.isfile(os.path.join(cwd, name))]
    raise ContextError(f"there is no Buildfile `{file}`", hint=near(file, here))


def _found(context: str, shown: str) -> str:
    from buildkit_py.frontend.files import NAMES

    for name in NAMES:
        path = os.path.join(context, name)
        if os.path.isfile(path):
            return path
    listed = ", ".join(f"`{name}`" for name in NAMES[:-1])
    raise ContextError(f"`{shown}` has no Buildfile", hint=f"one of {listed} is looked for; `-f` names another")
