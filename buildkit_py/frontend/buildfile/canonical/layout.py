"""The physical lines of one instruction: its atoms, its line breaks, the comments between its lines.

Lines end where they end now: a break between atoms becomes a space, the
escape character, and four columns of indentation; one inside an atom stays
to the letter, for all of its white space belongs to the text. Comments stand
where the line below them begins.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.frontend.buildfile.canonical.atoms import Atom
    from buildkit_py.frontend.buildfile.lines import Line

    # From the first and the last physical line to the comments of those between them.
    Between = Callable[[int, int], list[str]]

INDENT = "    "


def lay_out(line: Line, parts: tuple[Atom, ...], escape: str, indent: str, between: Between) -> list[str] | None:
    """The lines without their ends, None where they cannot be other than they are.

    Comments behind the last atom come after the instruction, for they are in none of it.
    """
    out: list[str] = []
    current = indent
    end = 0
    breaks = [
        (offset, between(line.rows[number], line.rows[number + 1])) for number, offset in enumerate(line.starts[1:])
    ]
    for number, part in enumerate(parts):
        free = [comments for offset, comments in breaks if end <= offset <= part.start]
        if number == 0:
            if free:
                return None
        elif free:
            out += [f"{current} {escape}", *_indented(free, indent + INDENT)]
            current = indent + INDENT
        elif not part.glued:
            current += " "
        at = part.start
        for offset, comments in breaks:
            # Two at one place: the line between them was empty but for its escape character.
            if part.start < offset < part.end:
                if offset > at:
                    out.append(f"{current}{part.text[at - part.start : offset - part.start]}{escape}")
                    current = ""
                at = offset
                rest = part.text[at - part.start :]
                out += _indented([comments], rest[: len(rest) - len(rest.lstrip(" \t"))])
        current += part.text[at - part.start :]
        # A break at the very end of this part belongs to the next one.
        breaks = [(offset, comments) for offset, comments in breaks if offset >= part.end]
        end = part.end
    out.append(current)
    last = [comments for _, comments in breaks]
    return out + _indented(last, indent)


def _indented(groups: list[list[str]], indent: str) -> list[str]:
    return [indent + comment for comments in groups for comment in comments]
