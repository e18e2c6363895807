"""`pybuild check`: what is odd about a Buildfile, and mending it where that is safe."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.options import Command, Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.check import Checked

FORMATS = ("text", "json", "github", "sarif")
_FOUND = 1


def parser() -> Command:
    """The command's table."""
    return Command(
        "check",
        "tell what is odd about a Buildfile or Dockerfile, without building it",
        ("pybuild check [options] [FILE|CONTEXT]",),
        (
            Option(("-f", "--file"), "the Buildfile, `-` for standard input", "FILE", completes="file"),
            Option(("--fix",), "mend what can be mended without changing what the file means"),
            Option(("--format",), "how findings are printed", "FORMAT", choices=FORMATS),
            Option(("--target",), "look only at what a target needs", "NAME"),
            Option(
                ("--build-arg",), "set an ARG; NAME alone takes its value from the environment", "NAME=VALUE", many=True
            ),
            Option(("--build-context",), "what FROM and --from=NAME mean by a name", "NAME=VALUE", many=True),
            Option(("--platform",), "the platform to check for", "OS/ARCH[/VARIANT]"),
        ),
        about=(
            "All of BuildKit's rules and ours are applied to the whole file, stages that nothing needs included; "
            "`# check=skip=RULE` at the top of the file or above an instruction turns one off. Base images are looked "
            "at where the store has them, and no registry is asked. Ends with 1 where something was found."
        ),
        examples=(
            ("pybuild check .", "check the Buildfile of this directory"),
            ("pybuild check --fix Dockerfile", "mend casing, old forms and the like, then tell what is left"),
            ("pybuild check --format=sarif . > checks.sarif", "for a code scanning service"),
        ),
        most=1,
        operands="file",
    )


def main(argv: list[str]) -> int:
    """Check one file; 0 where nothing was found, 1 where something was. Raises what is wrong with the file itself."""
    from buildkit_py.api.check import CheckRequest, check
    from buildkit_py.cli import values
    from buildkit_py.cli.locate import here, is_remote, locate
    from buildkit_py.errors import UsageError

    parsed = parse(parser(), argv)
    cwd = here()
    operand = parsed.operands[0] if parsed.operands else "."
    if operand == "-":
        file, context = "-", ""
    elif is_remote(operand):
        raise UsageError(f"`{operand}` is not of this machine", hint="fetch it and name its directory")
    else:
        file, context = locate(operand, parsed.one("file"), cwd)
    request = CheckRequest(
        file=file,
        context=context,
        target=parsed.one("target"),
        build_args=values.from_environment(parsed.all("build-arg"), "--build-arg", os.environ),
        build_contexts=tuple(values.pair(text, "--build-context") for text in parsed.all("build-context")),
        platform=parsed.one("platform", os.environ.get("DOCKER_DEFAULT_PLATFORM", "")),
    )
    if parsed.has("fix"):
        from buildkit_py.api.mend import mend

        mend(request)
    checked = check(request)
    sys.stdout.write(_printed(checked, parsed.one("format", "text")))
    if checked.error is not None:
        sys.stdout.flush()
        raise checked.error
    return _FOUND if checked.findings else 0


def _printed(checked: Checked, form: str) -> str:
    from buildkit_py.report import findings

    if form == "text":
        from buildkit_py.report.color import wanted

        return findings.text(checked, wanted(sys.stdout))
    if form == "github":
        return findings.github(checked)
    import json

    if form == "json":
        return json.dumps(findings.document(checked), indent=2) + "\n"
    from buildkit_py.cli.first_tier import VERSION
    from buildkit_py.report import sarif

    return json.dumps(sarif.document(checked, VERSION), indent=2) + "\n"
