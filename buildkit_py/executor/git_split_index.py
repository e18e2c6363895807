"""A split index of git: a shared part that stays, and a small one that says what is otherwise (`git update-index
--split-index`, `core.splitIndex`).

gitformat-index(5), "Split index": two bitmaps name entries of the shared part,
those that are gone and those that the first entries of the small part replace,
in order and with no names of their own. The other entries of the small part
are further ones. Bitmaps are compressed as EWAH (gitformat-bitmap(5), appendix):
runs of equal words, each followed by words as they are.
"""

from __future__ import annotations

from struct import Struct, error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildkit_py.executor.git_index import Listed

_HEAD = Struct(">II")  # bits, words
_TAIL = 4  # where the last run is, for who appends
_WORD = 8
_ALL = (1 << 64) - 1


def joined(shared: Sequence[Listed], own: Sequence[Listed], changes: bytes) -> list[Listed]:
    """The entries of both parts. `changes` are the two bitmaps, or b"". Raises `ValueError` where they do not fit."""
    try:
        gone, at = _bits(changes, 0, len(shared)) if changes else ([], 0)
        replaced, at = _bits(changes, at, len(shared)) if changes else ([], 0)
    except (IndexError, error) as problem:
        raise ValueError("what it has of its other part is cut short") from problem
    if at != len(changes) or len(replaced) > len(own):
        raise ValueError("it does not fit its other part")
    entries = list(shared)
    for place, (path, mode) in zip(replaced, own, strict=False):
        entries[place] = (path or entries[place][0], mode)
    dropped = set(gone)
    kept = [entry for place, entry in enumerate(entries) if place not in dropped]
    kept += own[len(replaced) :]
    if not all(path for path, _ in kept):
        raise ValueError("it does not fit its other part")
    return kept


def _bits(data: bytes, at: int, most: int) -> tuple[list[int], int]:
    """The bits that are set in the bitmap there, all below `most`, and where it ends."""
    _, words = _HEAD.unpack_from(data, at)
    start = at + _HEAD.size
    end = start + words * _WORD
    if end + _TAIL > len(data):
        raise IndexError("words")
    found: list[int] = []
    for place, word in _words(memoryview(data)[start:end], most):
        if place + word.bit_length() > most:
            raise ValueError("it does not fit its other part")
        found += [place + bit for bit in range(word.bit_length()) if word >> bit & 1]
    return found, end + _TAIL


def _words(data: memoryview, most: int) -> Iterator[tuple[int, int]]:
    """The words that are not 0, each with the number of its lowest bit; no more of a run than has `most` bits."""
    at, place = 0, 0
    while at < len(data):
        head = int.from_bytes(data[at : at + _WORD])
        at += _WORD
        run, literal = head >> 1 & 0xFFFF_FFFF, head >> 33
        if head & 1:
            for _ in range(run):
                if place > most:
                    return
                yield place, _ALL
                place += 64
        else:
            place += 64 * run
        if at + literal * _WORD > len(data):
            raise IndexError("literal words")
        for _ in range(literal):
            word = int.from_bytes(data[at : at + _WORD])
            at += _WORD
            if word:
                yield place, word
            place += 64
