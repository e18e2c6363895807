"""Heredocs: which `<<NAME` a command line holds, and reading their bodies.

A context-free grammar cannot say "until a line that equals the word above", so
bodies are taken out before the grammar sees the text. RUN, COPY, ADD and TEST
have heredocs, alone or behind ONBUILD, unless the arguments are a JSON array.
The delimiter is a shell word of its own: quoted `"<<EOF"` and `<<<` are none.
"""

from __future__ import annotations

import posixpath

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile.expand import expand
from buildkit_py.frontend.buildfile.json_form import parse_array
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.source_map import Position

# The instructions that may have heredocs.
CARRIERS = ("RUN", "COPY", "ADD", "TEST")
_LONGEST = 255
_CARRIER = rf"\s*(?:ONBUILD\s+)*(?:{'|'.join(CARRIERS)})(?:\s+|$)(?:--\S*\s+)*"
_HEREDOC = r"(\d*)<<(-?)\s*([^<]*)"


class Opening(Record):
    """`<<NAME` in a line: `column` is its offset in the line, `text` the whole word."""

    name: str
    fd: int
    expand: bool
    strip_tabs: bool
    column: int
    text: str


class Body(Record):
    """A heredoc that was read: `raw` as it stands in the file, `text` without the tabs that `<<-` strips."""

    opening: Opening
    raw: str
    text: str
    first_line: int


def openings(line: str) -> tuple[Opening, ...]:
    """The heredocs that a joined command line opens, in order."""
    if "<<" not in line:
        return ()
    import re  # only now: of most files no line gets here

    carrier = re.match(_CARRIER, line, re.IGNORECASE)
    if carrier is None:
        return ()
    rest = line[carrier.end() :]
    if rest.startswith("["):
        try:
            if parse_array(rest) is not None:
                return ()
        except ValueError:
            return ()
    found = []
    for column, word in _shell_words(line):
        opening = parse_opening(word, column)
        if opening is not None:
            found.append(opening)
    return tuple(found)


def parse_opening(word: str, column: int = 0) -> Opening | None:
    """What a shell word opens, None where it is no heredoc. Quoting any part of the name turns expansion off."""
    if "<<" not in word:
        return None
    import re

    match = re.fullmatch(_HEREDOC, word)
    if match is None:
        return None
    try:
        name = expand(match[3], lambda variable: "$" + variable)
    except BuildfileError:
        return None
    if not name:
        return None
    return Opening(name, int(match[1] or 0), name == match[3], match[2] == "-", column, word)


def read_body(opening: Opening, lines: list[str], index: int) -> tuple[Body, int] | None:
    """The body that starts at `lines[index]` and the index after its terminator, None if that never comes.

    `lines` keep their line ends.
    """
    raw: list[str] = []
    for at in range(index, len(lines)):
        line = lines[at]
        bare = line.rstrip("\r\n")
        if (bare.lstrip("\t") if opening.strip_tabs else bare) == opening.name:
            text = "".join([part.lstrip("\t") for part in raw] if opening.strip_tabs else raw)
            return Body(opening, "".join(raw), text, index + 1), at + 1
        raw.append(line)
    return None


def file_name(name: str, at: Position) -> str:
    """What the file of a heredoc is called. Its name is a path in an empty root, as BuildKit has it: `../A` is `A`.

    Raises `BuildfileError` where that is no file in this root.
    """
    path = posixpath.normpath("/" + name).lstrip("/")
    if not path or "/" in path or "\0" in path or len(path.encode("utf-8", "surrogateescape")) > _LONGEST:
        raise BuildfileError(
            f"`{name}` is no name of a file, which this heredoc is to become",
            at=at,
            hint="the destination says in which directory it lands",
        )
    return path


def _shell_words(line: str) -> Iterator[tuple[int, str]]:
    """Words with their quotes and escapes kept; none at all where a quote is left open, as in BuildKit."""
    words: list[tuple[int, str]] = []
    start = -1
    at = 0
    while at < len(line):
        ch = line[at]
        if ch.isspace():
            if start >= 0:
                words.append((start, line[start:at]))
                start = -1
            at += 1
            continue
        if start < 0:
            start = at
        if ch == "\\":
            at += 2
        elif ch == "'":
            at = line.find("'", at + 1) + 1
            if not at:
                return iter(())
        elif ch == '"':
            at += 1
            while at < len(line) and line[at] != '"':
                at += 2 if line[at] == "\\" else 1
            if at >= len(line):
                return iter(())
            at += 1
        else:
            at += 1
    if start >= 0:
        words.append((start, line[start:]))
    return iter(words)
