"""A file that changes while it is read, its size and mtime restored, is an error for all who read files of a context.

Another process writes to the file all the time, from its first byte to its
last. What a reader gives is what the file held at some moment, or an error.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from buildkit_py.errors import ContextError
from buildkit_py.executor.context_tree import ContextTree
from buildkit_py.executor.listed_file import hash_listed
from buildkit_py.executor.write_tree import write_tree
from buildkit_py.image.entry import Entry
from buildkit_py.image.pack import pack
from tests.executor.test_write_tree import ME

# Read at once, in the batch of small files; and in pieces.
SIZES = {"small": 48 << 10, "large": 6 << 20}
OLD = 10**18
LETTERS = b"abcd"
PIECES = 12


def _rewrite(path: Path, size: int, stop: Event, begun: Event) -> None:
    """Fill the file with one letter after the other, a piece at a time, and set its mtime back each time."""
    fd = os.open(path, os.O_WRONLY)
    number = 0
    while not stop.is_set():
        number += 1
        piece = letter(number) * (size // PIECES)
        for at in range(0, size, len(piece)):
            os.pwrite(fd, piece, at)
            os.utime(fd, ns=(OLD, OLD))
        begun.set()
    os.close(fd)


def letter(number: int) -> bytes:
    return LETTERS[number % len(LETTERS) :][:1]


def moments(size: int) -> Iterator[bytes]:
    """All that the file ever holds: a letter so far as it was written, and behind it the one before."""
    piece = size // PIECES
    for number in range(len(LETTERS)):
        for written in range(PIECES):
            yield letter(number + 1) * (piece * written) + letter(number) * (size - piece * written)


@contextmanager
def rewritten(path: Path, size: int) -> Iterator[None]:
    stop, begun = multiprocessing.Event(), multiprocessing.Event()
    writer = multiprocessing.Process(target=_rewrite, args=(path, size, stop, begun))
    writer.start()
    try:
        begun.wait()
        yield
    finally:
        stop.set()
        writer.join()


def packed(entry: Entry, work: Path) -> bytes:
    """What a COPY's blob has of the file."""
    pieces: list[bytes] = []
    pack([entry], lambda piece: pieces.append(bytes(piece)), compression="none", hash_files=True)
    return b"".join(pieces)[512 : 512 + entry.size]


def packed_with_digest(entry: Entry, work: Path) -> bytes:
    """The same for a file whose digest was wanted first, for a key."""
    return packed(entry._replace(digest=hash_listed(entry)), work)


def hashed(entry: Entry, work: Path) -> bytes:
    """What a key is made of: the file's digest alone. What was hashed is found by trying."""
    from blake3 import blake3

    digest = hash_listed(entry)
    return next((text for text in moments(entry.size) if blake3(text).digest() == digest), b"")


def as_files(entry: Entry, work: Path) -> bytes:
    """What a COPY on which a step stands, or a bind mount's snapshot, has of the file."""
    directory = work / str(time.monotonic_ns())
    directory.mkdir()
    write_tree([entry], str(directory), ME)
    return (directory / entry.path).read_bytes()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("read", [packed, packed_with_digest, hashed, as_files])
@pytest.mark.attack("C10")
def test_no_reader_gives_what_never_was(tmp_path: Path, size: str, read: Callable[[Entry, Path], bytes]) -> None:
    path = tmp_path / "context" / "f"
    path.parent.mkdir()
    path.write_bytes(b"a" * SIZES[size])
    os.utime(path, ns=(OLD, OLD))
    work = tmp_path / "work"
    work.mkdir()
    refused = tried = 0
    with rewritten(path, SIZES[size]):
        while tried < (200 if size == "small" else 12) or (not refused and tried < 5000):
            tried += 1
            entry = ContextTree(str(path.parent)).lookup("f")
            assert entry is not None
            try:
                data = read(entry, work)
            except ContextError as problem:
                refused += "changed while it was being read" in problem.message
                continue
            assert data in moments(SIZES[size]), "torn between two writes"
    assert refused, "the writer was too slow for this test to say anything"
    entry = ContextTree(str(path.parent)).lookup("f")
    assert entry is not None
    assert len(read(entry, work)) == SIZES[size], "at rest it can be read"
