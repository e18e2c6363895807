"""`pybuild info`: what this machine can do for a build, and the line that fixes what it cannot."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.sandbox.probe import Finding


def parser() -> Command:
    """The command's table."""
    return Command(
        "info",
        "show what this machine can do, and how to fix what it cannot",
        ("pybuild info [--json]",),
        (Option(("--json",), "print it as JSON"),),
    )


def main(argv: list[str]) -> int:
    """Print the findings. The code is 0 whatever they are: a machine that lacks something still builds something."""
    parsed = parse(parser(), argv)
    from buildkit_py.api.cache import place
    from buildkit_py.cli.version import this_version
    from buildkit_py.sandbox.probe import probe

    facts = {"version": this_version(), "python": sys.version.split()[0], "store": place()}
    findings = probe()
    if parsed.has("json"):
        import json

        rows = [dict(zip(finding.__fields__, finding.values(), strict=True)) for finding in findings]
        sys.stdout.write(json.dumps(facts | {"findings": rows}, indent=2) + "\n")
        return 0
    sys.stdout.write(_text(facts, findings))
    return 0


def _text(facts: dict[str, str], findings: Sequence[Finding]) -> str:
    from buildkit_py.report import color
    from buildkit_py.report.escape import visible

    on = color.wanted(sys.stdout)
    width = max(len(name) for name in (*facts, *(finding.name for finding in findings)))
    lines = [f"    {name.ljust(width)}  {visible(value)}" for name, value in facts.items()]
    for finding in findings:
        mark = color.paint("ok", "good", on) if finding.ok else color.paint("no", "error", on)
        lines.append(f"{mark}  {finding.name.ljust(width)}  {visible(finding.detail)}")
        if finding.fix:
            lines.append(f"{' ' * (width + 6)}{color.paint('fix:', 'hint', on)} {visible(finding.fix)}")
    return "\n".join(lines) + "\n"
