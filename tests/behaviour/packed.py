"""Documents of portable caches as files: JSON in one frame of zstd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import zstandard

_MAGIC = b"\x28\xb5\x2f\xfd"


def document(path: Path) -> Any:
    """The document in a file."""
    return json.loads(unpacked(path.read_bytes()))


def layers_of(found: Any) -> list[Any]:
    """The layers that a document describes, each with the first step that has it."""
    return [step["layer"] for step in found["steps"] if isinstance(step["layer"], dict)]


def unpacked(data: bytes) -> bytes:
    """What was packed; other bytes, and layers, are b""."""
    if not data.startswith(_MAGIC):
        return b""
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return plain if plain.startswith(b"{") else b""


def is_layer(data: bytes) -> bool:
    """Whether these are the bytes of a layer's blob."""
    return data.startswith(_MAGIC) and not unpacked(data)


def packed(value: object) -> bytes:
    """A document as a file has it."""
    return zstandard.ZstdCompressor().compress(json.dumps(value).encode())
