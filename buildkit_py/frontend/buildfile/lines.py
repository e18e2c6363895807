"""The pre-pass: physical lines to logical lines, one an instruction, with a map back.

It does what a context-free grammar cannot: joins continuation lines, drops
comments (also between continued lines), honours the `escape` directive, takes
heredoc bodies out. The logical lines, joined by newlines, are what
`grammar/buildfile.lark` parses; `Line.position` leads every offset in one of
them back to file, line and column.
"""

from __future__ import annotations

from bisect import bisect_right

from buildkit_py.errors import BuildfileSyntaxError
from buildkit_py.frontend.buildfile.directives import DirectiveProblem, Directives
from buildkit_py.frontend.buildfile.heredoc import Body, openings, read_body
from buildkit_py.record import Record
from buildkit_py.source_map import Position, caret

# A physical line may not be longer than BuildKit's scanner buffer.
MAX_LINE = 65535
# How much of a physical line an error shows.
MAX_SHOWN = 100
# Go's unicode.IsSpace; str.strip() alone would also take U+001C to U+001F.
SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005"
    "\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


class Line(Record):
    """One instruction on one line.

    `starts[i]` is the offset in `text` where the piece from physical line
    `rows[i]`, column `columns[i]`, begins. `doc` are the comment lines directly above, without those that
    set checks, which `comments` has too.
    """

    text: str
    starts: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    line_end: int
    doc: tuple[str, ...] = ()
    heredocs: tuple[Body, ...] = ()
    comments: tuple[str, ...] = ()

    def place(self, offset: int) -> tuple[int, int]:
        """Physical line and column of an offset in `text`."""
        piece = bisect_right(self.starts, offset) - 1
        return self.rows[piece], self.columns[piece] + offset - self.starts[piece]


