"""`pybuild fmt`: Buildfiles in canonical form, in place, or a look at what would change."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.options import Command, Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.fmt import Formatted

_WOULD_CHANGE = 1


def parser() -> Command:
    """The command's table."""
    return Command(
        "fmt",
        "write Buildfiles or Dockerfiles in canonical form",
        ("pybuild fmt [options] [FILE|DIRECTORY…]",),
        (
            Option(("--check",), "write nothing; end with 1 where a file would change"),
            Option(("--diff",), "write nothing; print what would change"),
        ),
        about=(
            "Keywords in upper case, one space between words, blocks and continued lines indented, a blank line above "
            "each stage; comments and line breaks stay. What a step is cached by is left to the letter: the text of "
            "commands, heredocs, what ONBUILD triggers. So no build runs anything again because of it. Without a "
            "FILE it is the Buildfile of this directory; `-` is standard input, and goes to standard output. No file "
            "is written where one of them is wrong."
        ),
        examples=(
            ("pybuild fmt", "the Buildfile of this directory"),
            ("pybuild fmt --check --diff Dockerfile web/Dockerfile", "for CI"),
            ("pybuild fmt - < Dockerfile", "for an editor"),
        ),
        most=-1,
        operands="file",
    )


def main(argv: list[str]) -> int:
    """Write, or tell what would change: then 1 with `--check` where something would."""
    from buildkit_py.api.fmt import formatted, write
    from buildkit_py.cli.locate import here, is_remote, locate
    from buildkit_py.errors import UsageError

    parsed = parse(parser(), argv)
    cwd = here()
    files: list[str] = []
    for operand in parsed.operands or ["."]:
        if operand != "-" and is_remote(operand):
            raise UsageError(f"`{operand}` is not of this machine", hint="fetch it and name its directory")
        file = "-" if operand == "-" else locate(operand, "", cwd)[0]
        if file.endswith(".py"):
            shown = os.path.relpath(file, cwd)
            raise UsageError(f"`{shown}` is Python", hint="`ruff format` writes that in a canonical form")
        files.append(file)
    if "-" in files and len(files) > 1:
        raise UsageError("standard input is formatted by itself", hint="name `-` alone, or files")
    found = formatted(files)
    changing = [one for one in found if one.changes]
    if parsed.has("diff"):
        for one in changing:
            _print(one.diff())
    elif parsed.has("check"):
        for one in changing:
            _print(f"{one.name}\n")
    elif files == ["-"]:
        sys.stdout.flush()
        sys.stdout.buffer.write(found[0].after)
    else:
        for one in changing:
            write(one)
        _print(_summary(found, len(changing)))
    return _WOULD_CHANGE if changing and parsed.has("check") else 0


def _summary(found: tuple[Formatted, ...], changed: int) -> str:
    lines = [f"{one.name}: rewritten\n" for one in found if one.changes]
    same = len(found) - changed
    if same:
        lines.append(f"{found[0].name}: canonical already\n" if len(found) == 1 else f"{same} canonical already\n")
    return "".join(lines)


def _print(text: str) -> None:
    """As it is for a program; for a terminal with nothing in it that one would obey."""
    if sys.stdout.isatty():
        from buildkit_py.report.escape import line

        text = "".join(line(part) + "\n" for part in text.split("\n")[:-1])
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
