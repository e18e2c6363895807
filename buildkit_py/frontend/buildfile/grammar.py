"""The grammar file and the parser that Lark makes of it.

Making the LALR tables takes 40 ms, reading them back 3: with a directory to
keep them in (private to the user, since they are pickled) they are made once
for each grammar, escape character, Lark and Python.
"""

from __future__ import annotations

import os

import buildkit_py

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lark import Lark

PATH = os.path.join(os.path.dirname(buildkit_py.__file__), "grammar", "buildfile.lark")
_ESCAPES = "// ---- escapes"
_parsers: dict[str, Lark] = {}


def source() -> bytes:
    """The grammar file as it is.

    Through the package's own loader, as `importlib.resources` would, but
    without importing that: it costs more than the whole cached parse.
    """
    spec = buildkit_py.__spec__
    loader = spec.loader if spec is not None else None
    get_data = getattr(loader, "get_data", None)
    if get_data is None:
        with open(PATH, "rb") as file:
            return file.read()
    data: bytes = get_data(PATH)
    return data


def for_escape(text: str, escape: str) -> str:
    """The grammar with another escape character in its block of escapes."""
    if escape == "\\":
        return text
    head, mark, rest = text.partition(_ESCAPES)
    block, end, tail = rest.partition("// ----")
    # In that block a backslash of the language is `\\`; in a class and outside one a backtick needs no escape.
    return head + mark + block.replace("\\\\", escape) + end + tail


def parser(escape: str, cache_dir: str = "") -> Lark:
    """The parser for a file with this escape character. `cache_dir` may hold its tables."""
    made = _parsers.get(escape)
    if made is None:
        made = _parsers[escape] = _load(escape, cache_dir)
    return made


def _load(escape: str, cache_dir: str) -> Lark:
    import lark

    text = for_escape(source().decode(), escape)
    if not cache_dir:
        return _make(text)
    import pickle
    import sys

    from buildkit_py.digest import key_of

    key = key_of("lark tables", text, lark.__version__, sys.version)
    path = os.path.join(cache_dir, f"grammar-{key}")
    try:
        with open(path, "rb") as file:
            return lark.Lark.load(file)
    except FileNotFoundError:
        pass
    except (OSError, EOFError, pickle.UnpicklingError, ValueError, TypeError, KeyError, AttributeError):
        pass  # damaged: made again and replaced below
    made = _make(text)
    _keep(made, path)
    return made


def _make(text: str) -> Lark:
    import lark

    return lark.Lark(text, parser="lalr", lexer="contextual", maybe_placeholders=False)


def _keep(made: Lark, path: str) -> None:
    """Write the tables beside, then rename; a full or read-only disk only costs the time next time."""
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            made.save(file)
        os.replace(temporary, path)
    except OSError:
        try:
            os.unlink(temporary)
        except OSError:
            pass
