"""The reference of the command line: docs/reference/cli.md, written from the commands' tables of options.

python -m buildkit_py.cli.reference > docs/reference/cli.md
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.cli.options import Command

_HEAD = """\
# The command line

Written from the tables that parse it (`python -m buildkit_py.cli.reference`); a test keeps it up to date.

The first word decides: a command's name wins, otherwise an existing file or directory is built. Progress, warnings and
errors go to standard error, results to standard output. Options are written `--name=value` or `--name value`, short
ones `-n value` or `-nvalue`; switches may be bundled (`-it`) and be turned off (`--pull=false`); options and operands
may be mixed; `--` ends the options. Exit codes: [exit-codes.md](exit-codes.md). Variables:
[environment.md](environment.md).
"""


def reference() -> str:
    """The Markdown text of docs/reference/cli.md."""
    from buildkit_py.cli.completion import all_commands

    return "\n".join([_HEAD, *(_section(command) for command in all_commands())])


def _section(command: Command) -> str:
    from buildkit_py.cli.help import explanation
    from buildkit_py.cli.options import with_help

    lines = [f"## {command.name}", "", f"{command.summary[:1].upper()}{command.summary[1:]}.", "", "```"]
    lines += [*command.usage, "```", ""]
    if command.about:
        lines += [command.about, ""]
    lines += ["| option | meaning |", "|---|---|"]
    for option in with_help(command):
        names = ", ".join(f"`{name}`" for name in option.names)
        value = f" `{option.value}`" if option.value else ""
        meaning = explanation(option).replace("|", "\\|")
        lines.append(f"| {names}{value} | {meaning} |")
    lines.append("")
    lines += [f"- `{example}`: {meaning}" for example, meaning in command.examples]
    if command.examples:
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(reference())
