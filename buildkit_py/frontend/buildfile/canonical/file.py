"""A whole Buildfile in canonical form.

Words of the language in upper case, one space between words, blocks indented,
no more than one blank line, one of them above each stage but the first. What
a step is cached by stays to the letter: the text of commands, the bodies of
heredocs, what ONBUILD triggers. So does where lines end.
"""

from __future__ import annotations

from buildkit_py.frontend.buildfile import grammar
from buildkit_py.frontend.buildfile.canonical.atoms import atoms
from buildkit_py.frontend.buildfile.canonical.layout import INDENT, lay_out
from buildkit_py.frontend.buildfile.directives import DirectiveProblem, Directives
from buildkit_py.frontend.buildfile.lines import MAX_LINE, SPACE, Source
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.buildfile.syntax import Buildfile
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.buildfile.lines import Line
    from buildkit_py.frontend.buildfile.tables import Token

_OPENING = frozenset(("FOR", "FUNCTION", "IF"))
_BRANCHES = frozenset(("ELIF", "ELSE"))
# What says where a thing stands or how it was laid out, and not what it means.
_PLACES = frozenset(("position", "line_end", "source", "empty_lines", "path"))


def canonical(data: bytes, name: str) -> bytes:
    """The text of a Buildfile in canonical form; that of a canonical one is itself.

    `name` is how errors call the file. Raises `BuildfileSyntaxError`.
    """
    tree = parse_text(data, name)
    made = _Writer(Source(data, name)).text()
    if not same(tree, parse_text(made, name)):
        raise AssertionError("the canonical form means something else")
    return made


def same(one: object, other: object) -> bool:
    """Whether two trees differ in nothing but places."""
    return _bare(one) == _bare(other)


def _bare(value: object) -> object:
    if isinstance(value, Buildfile):
        comments = [lines for _, lines in value.comments]
        return _bare(value.instructions), value.escape, value.directives, comments
    if isinstance(value, Record):
        parts = zip(value.__fields__, value.values(), strict=True)
        return type(value), [_bare(part) for field, part in parts if field not in _PLACES]
    if isinstance(value, tuple):
        return [_bare(part) for part in value]
    return value


class _Writer:
    """Writes the lines of a source from the top down."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.out: list[str] = []
        self.depth = 0
        self.blank = False  # the next line has a blank one above it
        self.inside = False  # a stage has begun
        self.opened = True  # nothing but comments since the file, or a block, began
        self.commented = False  # the last line is a comment, which a blank line may part from what follows
        self.comments: list[str] = []

    def text(self) -> bytes:
        """All of it."""
        row = self._directives()
        for line, tokens in zip(self.source.lines, self._tokens(), strict=True):
            self._above(row, line.rows[0])
            self._instruction(line, tokens)
            row = line.line_end + 1
        self._above(row, len(self.source.raw) + 1)
        self._flush(0)
        return "".join(self.out).encode("utf-8", "surrogateescape")

    def _tokens(self) -> list[list[Token]]:
        """The terminals of each logical line."""
        seen: list[Token] = []
        logical = "".join([line.text + "\n" for line in self.source.lines])
        grammar.tables(self.source.escape).parse(logical, seen)
        found: list[list[Token]] = [[] for _ in self.source.lines]
        for token in seen:
            if token.type != "_NL":
                found[token.line - 1].append(token)
        return found

    def _directives(self) -> int:
        """Write those at the top; the first row after them."""
        known, row = Directives(), 1
        for text in self.source.raw:
            bare = text.rstrip("\r\n")
            before = len(known.found)
            if not known.feed(bare, row) and not (row == 1 and bare.startswith("#!")):
                break
            row += 1
            if len(known.found) > before:
                name, value = list(known.found.items())[-1]
                bare = f"# {name}={value}"
            self.out.append(bare.rstrip(SPACE) + "\n")
        self.opened = row == 1
        if row == 1 and self._begins_like_a_directive():
            self.out.append("\n")
        return row

    def _begins_like_a_directive(self) -> bool:
        """Whether only a blank line, or white space at its beginning, keeps the first line from being a directive."""
        first = next((bare for text in self.source.raw if (bare := text.strip(SPACE))), "")
        try:
            return first.startswith("#!") or Directives().feed(first, 2)
        except DirectiveProblem:
            return True

    def _above(self, row: int, end: int) -> None:
        """Take the comments and blank lines of some rows, `end` not among them."""
        for number in range(row, end):
            bare = self.source.raw[number - 1].strip(SPACE)
            if bare:
                self.comments.append(bare)
            else:
                self._flush(self.depth)
                self.blank = True

    def _flush(self, depth: int) -> None:
        if self.comments:
            self._separate()
            self.out += [f"{INDENT * depth}{comment}\n" for comment in self.comments]
            self.comments.clear()
            self.commented = True

    def _separate(self) -> None:
        if self.blank and not self.opened:
            self.out.append("\n")
        self.blank = self.opened = False

    def _instruction(self, line: Line, tokens: list[Token]) -> None:
        keyword = tokens[0].type
        if keyword in ("FROM", "FUNCTION"):
            # Below the global ARGs none is put: they often belong to the FROM.
            self.blank = self.blank or (self.inside and not self.opened)
            self.inside = True
        self._flush(self.depth)
        if keyword == "END" or keyword in _BRANCHES:
            self.depth -= 1
            self.blank = self.blank and self.commented
        self._separate()
        self.commented = False
        indent = INDENT * self.depth
        shown: list[str] | None = None
        if not _hangs_on_spaces(line.text, tokens):
            shown = lay_out(line, atoms(tokens, line.text), self.source.escape, indent, self._between)
            # Only at the end of the file may comments follow the last line of an instruction that should go on.
            shown = shown and shown + [indent + text for text in self._between(line.rows[-1], self._last(line) + 1)]
        if shown is None or not self._holds(shown):
            shown = [text.rstrip("\r\n") for text in self.source.raw[line.rows[0] - 1 : self._last(line)]]
        self.out += [text + "\n" for text in shown]
        for body in line.heredocs:
            after = body.first_line - 1 + body.raw.count("\n")
            self.out += [body.raw, self.source.raw[after].rstrip("\r\n") + "\n"]
        if keyword in _OPENING or keyword in _BRANCHES:
            self.depth += 1
            self.opened = True

    def _between(self, row: int, end: int) -> list[str]:
        """The comments between two rows of one instruction."""
        found = [text.strip(SPACE) for text in self.source.raw[row : end - 1]]
        return [comment for comment in found if comment]

    def _last(self, line: Line) -> int:
        """The last row of an instruction without its heredocs."""
        return line.heredocs[0].first_line - 1 if line.heredocs else line.line_end

    def _holds(self, shown: list[str]) -> bool:
        """Whether each line but the last goes on in the next, as it should, and none is too long."""
        escape = self.source.escape
        parts = [text.rstrip(" \t") for text in shown if not text.lstrip(SPACE).startswith("#")]
        goes_on = [text.endswith(escape) and not text.endswith(escape + escape) for text in parts]
        if any(len(text.encode("utf-8", "surrogateescape")) > MAX_LINE for text in shown):
            return False
        return all(goes_on[:-1]) and not goes_on[-1]


def _hangs_on_spaces(text: str, tokens: list[Token]) -> bool:
    """Whether it is its white space that makes a line what it is.

    A space that is no blank and no tab parts some words and belongs to others, by what stands before it. What begins
    with `[` and is no JSON array may become one where a tab becomes a blank.
    """
    if any(ch.isspace() and ch not in " \t" for ch in text):
        return True
    return any(token.startswith("[") and token.type == "WORD" for token in tokens)
