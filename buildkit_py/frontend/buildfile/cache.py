"""Parsed Buildfiles, kept as marshalled tuples: reading one back costs about what hashing the text does.

A file is named by the BLAKE3 of everything the tree depends on: this format,
the fields of the records, the grammar, the text. It holds no file name;
positions get the name that is asked for. A damaged or foreign file counts as
absent, and writing is best effort, since the text can always be parsed again.
"""

from __future__ import annotations

import marshal
import os

from buildkit_py.digest import blake3_hex, key_of
from buildkit_py.frontend.buildfile import grammar, own_words, syntax
from buildkit_py.record import Record
from buildkit_py.source_map import Position

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Raise it whenever the parser makes another tree of the same text.
FORMAT = 5

_RECORDS: tuple[type[Record], ...] = tuple(
    [
        kind
        for module in (syntax, own_words)
        for _, kind in sorted(vars(module).items())
        if isinstance(kind, type) and issubclass(kind, Record) and kind is not Record and kind is not Position
    ]
)
_INDEX = {kind: index for index, kind in enumerate(_RECORDS)}
_LAYOUT = tuple([(kind.__name__, kind.__fields__) for kind in _RECORDS])
_POSITION = -1


def path_of(store_dir: str, text: bytes) -> str:
    """Where the tree of this text is kept."""
    key = key_of("buildfile tree", FORMAT, _LAYOUT, blake3_hex(grammar.source()), text)
    return os.path.join(store_dir, f"tree-{key}")


def load(store_dir: str, text: bytes, name: str) -> syntax.Buildfile | None:
    """The tree of a text that was parsed before, None if it was not. Its positions are in the file `name`."""
    try:
        with open(path_of(store_dir, text), "rb") as file:
            data = file.read()
        digest, body = data[:64], data[64:]
        if blake3_hex(body).encode() != digest:
            return None
        packed = marshal.loads(body)
    except (OSError, EOFError, ValueError, TypeError):
        return None
    tree = _unpack(packed, name)
    return tree.replace(path=name) if isinstance(tree, syntax.Buildfile) else None


def save(store_dir: str, text: bytes, tree: syntax.Buildfile) -> None:
    """Keep a tree. The directory is made if it is missing, private to the user."""
    body = marshal.dumps(_pack(tree.replace(path="")), 4)
    path = path_of(store_dir, text)
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(store_dir, mode=0o700, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(blake3_hex(body).encode() + body)
        os.replace(temporary, path)
    except OSError:
        try:
            os.unlink(temporary)
        except OSError:
            pass


def _pack(value: Any) -> Any:
    """Records become lists [index, fields...], so that tuples can stay tuples."""
    if isinstance(value, Position):
        return [_POSITION, value.line, value.column]
    if isinstance(value, Record):
        return [_INDEX[type(value)], *[_pack(item) for item in value.values()]]
    if type(value) is tuple:
        return tuple([_pack(item) for item in value])
    return value


def _unpack(value: Any, name: str) -> Any:
    kind = type(value)
    if kind is list:
        index = value[0]
        if index == _POSITION:
            return Position(name, value[1], value[2])
        return _RECORDS[index](*[item if type(item) in _ATOMS else _unpack(item, name) for item in value[1:]])
    if kind is tuple:
        return tuple([item if type(item) in _ATOMS else _unpack(item, name) for item in value])
    return value


_ATOMS = frozenset((str, int, bool, type(None)))
