"""The limits of what is accepted from a layer or an archive, whoever made it."""

from __future__ import annotations

from buildkit_py.record import Record

# Of Linux: PATH_MAX with its NUL is 4096, NAME_MAX 255.
PATH_MAX = 4095
NAME_MAX = 255


class Limits(Record):
    """What one archive may ask of this machine.

    `header` bounds the bytes of one extended (PAX or GNU long name) header.
    `ratio` (unpacked to packed bytes) counts only past `ratio_from` unpacked
    bytes: a layer of a gigabyte of zeros is legal, a terabyte from a megabyte
    is not.
    """

    header: int = 1 << 20
    entries: int = 10_000_000
    bytes: int = 1 << 40
    ratio: int = 200
    ratio_from: int = 32 << 30


DEFAULT = Limits()
