"""`--chmod`: permission bits, octal or symbolic as chmod(1) writes them.

`parse` gives a function from old bits to new ones: `755` ignores the old,
`u=rwX,go=rX` and `+x` do not. Where no class is named, bits that the usual
umask 022 takes away are left alone, as chmod(1) leaves them.
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    # (old bits, whether it is a directory) -> new bits
    Change: TypeAlias = Callable[[int, bool], int]
    # (classes of u g o a, + - or =, letters)
    Clause: TypeAlias = tuple[str, str, str]

_UMASK = 0o022
_SHIFT = {"u": 6, "g": 3, "o": 0}
_BIT = {"r": 4, "w": 2, "x": 1}


def is_octal(text: str) -> bool:
    """Whether a mode does not depend on the old one."""
    return bool(text) and not text.strip("01234567")


def parse(text: str) -> Change:
    """The change that a mode means. Raises `BuildfileError` for what is none."""
    if is_octal(text):
        value = int(text, 8)
        if value > 0o7777:
            raise _invalid(text)
        return lambda _old, _directory: value
    clauses = [clause for part in text.split(",") for clause in _clauses(part, text)]

    def change(old: int, directory: bool) -> int:
        for clause in clauses:
            old = _apply(clause, old, directory)
        return old

    return change


def _invalid(text: str) -> BuildfileError:
    return BuildfileError(
        f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777",
        hint="symbolic modes are like `u=rwX,go=rX` or `+x`",
    )


def _clauses(part: str, whole: str) -> list[Clause]:
    """`ug+x-w` is the class `ug` with two clauses."""
    rest = part.lstrip("ugoa")
    classes = part[: len(part) - len(rest)]
    found: list[Clause] = []
    while rest:
        operator, rest = rest[0], rest[1:]
        after = rest.lstrip("rwxXstugo")
        letters = rest[: len(rest) - len(after)]
        # A class may be copied (`g=u`), but then stands alone.
        if operator not in "+-=" or (set(letters) & set("ugo") and len(letters) > 1):
            raise _invalid(whole)
        found.append((classes, operator, letters))
        rest = after
    if not found:
        raise _invalid(whole)
    return found


def _apply(clause: Clause, old: int, directory: bool) -> int:
    classes, operator, letters = clause
    masked = 0 if classes else _UMASK
    who = "ugo" if not classes or "a" in classes else classes
    bits = 0
    clears = 0
    for name in who:
        shift = _SHIFT[name]
        clears |= 7 << shift
        for letter in letters:
            if letter in _SHIFT:
                bits |= (old >> _SHIFT[letter] & 7) << shift
            elif letter in _BIT:
                bits |= _BIT[letter] << shift
            elif letter == "X":
                bits |= (1 << shift) if directory or old & 0o111 else 0
            elif letter == "s":
                bits |= {"u": 0o4000, "g": 0o2000, "o": 0}[name]
            elif letter == "t":
                bits |= 0o1000 if "o" in who else 0
    bits &= ~masked
    if operator == "+":
        return old | bits
    if operator == "-":
        return old & ~bits
    clears |= 0o1000 if "o" in who else 0
    # chmod(1) keeps the set-id bits of a directory unless they are named.
    if not directory:
        clears |= (0o4000 if "u" in who else 0) | (0o2000 if "g" in who else 0)
    return old & ~clears | bits
