"""Tree: files to copy or mount, of a local directory or of an image's filesystem."""

from __future__ import annotations

import os

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.python import session
from buildkit_py.frontend.python.expect import exact, expect, shown, strings
from buildkit_py.frontend.python.position import here
from buildkit_py.frontend.python.template import Template
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from buildkit_py.frontend.python.image import Image
    from buildkit_py.frontend.python.remote import Elsewhere
    from buildkit_py.source_map import Position


class Directory(Record):
    """A directory of this machine: absolute, with ignore patterns beyond those of its ignore file."""

    root: str
    ignore: tuple[str, ...]
    position: Position


class Tree:
    """Paths below a source; no paths: all of it. Indexing narrows: `src["app/", "main.py"]`."""

    __slots__ = ("paths", "source")

    def __init__(self, source: Directory | Image | Elsewhere, paths: tuple[str | Template, ...] = ()) -> None:
        self.source = exact(source) if isinstance(source, Directory) else source
        self.paths = exact(paths)

    def __getitem__(self, paths: str | Template | tuple[str | Template, ...]) -> Tree:
        wanted = paths if isinstance(paths, tuple) else (paths,)
        for path in wanted:
            if not isinstance(path, str | Template) or path == "":
                raise BuildfileError(f"a tree is indexed by paths, got {shown(path)}", at=here())
        prefix = self.paths
        if len(prefix) > 1:
            raise BuildfileError("a tree of several paths cannot be narrowed further", at=here())
        if prefix:
            if any(isinstance(path, Template) for path in (*prefix, *wanted)):
                raise BuildfileError("a tree cannot be narrowed by a text that is yet to be expanded", at=here())
            wanted = tuple(f"{str(prefix[0]).rstrip('/')}/{str(path).lstrip('/')}" for path in wanted)
        return Tree(self.source, wanted)

    def __iter__(self) -> NoReturn:
        # Without this, Python would call __getitem__ with 0, 1, 2, … for ever.
        raise BuildfileError("a tree's files are not known before the build, so it cannot be looped over", at=here())

    def __repr__(self) -> str:
        of = self.source.root if isinstance(self.source, Directory) else repr(self.source)
        return f"<Tree {', '.join(map(repr, self.paths)) or '/'} of {of}>"


def context(path: str = ".", *, ignore: list[str] | tuple[str, ...] = ()) -> Tree:
    """The files of a local directory, relative to the Buildfile.py's own.

    Its ignore file (`Buildfile.py.dockerignore` or `.dockerignore`) counts
    first, then the patterns of `ignore`, in the same language. Raises
    `BuildfileError` where there is no such directory.
    """
    expect(path, str, "`path` of context()")
    root = session.resolve(path)
    if not os.path.isdir(root):
        raise BuildfileError(f"the context `{path}` is not a directory", at=here())
    return Tree(Directory(root, strings(ignore, "`ignore` of context()"), here()))
