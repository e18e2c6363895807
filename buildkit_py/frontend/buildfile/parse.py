"""Parsing a Buildfile: text in, typed tree out, or an error that shows the place.

    file -> lines.Source (logical lines) -> grammar/buildfile.lark -> instructions.build -> Buildfile

With a cache directory the tree of an unchanged file comes from there, and
neither Lark nor `re` is imported.
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile import cache
from buildkit_py.whole_file import read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.buildfile.syntax import Buildfile


def parse_file(path: str, *, name: str = "", cache_dir: str = "") -> Buildfile:
    """The tree of a file. `name` is what positions show, by default the path.

    `cache_dir` is a private directory in which trees are kept. Raises
    `BuildfileSyntaxError`, and `BuildfileError` for a file that cannot be read.
    """
    name = name or path
    try:
        text = read_whole(path)
    except FileNotFoundError as problem:
        raise BuildfileError("there is no such file", at=name) from problem
    except OSError as problem:
        raise BuildfileError(f"the file cannot be read: {problem.strerror}", at=name) from problem
    return parse_text(text, name, cache_dir=cache_dir)


def parse_text(text: bytes | str, name: str, *, cache_dir: str = "") -> Buildfile:
    """The tree of a text. Raises `BuildfileSyntaxError`."""
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    if cache_dir:
        known = cache.load(cache_dir, data, name)
        if known is not None:
            return known
    from buildkit_py.frontend.buildfile.reader import read

    tree = read(data, name, cache_dir)
    if cache_dir:
        cache.save(cache_dir, data, tree)
    return tree