class Source:
    """A Buildfile's text cut into logical lines.

    Raises `BuildfileSyntaxError` for a line that is too long or has a NUL
    character, a wrong directive, a heredoc without end, a file in UTF-16, and
    one without instructions.
    """

    def __init__(self, text: bytes | str, name: str) -> None:
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        data = data.removeprefix(b"\xef\xbb\xbf")
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise BuildfileSyntaxError("the file is UTF-16", at=Position(name, 1), hint="save it as UTF-8")
        self.name = name
        self._has_nul = b"\0" in data
        # Only "\n" ends a line: str.splitlines would also split at form feeds.
        self.raw = data.decode("utf-8", "surrogateescape").split("\n")
        self.raw = [line + "\n" for line in self.raw[:-1]] + ([self.raw[-1]] if self.raw[-1] else [])
        self.directives = Directives()
        # Of empty lines inside an instruction: the first, all of them with their rows, the instruction's last row.
        self.empty_lines: list[tuple[Position, tuple[tuple[int, str], ...], int]] = []
        self.lines: list[Line] = []
        # a character is at most four bytes, and almost no line comes near
        for row, line in enumerate(self.raw, 1):
            if len(line) > MAX_LINE // 4 and len(line.rstrip("\n").encode("utf-8", "surrogateescape")) > MAX_LINE:
                raise BuildfileSyntaxError(
                    f"the line is longer than {MAX_LINE} bytes",
                    at=Position(name, row),
                    hint="continue it on the next line, or put the text in a file",
                )
        self._cut()
        if not self.lines:
            raise BuildfileSyntaxError(
                "the file has no instructions", at=Position(name, 1), hint="a Buildfile starts with `FROM`"
            )

    @property
    def escape(self) -> str:
        return self.directives.escape

    def position(self, line: Line, offset: int) -> Position:
        row, column = line.place(offset)
        return Position(self.name, row, column)

    def shown(self, row: int) -> str:
        """A physical line as it is shown in an error."""
        return self.raw[row - 1].rstrip("\r\n")

    def error(self, message: str, row: int, column: int, *, width: int = 1, hint: str = "") -> BuildfileSyntaxError:
        """The error that stands at this place, with the line and a caret."""
        line = self.shown(row)
        width = max(1, min(width, len(line) - column + 1))
        if len(line) > MAX_SHOWN:
            cut = max(0, column - MAX_SHOWN // 2)
            line, column_shown = line[cut : cut + MAX_SHOWN], column - cut
            width = min(width, len(line) - column_shown + 1)
        else:
            column_shown = column
        excerpt = caret(line, column_shown, width)
        return BuildfileSyntaxError(message, at=Position(self.name, row, column), excerpt=excerpt, hint=hint)

    def _cut(self) -> None:
        comments: list[str] = []
        index, count = 0, len(self.raw)
        while index < count:
            bare = self.raw[index].rstrip("\r\n")
            stripped = bare.lstrip(SPACE)
            if self.directives.searching and self._directive(bare, index + 1):
                index += 1
            elif not stripped:
                comments.clear()
                index += 1
            elif stripped[0] == "#":
                comment = stripped[1:].strip(SPACE)
                if not comment:
                    comments.clear()
                else:
                    comments.append(comment)
                index += 1
            else:
                index = self._join(index, tuple(comments))
                comments.clear()

    def _directive(self, bare: str, row: int) -> bool:
        try:
            return self.directives.feed(bare, row)
        except DirectiveProblem as problem:
            raise self.error(str(problem), row, problem.column, width=problem.width, hint=problem.hint) from problem

    def _join(self, index: int, comments: tuple[str, ...]) -> int:
        """Take the logical line that begins at `raw[index]`; the index after it and its heredocs."""
        text = ""
        pieces: list[tuple[int, int, int]] = []
        empty: list[tuple[int, str]] = []
        first = True
        while index < len(self.raw):
            bare = self.raw[index].rstrip("\r\n")
            index += 1
            if not first:
                stripped = bare.lstrip(SPACE)
                if not stripped:
                    empty.append((index, self.raw[index - 1]))
                    continue
                if stripped[0] == "#":
                    continue
            lead = len(bare) - len(bare.lstrip(SPACE)) if first else 0
            piece, goes_on = self._continues(bare[lead:])
            pieces.append((len(text), index, lead + 1))
            text += piece
            first = False
            if not goes_on:
                break
        line_end = index
        text = text.rstrip(SPACE)
        if not text:
            raise self.error("nothing follows the continuation character", pieces[0][1], pieces[0][2])
        if empty:
            self.empty_lines.append((Position(self.name, empty[0][0]), tuple(empty), line_end))
        starts, rows, columns = zip(*pieces, strict=True)
        if self._has_nul and "\0" in text:
            # No path, argument, variable or name can have one, and what is written to a file stands in a heredoc.
            at = text.index("\0")
            number = bisect_right(starts, at) - 1
            raise self.error(
                "there is a NUL character in the line", rows[number], columns[number] + at - starts[number]
            )
        doc = tuple([comment for comment in comments if not comment.startswith("check=")]) if comments else ()
        line = Line(text, starts, rows, columns, line_end, doc, (), comments)
        bodies: list[Body] = []
        for opening in openings(text):
            read = read_body(opening, self.raw, index)
            if read is None:
                row, column = line.place(opening.column)
                raise self.error(
                    f"the heredoc `{opening.name}` has no end",
                    row,
                    column,
                    width=len(opening.text),
                    hint=f"expected a line that is exactly `{opening.name}`",
                )
            body, index = read
            bodies.append(body)
        if bodies:
            line = line.replace(line_end=index, heredocs=tuple(bodies))
        self.lines.append(line)
        return index

    def _continues(self, bare: str) -> tuple[str, bool]:
        """The line without its continuation character, and whether it had one."""
        body = bare.rstrip(" \t")
        escape = self.directives.escape
        if not body.endswith(escape) or body.endswith(escape + escape):
            return bare, False
        return body[:-1], True
