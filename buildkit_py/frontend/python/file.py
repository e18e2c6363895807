"""File: a name and a text, to be copied into an image or run as a script."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.python.expect import expect
from buildkit_py.frontend.python.position import here
from buildkit_py.frontend.python.template import Template, expect_text
from buildkit_py.frontend.python.text import Text
from buildkit_py.record import Record


class File(Record):
    """`name` has no directory: where the file lands is the destination's business."""

    name: str
    content: str | bytes | Text | Template


def file(name: str, content: str | bytes | Text | Template) -> File:
    """A file of this text, as a heredoc of a Buildfile is one: for copy(), add() and run()."""
    expect(name, str, "`name` of file()")
    if not isinstance(content, bytes | str):
        expect_text(content, "`content` of file()")
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise BuildfileError(f"file() needs a plain name, got {name!r}", at=here(), hint="copy() says where it lands")
    return File(name, content)
