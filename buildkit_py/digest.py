"""Digests, and the canonical bytes they are taken over.

Two kinds of digest name things. Blobs are named by `sha256:<hex>`, because
OCI says so. Keys and trees are named by BLAKE3-256 in hex, which is four
times faster. `docs/reference/cache-keys.md` documents the canonical form:

    None n   False f   True t   int i<decimal>;   bytes b<length>:<bytes>
    str  s<length>:<utf-8, surrogateescape>
    tuple, list  l<count>:<items>     dict  d<count>:<key><value>… sorted by key bytes

Every value says its own length, so no two values share an encoding.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Protocol

    class Hasher(Protocol):
        """An object of hashlib."""

        def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
        def hexdigest(self) -> str: ...


# Up to here the interpreter's own SHA-256 is done before OpenSSL, four times as fast, is loaded.
_SMALL = 1 << 20
_HEX = frozenset("0123456789abcdef")


def canonical(value: Any) -> bytes:
    """The canonical bytes of a value made of None, bool, int, str, bytes, tuple, list and dict."""
    out: list[bytes] = []
    _encode(value, out.append)
    return b"".join(out)


def _encode(value: Any, put: Any) -> None:
    kind = type(value)
    if kind is str:
        raw = value.encode("utf-8", "surrogateescape")
        put(b"s%d:" % len(raw))
        put(raw)
    elif kind is bytes:
        put(b"b%d:" % len(value))
        put(value)
    elif kind is bool:
        put(b"t" if value else b"f")
    elif kind is int:
        put(b"i%d;" % value)
    elif value is None:
        put(b"n")
    elif kind is tuple or kind is list:
        put(b"l%d:" % len(value))
        for item in value:
            _encode(item, put)
    elif kind is dict:
        put(b"d%d:" % len(value))
        pairs = sorted((canonical(k), v) for k, v in value.items())
        for encoded, item in pairs:
            put(encoded)
            _encode(item, put)
    else:
        raise TypeError(f"no canonical form for {kind.__name__}")


def decode(data: bytes) -> Any:
    """The value whose canonical bytes these are (sequences come back as tuples).

    Raises `ValueError` for anything that `canonical` would not have written.
    """
    try:
        value, end = _decode(data, 0, 0)
    except (IndexError, OverflowError) as problem:
        raise ValueError("truncated canonical data") from problem
    if end != len(data):
        raise ValueError("trailing bytes after canonical data")
    return value


def _decode(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > 100:
        raise ValueError("canonical data nested too deeply")
    tag = data[at : at + 1]
    if tag == b"n":
        return None, at + 1
    if tag in (b"t", b"f"):
        return tag == b"t", at + 1
    if tag == b"i":
        end = data.index(b";", at)
        return int(data[at + 1 : end]), end + 1
    if tag not in (b"s", b"b", b"l", b"d") or not tag:
        raise ValueError(f"unknown tag in canonical data at byte {at}")
    colon = data.index(b":", at)
    count = int(data[at + 1 : colon])
    start = colon + 1
    if count < 0 or (count > len(data) - start):
        raise ValueError("truncated canonical data")
    if tag == b"b":
        return data[start : start + count], start + count
    if tag == b"s":
        return data[start : start + count].decode("utf-8", "surrogateescape"), start + count
    if tag == b"l":
        items = []
        for _ in range(count):
            item, start = _decode(data, start, depth + 1)
            items.append(item)
        return tuple(items), start
    mapping = {}
    for _ in range(count):
        key, start = _decode(data, start, depth + 1)
        mapping[key], start = _decode(data, start, depth + 1)
    return mapping, start


def blake3_hex(data: bytes) -> str:
    """BLAKE3-256 of some bytes, as 64 hex digits."""
    from blake3 import blake3

    return blake3(data).hexdigest()


def sha256(expected: int) -> Hasher:
    """A new SHA-256 for about so many bytes. That of OpenSSL takes 2 ms to load, which a few small layers need not."""
    if expected <= _SMALL and "hashlib" not in sys.modules:
        try:
            own: Hasher = __import__("_sha2" if sys.version_info >= (3, 12) else "_sha256").sha256()
            return own
        except ImportError:
            pass  # an interpreter that was made without it
    from hashlib import sha256 as fast

    return fast()


def digest_of(data: bytes) -> str:
    """The digest that names some bytes as a blob."""
    hasher = sha256(len(data))
    hasher.update(data)
    return "sha256:" + hasher.hexdigest()


def key_of(*parts: Any) -> str:
    """The key made of the parts: BLAKE3 over the canonical bytes of the tuple of them."""
    return blake3_hex(canonical(parts))


def is_hex(text: str, length: int = 64) -> bool:
    """Whether a text is exactly that many lower-case hex digits."""
    return len(text) == length and _HEX.issuperset(text)


def is_sha256(text: str) -> bool:
    """Whether a text is a well-formed `sha256:<64 lower-case hex digits>`; nothing else may name a blob."""
    return text.startswith("sha256:") and is_hex(text[7:])


def chunks(fd: int, size: int = 1 << 20) -> Iterator[bytes]:
    """The rest of an open file in pieces of at most `size` bytes."""
    import os

    while piece := os.read(fd, size):
        yield piece
