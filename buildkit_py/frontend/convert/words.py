"""Words of a Buildfile as Python code: a literal where nothing in them changes, else `expand("…")`."""

from __future__ import annotations

from buildkit_py.frontend.buildfile.expand import expand, expand_words
from buildkit_py.frontend.convert.code import literal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping
    from typing import NoReturn

    from buildkit_py.source_map import Position


class _Changes(Exception):
    """A variable was looked up."""


class _All:
    """Every name."""

    def __contains__(self, _: object) -> bool:
        return True


class Words:
    """`escape` is the file's; `uses` hears of each name that the code imports."""

    def __init__(self, escape: str, uses: Callable[[str], None]) -> None:
        self.escape = escape
        self.uses = uses

    def code(self, text: str, at: Position) -> str:
        """The word for a method that takes a text to expand. Raises `BuildfileError` for one that never expands."""
        fixed = self.fixed(text, at)
        return literal(fixed) if fixed is not None else self.unexpanded(text)

    def fixed(self, text: str, at: Position, names: Container[str] = _All()) -> str | None:
        """What the word expands to whatever these variables are (all others being unset); None where they matter."""

        def look(name: str) -> None:
            if name in names:
                raise _Changes(name)

        try:
            return expand(text, look, escape=self.escape, at=at)
        except _Changes:
            return None

    def ports(self, text: str, at: Position) -> list[str]:
        """As `code`, for EXPOSE, where a word may be several."""
        try:
            return [literal(word) for word in expand_words(text, _refuse, escape=self.escape, at=at)]
        except _Changes:
            return [self.unexpanded(text)]

    def unexpanded(self, text: str) -> str:
        """The call that leaves the expansion to the image."""
        self.uses("expand")
        escape = ', escape="`"' if self.escape == "`" else ""
        return f"expand({literal(text)}{escape})"

    def now(self, text: str, at: Position, values: Mapping[str, str], optional: Container[str] = ()) -> str:
        """The word as a `str`; `values` is the code of each variable that there is, all others being unset.

        Those of `optional` may be None while the code runs, and so unset as well.
        """
        fixed = self.fixed(text, at, values)
        if fixed is not None:
            return literal(fixed)
        pieces = _pieces(text) if not set(text) & {"'", '"', self.escape} else None
        if pieces is None:
            self.uses("expand")
            used = [name for name in dict.fromkeys(variables(text)) if name in values]
            given = "{" + ", ".join([f"{literal(name)}: {values[name]}" for name in used]) + "}"
            escape = ', escape="`"' if self.escape == "`" else ""
            return f"expand({literal(text)}, {given}{escape})"
        text_of = {name: f'{code} or ""' if name in optional else code for name, code in values.items()}
        if len(pieces) == 1 and pieces[0][1] in values:
            return text_of[pieces[0][1]]
        inside = [_braced(part) if not name else _field(text_of.get(name, "")) for part, name in pieces]
        return f'f"{"".join(inside)}"'


def variables(text: str) -> Iterator[str]:
    """The names behind dollar signs, as `expand` reads them, and those that an escape or quotes keep it from."""
    for part in text.split("$")[1:]:
        name = part.removeprefix("{")
        number = name[:1].isdecimal()
        end = 0
        while end < len(name) and (name[end].isdecimal() or (not number and (name[end] == "_" or name[end].isalpha()))):
            end += 1
        yield name[:end]


def _refuse(name: str) -> NoReturn:
    raise _Changes(name)


def _pieces(text: str) -> list[tuple[str, str]] | None:
    """(text, "") and ("", name) in order, where the word has no more to it than `$NAME` and `${NAME}`; else None."""
    pieces: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        dollar = text.find("$", at)
        if dollar < 0:
            pieces.append((text[at:], ""))
            break
        if dollar > at:
            pieces.append((text[at:dollar], ""))
        start = dollar + 1
        braced = text[start : start + 1] == "{"
        start += braced
        end = start
        while end < len(text) and (text[end] == "_" or (text[end].isascii() and text[end].isalnum())):
            end += 1
        name = text[start:end]
        if not name or name[0].isdigit() or (braced and text[end : end + 1] != "}"):
            return None
        pieces.append(("", name))
        at = end + braced
    return pieces


def _braced(text: str) -> str:
    return literal(text)[1:-1].replace("{", "{{").replace("}", "}}")


def _field(code: str) -> str:
    """A value inside an f-string, whose quotes cannot be those of the string before Python 3.12."""
    return "{" + code.replace('"', "'") + "}" if code else ""
