"""The grammar file, and its tables as Lark makes them: those that come with it, or others for another escape."""

from __future__ import annotations

import os

import buildkit_py

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lark import Lark

    from buildkit_py.frontend.buildfile.tables import Tables

PATH = os.path.join(os.path.dirname(buildkit_py.__file__), "grammar", "buildfile.lark")
TABLES = os.path.join(os.path.dirname(PATH), "buildfile.tables")
_ESCAPES = "// ---- escapes"
_tables: dict[str, Tables] = {}


def source() -> bytes:
    """The grammar file as it is."""
    return _packaged(PATH)


def _packaged(path: str) -> bytes:
    """A file of the package.

    Through the package's own loader, as `importlib.resources` would, but
    without importing that: it costs more than the whole cached parse.
    """
    spec = buildkit_py.__spec__
    loader = spec.loader if spec is not None else None
    get_data = getattr(loader, "get_data", None)
    if get_data is None:
        with open(path, "rb") as file:
            return file.read()
    data: bytes = get_data(path)
    return data


def for_escape(text: str, escape: str) -> str:
    """The grammar with another escape character in its block of escapes."""
    if escape == "\\":
        return text
    head, mark, rest = text.partition(_ESCAPES)
    block, end, tail = rest.partition("// ----")
    # In that block a backslash of the language is `\\`; in a class and outside one a backtick needs no escape.
    return head + mark + block.replace("\\\\", escape) + end + tail


def tables(escape: str, cache_dir: str = "") -> Tables:
    """The parser's tables for a file with this escape character. `cache_dir` may hold those that are not packaged."""
    made = _tables.get(escape)
    if made is None:
        # Not above: a text that was parsed before needs the file, but not this.
        from buildkit_py.frontend.buildfile.expressions import Expressions
        from buildkit_py.frontend.buildfile.tables import extract, key, load, path_of, save

        text = for_escape(source().decode(), escape)
        made = _shipped(text)
        path = path_of(cache_dir, text) if cache_dir and made is None else ""
        if made is None and path:
            made = load(path, text)
        if made is None:
            made = extract(parser(escape))
            if path:
                save(made, path, text)
        if cache_dir:
            made.expressions = Expressions(cache_dir, key(text))
        _tables[escape] = made
    return made


def _shipped(text: str) -> Tables | None:
    """The tables that are packaged with the grammar; None where they are another's."""
    from buildkit_py.frontend.buildfile.tables import undump

    try:
        return undump(_packaged(TABLES), text)
    except OSError:
        return None


def ship() -> bytes:
    """What the file beside the grammar has to hold: the first build on a machine is not to wait for Lark."""
    from buildkit_py.frontend.buildfile.tables import dump, extract

    return dump(extract(parser("\\")), source().decode())


def parser(escape: str) -> Lark:
    """Lark's own parser, which takes 80 ms to load and make: for tables, and for what is wrong with a text."""
    import lark

    return lark.Lark(for_escape(source().decode(), escape), parser="lalr", lexer="contextual", maybe_placeholders=False)
