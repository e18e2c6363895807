"""Atoms: the parts of a logical line between which white space means nothing.

The grammar's terminals, with two differences: a JSON array is as many atoms
as it has parts, and what is kept to the letter (the text of a command, a
trigger of ONBUILD) is one atom, whatever is in it.
"""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildkit_py.frontend.buildfile.tables import Token

BLANKS = " \t\v\f\r"
# Words of conditions; all other words of the language are written in upper case.
LOWER = frozenset(("NOT", "DEFINED", "COMPARISON", "_AND", "_OR"))
UPPER = frozenset(
    (
        *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"),
        *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR", "DO", "ELIF", "ELSE", "END", "FOR"),
        *("FUNCTION", "IF", "INCLUDE", "LET", "OUTPUT", "SERVICE", "TAG", "TEST", "AS", "NONE", "HEALTH_CMD", "IN"),
    )
)


class Atom(Record):
    """`text` as it is to be written, which is as long as what stands at `start` of the line now.

    `glued`: no space comes before it.
    """

    start: int
    text: str
    glued: bool = False

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.start + len(self.text)


def atoms(tokens: Iterable[Token], text: str) -> tuple[Atom, ...]:
    """The atoms of a logical line, `text`, from its terminals."""
    return tuple(_atoms(tokens, text))


def _atoms(tokens: Iterable[Token], text: str) -> Iterator[Atom]:
    first, before = "", ""
    for token in tokens:
        start = token.column - 1
        glued = before == "_OPEN" or token.type == "_CLOSE"
        before = token.type
        if first == "ONBUILD" and token.type != "_END_OF_FLAGS":
            # The image keeps what it triggers as it is written.
            yield Atom(start, text[start:])
            return
        first = first or token.type
        if token.type == "EXEC_FORM":
            yield from _json(start, token)
        elif token.type == "OLD_PAIR":
            end = next((at for at, ch in enumerate(token) if ch in BLANKS), len(token))
            value = token[end:].lstrip(BLANKS)
            yield Atom(start, token[:end])
            yield Atom(start + len(token) - len(value), value)
        elif token.type in UPPER:
            yield Atom(start, token.upper())
        else:
            yield Atom(start, token.lower() if token.type in LOWER else str(token), glued)


def _json(start: int, array: str) -> Iterator[Atom]:
    """The brackets, commas and strings of a JSON array of strings: spaces behind commas only."""
    at, glued = 0, False
    while at < len(array):
        end = at + 1
        if array[at] == '"':
            while array[end] != '"':
                end += 2 if array[end] == "\\" else 1
            end += 1
        if array[at] not in BLANKS:
            yield Atom(start + at, array[at:end], glued or array[at] == ",")
            glued = array[at] != ","
        at = end
