"""The modes that `--chmod` takes: octal numbers, and words such as `u=rwX,go=rX`."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.source_map import Position


def check_mode(mode: str, position: Position | None) -> None:
    """Raises `BuildfileError` for a text that is no mode."""
    if mode.isascii() and mode.isdigit():
        if set(mode) <= set("01234567") and int(mode, 8) <= 0o7777:
            return
    elif all(_is_symbolic(clause) for clause in mode.split(",")):
        return
    raise BuildfileError(
        f"`{mode}` is not a mode",
        at=position,
        hint="an octal number from 0 to 7777, or a symbolic mode such as u=rwX,go=rX",
    )


def _is_symbolic(clause: str) -> bool:
    who = clause.lstrip("ugoa")
    if not who or who[0] not in "+-=":
        return False
    return set(who) <= set("+-=rwxXstugo")
