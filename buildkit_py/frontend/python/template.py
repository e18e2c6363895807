"""Template: a text with `$variables` that the image it is given to fills in, as a word of a Buildfile is.

Only the image knows its base's PATH, so that cannot be a `str` while a Buildfile.py runs.
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile.expand import expand as expand_now
from buildkit_py.frontend.python.expect import exact, expect, shown
from buildkit_py.frontend.python.position import here
from buildkit_py.frontend.python.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from buildkit_py.source_map import Position


class Template:
    """The text as written, and how to read it. `raw`: as a heredoc, where quotes are only quotes."""

    __slots__ = ("escape", "position", "raw", "text")

    def __init__(self, text: str, escape: str, raw: bool, position: Position) -> None:
        self.text = text
        self.escape = escape
        self.raw = raw
        self.position = position

    def __str__(self) -> str:
        return self._refuse()

    def __format__(self, _: str) -> str:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise BuildfileError(
            "a text to expand has no value before the image that it is given to is known",
            at=here(),
            hint="pass it on as it is, or give the values with it: expand(text, {…})",
        )

    def __eq__(self, other: object) -> bool:
        mine = (self.text, self.escape, self.raw)
        return isinstance(other, Template) and mine == (other.text, other.escape, other.raw)

    def __hash__(self) -> int:
        return hash((self.text, self.escape, self.raw))

    def __repr__(self) -> str:
        return f"<Template {self.text!r}>"


def expect_text(value: object, what: str) -> None:
    """Raise `BuildfileError` unless the value is a text, known or not yet, that a path or an argument may be."""
    if not isinstance(value, str | Text | Template):
        expect(value, str, what)
    if isinstance(value, str) and "\0" in value:
        raise BuildfileError(f"{what} has a NUL character", at=here())


def expand(
    text: str, values: Mapping[str, str | None] | None = None, /, *, raw: bool = False, escape: str = "\\"
) -> str | Template:
    """A text whose `$NAME`, `${NAME:-default}`, quotes and escapes mean what they do in a word of a Buildfile.

    With `values` it is worked out now, out of these alone. Without, the image
    that it is given to works it out, out of its variables: those of its base,
    of `env()` and of `arg()`. `raw` leaves quotes as they are, as a heredoc
    does. Raises `BuildfileError` for a text that does not expand.
    """
    expect(text, str, "`text` of expand()")
    expect(raw, bool, "`raw` of expand()")
    if escape not in ("\\", "`"):
        raise BuildfileError(f"`escape` of expand() is a backslash or a backtick, got {shown(escape)}", at=here())
    if values is None:
        return Template(exact(text), escape, raw, here())
    if not hasattr(values, "get"):
        raise BuildfileError(f"the values of expand() are a dict of str, got {shown(values)}", at=here())
    known = {name: value for name, value in values.items() if value is not None}
    for name, value in known.items():
        expect(value, str, f"`{name}` of expand()")
    if raw:
        from buildkit_py.frontend.buildfile.expand import expand_raw

        return expand_raw(text, known.get, at=here())
    return expand_now(text, known.get, escape=escape, at=here())
