"""`pybuild convert`: a Dockerfile or Buildfile written anew as a Buildfile.py."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.options import Command, Option, parse


def parser() -> Command:
    """The command's table."""
    return Command(
        "convert",
        "write a Dockerfile or Buildfile anew as a Buildfile.py",
        ("pybuild convert [options] FILE|CONTEXT",),
        (
            Option(("-f", "--file"), "the Buildfile, where the operand is a context", "FILE", completes="file"),
            Option(("-o", "--output"), "the file to write; without it the text is printed", "FILE", completes="file"),
            Option(("--force",), "replace a file that is there"),
        ),
        about=(
            "The Buildfile.py makes the same graph: a step that is cached for the one is cached for the other. A "
            "stage becomes a target, an ARG a parameter, comments stay. What a Buildfile.py cannot say is an error "
            "that names the line."
        ),
        examples=(("pybuild convert Dockerfile -o Buildfile.py", "write it beside the Dockerfile"),),
        least=1,
        most=1,
        operands="file",
    )


def main(argv: list[str]) -> int:
    """Convert, and write or print."""
    from buildkit_py.api import convert
    from buildkit_py.cli.locate import here, is_remote, locate
    from buildkit_py.errors import UsageError

    parsed = parse(parser(), argv)
    cwd = here()
    operand = parsed.operands[0]
    path, context = locate(operand, parsed.one("file"), cwd)
    if is_remote(context) and context != "-":
        raise UsageError(f"`{operand}` is not on this machine", hint="fetch it first: git clone")
    if "-" in (path, context):
        raise UsageError("a Buildfile on standard input has no place that a Buildfile.py could be relative to")
    if path.endswith(".py"):
        raise UsageError(f"`{os.path.relpath(path, cwd)}` is a Buildfile.py already", hint="name the Dockerfile")
    wanted = parsed.one("output")
    output = os.path.join(cwd, wanted) if wanted else os.path.join(context, "Buildfile.py")
    text = convert.convert(path, context=context, destination=os.path.dirname(output), name=os.path.relpath(path, cwd))
    if not wanted:
        sys.stdout.write(text)
        return 0
    convert.write(text, output, replace=parsed.has("force"))
    rules = path + ".dockerignore"
    if os.path.exists(rules):
        beside = os.path.relpath(output + ".dockerignore", cwd)
        sys.stderr.write(
            f"note: copy `{os.path.relpath(rules, cwd)}` to `{beside}`, where the ignore rules are looked for\n"
        )
    return 0
