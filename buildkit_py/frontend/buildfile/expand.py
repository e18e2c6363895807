"""Word expansion: variables, quotes and escapes of one word, as BuildKit's shell lexer does them.

Forms: `$x` `${x}` `${x:-w}` `${x-w}` `${x:+w}` `${x+w}` `${x:?w}` `${x?w}`
`${x#p}` `${x##p}` `${x%p}` `${x%%p}` `${x/p/r}` `${x//p/r}`; `'…'` is taken
as it is, `"…"` expands, the escape character makes the next one literal.
An unset variable is empty.

Written by hand because most words have nothing to expand, and a build that
only reruns one step still expands every word of its file.
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile.wildcard import go_replacement, replace, trim
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, TypeAlias

    from buildkit_py.source_map import Position

    Lookup: TypeAlias = Callable[[str], str | None]

_SPECIAL_PARAMETERS = frozenset("@*#?-$!0")
_MODIFIERS = frozenset("-+?#%")
# Words of variables inside words of variables: each takes its part of Python's stack.
_DEEPEST = 100

_CLOSE = "close the quote, or escape it where it is meant as it stands"


class Expansion(Record):
    """What came out, and which names decided it.

    `used` are all names that were looked up, in order of first use; `undefined`
    those of them that were not set, where the form gave no answer for that;
    `unset` all that were not set.
    """

    text: str
    words: tuple[str, ...]
    used: tuple[str, ...] = ()
    undefined: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()


def expand(word: str, env: Lookup, *, escape: str = "\\", at: Position | None = None) -> str:
    """The word with its variables, quotes and escapes worked out.

    `env` answers a name with its value or None. Raises `BuildfileError`
    (placed `at`) for an unterminated quote, a bad substitution, and `${x?}`.
    """
    if _is_plain(word, escape):
        return word
    return _Scanner(word, env, escape, at).run().text


def expand_words(word: str, env: Lookup, *, escape: str = "\\", at: Position | None = None) -> tuple[str, ...]:
    """As `expand`, then split at spaces that were not quoted: `EXPOSE $PORTS` may name several."""
    return expansion(word, env, escape=escape, at=at).words


def expand_raw(text: str, env: Lookup, *, at: Position | None = None) -> str:
    """The body of a heredoc: variables expand, quotes stay, the escape is always a backslash."""
    if "$" not in text and "\\" not in text:
        return text
    return _Scanner(text, env, "\\", at, quotes=False).run().text


def expansion(
    word: str, env: Lookup, *, escape: str = "\\", at: Position | None = None, raw: bool = False
) -> Expansion:
    """As `expand` (or `expand_raw`), with the words and the names that were looked up."""
    if _is_plain(word, escape) and not raw:
        return Expansion(word, tuple(word.split()))
    return _Scanner(word, env, "\\" if raw else escape, at, quotes=not raw).run()


def _is_plain(word: str, escape: str) -> bool:
    return "$" not in word and "'" not in word and '"' not in word and escape not in word


class _Words:
    """The result while it grows: the text, and the words that its unquoted spaces separate."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.words: list[str] = []
        self.word = ""

    def add(self, piece: str, *, quoted: bool) -> None:
        self.text.append(piece)
        if quoted:
            self.word += piece
            return
        for ch in piece:
            if not ch.isspace():
                self.word += ch
            elif self.word:
                self.words.append(self.word)
                self.word = ""

    def finish(self) -> tuple[str, tuple[str, ...]]:
        if self.word:
            self.words.append(self.word)
            self.word = ""
        return "".join(self.text), tuple(self.words)


