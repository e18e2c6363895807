"""A checksum in front of bytes that are read where loading BLAKE3 would take longer than all else that is done.

It is the interpreter's own BLAKE2b, which the first tier of the command line
has loaded already; files that only the rest reads have the store's seal
(`store/sealed.py`). Damaged bytes count as absent.
"""

from __future__ import annotations

from _blake2 import blake2b

SIZE = 32


def checked(data: bytes) -> bytes:
    """The bytes behind their checksum."""
    return blake2b(data, digest_size=SIZE).digest() + data


def unchecked(data: bytes) -> memoryview | None:
    """What `checked` was given, not copied; None if the bytes are anything else than it gave."""
    body = memoryview(data)[SIZE:]
    return body if blake2b(body, digest_size=SIZE).digest() == data[:SIZE] else None
