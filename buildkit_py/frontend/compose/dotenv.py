"""Files with variables, as `.env` and a service's `env_file` are: a `NAME=value` a line.

A value may be quoted: in single quotes it is as it stands, in double ones and without any its variables are put in.
Behind one that is not quoted a comment begins with ` #`. A `$` that begins no variable stands for itself. A name alone
takes its value from the environment.
"""

from __future__ import annotations

import re

from buildkit_py.errors import ComposeError
from buildkit_py.frontend.compose.variables import expand
from buildkit_py.source_map import Position
from buildkit_py.whole_file import read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"(?:export[ \t]+)?([A-Za-z0-9_.\-\[\]]+)[ \t]*")
_SPACE = " \t\r\v\f"
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "$": "$$"}


def read_variables(path: str, name: str, env: Mapping[str, str], *, raw: bool = False) -> dict[str, str]:
    """The variables of a file, which is called `name` for people. `raw`: values are taken as they stand.

    Raises `ComposeError`, and `OSError` where it cannot be read.
    """
    source = read_whole(path)
    try:
        text = source.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise ComposeError("this is no UTF-8", at=Position(name, 1)) from None
    return _Reader(text, name, env, raw).read()


class _Reader:
    def __init__(self, text: str, name: str, env: Mapping[str, str], raw: bool) -> None:
        self._text = text
        self._name = name
        self._env = env
        self._raw = raw
        self._found: dict[str, str] = {}
        self._at = 0

    def read(self) -> dict[str, str]:
        text = self._text
        while self._at < len(text):
            if text[self._at] in _SPACE + "\n":
                self._at += 1
            elif text[self._at] == "#":
                self._line()
            else:
                self._statement()
        return self._found

    def _statement(self) -> None:
        text = self._text
        match = _NAME.match(text, self._at)
        behind = text[match.end() : match.end() + 1] if match else ""
        if match is None or behind not in ("=", ":", "\n", ""):
            raise ComposeError("this is no `NAME=value`", at=self._place(self._at))
        name = match.group(1)
        self._at = match.end()
        if behind in ("\n", ""):
            if name in self._env:
                self._found[name] = self._env[name]
            return
        self._at += 1
        while text[self._at : self._at + 1] and text[self._at] in _SPACE:
            self._at += 1
        quote = text[self._at : self._at + 1]
        if quote in ("'", '"') and not self._raw:
            self._found[name] = self._quoted(quote)
            return
        start = self._at
        value = self._line()
        if not self._raw:
            comment = value.startswith("#") and text[start - 1] in _SPACE
            value = "" if comment else value.partition(" #")[0].rstrip()
            value = self._expanded(value, start)
        self._found[name] = value

    def _quoted(self, quote: str) -> str:
        text, start = self._text, self._at
        at = start + 1
        out = []
        while at < len(text) and text[at] != quote:
            if text[at] == "\\" and at + 1 < len(text) and quote == '"':
                out.append(_ESCAPES.get(text[at + 1], text[at : at + 2]))
                at += 2
            elif text[at : at + 2] == "\\'" and quote == "'":
                out.append("'")
                at += 2
            else:
                out.append(text[at])
                at += 1
        if at >= len(text):
            raise ComposeError(f"this has no closing {quote}", at=self._place(start))
        self._at = at + 1
        rest_at = self._at
        rest = self._line().strip()
        if rest and not rest.startswith("#"):
            raise ComposeError("nothing but a comment may follow a quoted value", at=self._place(rest_at))
        value = "".join(out)
        return self._expanded(value, start) if quote == '"' else value

    def _expanded(self, value: str, start: int) -> str:
        try:
            return expand(value, {**self._found, **self._env})
        except ValueError as problem:
            raise ComposeError(str(problem), at=self._place(start)) from None

    def _line(self) -> str:
        end = self._text.find("\n", self._at)
        end = len(self._text) if end < 0 else end
        line = self._text[self._at : end]
        self._at = end + 1
        return line

    def _place(self, at: int) -> Position:
        before = self._text[:at]
        return Position(self._name, before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1)