class _Scanner:
    def __init__(self, source: str, env: Lookup, escape: str, at: Position | None, quotes: bool = True) -> None:
        self.source = source
        self.env = env
        self.escape = escape
        self.at = at
        self.quotes = quotes
        self.pos = 0
        self.variable = 0
        self.depth = -1
        self.used: dict[str, None] = {}
        self.undefined: dict[str, None] = {}
        self.unset: dict[str, None] = {}

    def run(self) -> Expansion:
        text, words = self.until("", keep_escapes=False)
        return Expansion(text, words, tuple(self.used), tuple(self.undefined), tuple(self.unset))

    def fail(self, message: str, hint: str = "") -> NoReturn:
        # Of the body of a heredoc, the line in which the variable begins that is wrong.
        start = self.source.rfind("\n", 0, self.variable) + 1
        line = self.source[start:].partition("\n")[0].rstrip("\r")
        raise BuildfileError(f"{message} in `{line}`", at=self.at, hint=hint)

    def peek(self) -> str:
        return self.source[self.pos : self.pos + 1]

    def next(self) -> str:
        ch = self.source[self.pos : self.pos + 1]
        self.pos += 1
        return ch

    def until(self, stop: str, *, keep_escapes: bool) -> tuple[str, tuple[str, ...]]:
        """Everything up to the character `stop`, which is consumed, or to the end where `stop` is ""."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise BuildfileError(f"variables are nested more than {_DEEPEST} deep", at=self.at)
        out = _Words()
        source, end, escape = self.source, len(self.source), self.escape
        while self.pos < end:
            ch = source[self.pos]
            if stop and ch == stop:
                self.pos += 1
                self.depth -= 1
                return out.finish()
            if ch == "$":
                out.add(self.dollar(keep_escapes), quoted=False)
            elif ch == "'" and self.quotes:
                out.add(self.single_quoted(), quoted=True)
            elif ch == '"' and self.quotes:
                out.add(self.double_quoted(keep_escapes), quoted=True)
            elif ch == escape:
                self.pos += 1
                if keep_escapes:
                    out.add(ch, quoted=True)
                if self.pos < end:
                    out.add(self.next(), quoted=True)
            else:
                self.pos += 1
                out.add(ch, quoted=False)
        if stop:
            self.fail(f"missing `{stop}`")
        return out.finish()

    def single_quoted(self) -> str:
        close = self.source.find("'", self.pos + 1)
        if close < 0:
            self.fail("unterminated `'`", _CLOSE)
        text = self.source[self.pos + 1 : close]
        self.pos = close + 1
        return text

    def double_quoted(self, keep_escapes: bool) -> str:
        self.pos += 1
        out: list[str] = []
        while True:
            ch = self.peek()
            if not ch:
                self.fail('unterminated `"`', _CLOSE)
            if ch == "$":
                out.append(self.dollar(keep_escapes))
                continue
            self.pos += 1
            if ch == '"':
                return "".join(out)
            if ch == self.escape:
                if keep_escapes:
                    out.append(ch)
                following = self.peek()
                if not following:
                    continue
                if following in ('"', "$", self.escape):
                    ch = self.next()
            out.append(ch)

    def name(self) -> str:
        start = self.pos
        first = self.peek()
        if first.isdecimal():
            while self.peek().isdecimal():
                self.pos += 1
        elif first and first in _SPECIAL_PARAMETERS:
            self.pos += 1
        else:
            while (ch := self.peek()) and (ch == "_" or ch.isalpha() or ch.isdecimal()):
                self.pos += 1
        return self.source[start : self.pos]

    def value(self, name: str, *, tested: bool = False) -> str | None:
        """The variable's value. `tested`: the form says itself what happens if there is none."""
        self.used[name] = None
        found = self.env(name)
        if found is None:
            self.unset[name] = None
            if not tested:
                self.undefined[name] = None
        return found

    def dollar(self, keep_escapes: bool) -> str:
        self.variable = self.pos
        self.pos += 1
        if self.peek() != "{":
            name = self.name()
            return self.value(name) or "" if name else "$"
        self.pos += 1
        if not self.peek():
            self.fail("missing `}`")
        if self.peek() in "{}:":
            self.fail("bad substitution")
        name = self.name()
        operator = self.next()
        if operator == "}":
            return self.value(name) or ""
        if operator == "/":
            return self.substitute(name)
        colon = operator == ":"
        if colon:
            operator = self.next()
        if operator not in _MODIFIERS or not operator or (colon and operator in "#%"):
            if operator in ("", "\r", "\n"):
                self.fail("missing `}`")
            self.fail(f"unsupported modifier `{':' if colon else ''}{operator}`")
        if operator in "#%":
            return self.trimmed(name, operator)
        word, _ = self.until("}", keep_escapes=False)
        found = self.value(name, tested=True)
        missing = found is None or (colon and not found)
        if operator == "-":
            return word if missing else found or ""
        if operator == "+":
            return "" if missing else word
        if missing:
            reason = word or f"is not allowed to be {'unset' if found is None else 'empty'}"
            raise BuildfileError(f"{name}: {reason}", at=self.at)
        return found or ""

    def trimmed(self, name: str, operator: str) -> str:
        pattern, _ = self.until("}", keep_escapes=True)
        value = self.value(name) or ""
        longest = pattern.startswith(operator)
        try:
            return trim(value, pattern[longest:], suffix=operator == "%", longest=longest)
        except ValueError as problem:
            self.fail(f"invalid pattern `{pattern}` ({problem})")

    def substitute(self, name: str) -> str:
        everywhere = self.peek() == "/"
        if everywhere:
            self.pos += 1
        pattern, _ = self.until("/", keep_escapes=True)
        replacement, _ = self.until("}", keep_escapes=True)
        value = self.value(name) or ""
        try:
            # BuildKit puts the one in as it is and runs the other through Go's template of group references.
            make = (lambda found: go_replacement(replacement, found)) if everywhere else (lambda _: replacement)
            return replace(value, pattern, make, everywhere=everywhere)
        except ValueError as problem:
            self.fail(f"invalid pattern `{pattern}` ({problem})")
