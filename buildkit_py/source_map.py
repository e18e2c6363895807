"""Where in which source text something stands, and how to show it to a person."""

from __future__ import annotations

from buildkit_py.record import Record


class Position(Record):
    """A place in a source text. Lines and columns count from 1.

    `function` is the Python function or Buildfile FUNCTION that was running;
    `via` are the places that led here (INCLUDE, DO, a caller), outermost last.
    """

    file: str
    line: int
    column: int = 1
    function: str = ""
    via: tuple[Position, ...] = ()

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}"
        if self.function:
            place = f"{self.file}:{self.line} in {self.function}()"
        for outer in self.via:
            place += f", from {outer}"
        return place


def caret(line: str, column: int, width: int = 1) -> str:
    """The source line and, under it, `^` below the columns meant (tabs are kept in step)."""
    lead = "".join("\t" if ch == "\t" else " " for ch in line[: column - 1])
    return f"  {line}\n  {lead}{'^' * max(1, width)}"
