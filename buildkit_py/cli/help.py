"""Help: a command's table of options as text for a person."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.cli.options import Command, Option

_COLUMN = 30


def render(command: Command, width: int = 100) -> str:
    """The text that `pybuild COMMAND --help` prints."""
    from buildkit_py.cli.options import with_help

    lines = [f"{command.summary[:1].upper()}{command.summary[1:]}.", ""]
    lines += [("Usage: " if n == 0 else "       ") + usage for n, usage in enumerate(command.usage)]
    if command.about:
        for paragraph in command.about.split("\n\n"):
            lines += ["", *_wrap(paragraph, width)]
    lines += ["", "Options:"]
    for option in with_help(command):
        lines += _row(option, width)
    if command.examples:
        lines += ["", "Examples:"]
        for example, meaning in command.examples:
            lines += [f"  {example}", f"      {meaning}"]
    return "\n".join(lines) + "\n"


def label(option: Option) -> str:
    """The option as it is written: `-t, --tag NAME`."""
    names = ", ".join(option.names)
    if option.names[0].startswith("--"):
        names = "    " + names
    return f"{names} {option.value}" if option.value else names


def explanation(option: Option) -> str:
    """The option's help with what the table knows besides: choices, and whether it may be repeated."""
    text = option.help
    if option.choices:
        text += ": " + ", ".join(option.choices)
    if option.many:
        text += " (may be repeated)"
    return text


def _row(option: Option, width: int) -> list[str]:
    left = "  " + label(option)
    right = _wrap(explanation(option), width - _COLUMN)
    if len(left) > _COLUMN - 2:
        return [left, *(" " * _COLUMN + line for line in right)]
    return [left.ljust(_COLUMN) + right[0], *(" " * _COLUMN + line for line in right[1:])]


def _wrap(text: str, width: int) -> list[str]:
    from textwrap import wrap

    return wrap(" ".join(text.split()), width) or [""]
