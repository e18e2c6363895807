"""A batch: members of a tar that are made together, up to a megabyte of them, in this process or in a second one.

Small files are read straight to where they stand in the tar, behind their
headers. What needs no reading (directories, links) comes with them as it is,
so that a batch goes on over many small directories.

A batch travels as a plain tuple:

    (whether digests are wanted, the epoch or None, segments)
    segment = (directory on this machine, prefix of the paths in the layer, names, rows)   of small files
            | (tar bytes, bytes of the content digest)                                     of one other entry
    row     = (mode, uid, gid, size, mtime in nanoseconds)
"""

from __future__ import annotations

import marshal
import os
import stat
import time

from buildkit_py.image.at_rest import TICK, was_at_rest
from buildkit_py.image.content import file_part
from buildkit_py.image.directories import Directories
from buildkit_py.image.entry import FILE, Entry
from buildkit_py.image.tar_header import BLOCK_SIZE, MAX_ID, PADDING, HeaderWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Job: TypeAlias = tuple[bool, int | None, list[tuple[Any, ...]]]
    # What was made: bytes of the tar, bytes of the content digest, the files' digests one behind the other, the
    # offsets in the batch at which entries end.
    Made: TypeAlias = tuple[int, bytes, bytes, list[int]]

# Files up to this many bytes are small.
SMALL = 1 << 16
# A batch is closed when its members, and what is said of them, take this much.
FULL = 1 << 20
# What a batch may take at most: a file and its name can come on top.
MOST = FULL + 2 * SMALL
# What is said of a file, besides its path, twice: see `Job` and `Made`.
_SAID = 128
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SECOND = 10**9
_LATEST = 0o77777777777 * _SECOND  # what a header has room for


class Batch:
    """A batch being put together. `entries` are all in it; `room` is what it takes at most.

    `known`: of some file the digest is known.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.segments: list[tuple[Any, ...]] = []
        self.room = 0
        self.known = False
        self._directory = self._prefix = ""
        self._names: list[str] = []
        self._rows: list[tuple[int, int, int, int, int]] = []

    def file(self, entry: Entry) -> bool:
        """Take an entry if it is a small file with its own name, of which there is nothing rare to say."""
        path, _, _, uid, gid, size, mtime, _, _, xattrs, _, source, data, known = entry
        if size > SMALL or data is not None or xattrs or uid > MAX_ID or gid > MAX_ID or not 0 <= mtime < _LATEST:
            return False
        directory, _, name = source.rpartition("/")
        if directory != self._directory or not self._rows or path != self._prefix + name:
            prefix = path[: len(path) - len(name)]
            if path != prefix + name or (prefix and prefix[-1] != "/"):
                return False
            self._directory, self._prefix = directory, prefix
            self._names, self._rows = [], []
            self.segments.append((directory, prefix, self._names, self._rows))
            self.room += 2 * len(directory) + _SAID
        if known is not None:
            self.known = True
        self._names.append(name)
        self._rows.append(entry[2:7])
        self.entries.append(entry)
        self.room += BLOCK_SIZE + size - size % -BLOCK_SIZE + 2 * len(path) + _SAID
        if len(path) > 100 or not path.isascii():
            self.room += 3 * BLOCK_SIZE + 8 * len(path)  # for a PAX header; UTF-8 has up to four bytes for a letter
        return True

    def other(self, entry: Entry, tar: bytes, content: bytes) -> None:
        """Take an entry of which the bytes are known."""
        self._rows = []
        self.segments.append((tar, content))
        self.entries.append(entry)
        self.room += len(tar) + 2 * len(content) + _SAID

    def job(self, hashed: bool, epoch: int | None) -> Job:
        """The batch as it travels."""
        return hashed, epoch, self.segments


def fill(view: memoryview, job: Job, directories: Directories) -> Made:
    """Make the members of a batch. `directories`' root is `/`.

    Raises `Refused` for a file that is not what is said of it, or cannot be read.
    """
    from blake3 import blake3

    hashed, epoch, segments = job
    headers = HeaderWriter()
    plain = headers.plain
    # Locals, and few calls: the inner loop runs once a file, and 50,000 files are an ordinary layer.
    opened, readv, fstat, close = os.open, os.readv, os.fstat, os.close
    regular, file_type = stat.S_IFREG, stat.S_IFMT
    content: list[bytes] = []
    digests: list[bytes] = []
    ends: list[int] = []
    at = 0
    digest = b""
    # What changed before this was at rest while it is read.
    begin = time.time_ns() - TICK
    for segment in segments:
        if len(segment) == 2:
            tar, part = segment
            view[at : at + len(tar)] = tar
            at += len(tar)
            ends.append(at)
            content.append(part)
            continue
        directory, prefix, names, rows = segment
        try:
            parent = directories.at(directory[1:])
        except OSError as problem:
            raise Refused(len(ends), problem.errno or 0) from problem
        for name, (mode, uid, gid, size, mtime) in zip(names, rows, strict=True):
            path = prefix + name
            seconds = mtime // _SECOND
            if epoch is not None and seconds > epoch:
                seconds = epoch
            head = plain(path, mode, uid, gid, size, seconds)
            if not head:
                head = headers.header(Entry(path, FILE, mode, uid, gid, size, mtime), seconds)
            start = at + len(head)
            view[at:start] = head
            end = start + size
            try:
                fd = opened(name, _OPEN, dir_fd=parent)
                try:
                    # One byte more than it should have tells whether it grew; what comes next is written over that.
                    count = readv(fd, (view[start : end + 1],))
                    while 0 < count < size and (more := readv(fd, (view[start + count : end + 1],))):
                        count += more
                    # Looked at after reading: had it been written to meanwhile, its mtime would be another,
                    # or its ctime would be late where somebody set the mtime back.
                    now = fstat(fd)
                    if now.st_ctime_ns >= begin and not was_at_rest(fd, view[start : start + count], now):
                        raise Refused(len(ends), 0)
                finally:
                    close(fd)
            except OSError as problem:
                raise Refused(len(ends), problem.errno or 0) from problem
            if count != size or now.st_size != size or now.st_mtime_ns != mtime or file_type(now.st_mode) != regular:
                raise Refused(len(ends), 0)
            if hashed:
                digest = blake3(view[start:end]).digest()
                digests.append(digest)
                content.append(file_part(path, mode, uid, gid, digest))
            at = end - size % -BLOCK_SIZE
            view[end:at] = PADDING[size % BLOCK_SIZE]
            ends.append(at)
    return at, b"".join(content), b"".join(digests), ends


class Refused(Exception):
    """The entry of that number in a batch cannot be packed; `errno` is 0 for one that has changed."""

    def __init__(self, number: int, errno: int) -> None:
        super().__init__(number, errno)
        self.number = number
        self.errno = errno


_directories: Directories | None = None


def fill_slot(view: memoryview, length: int, _: int) -> int:
    """`fill`, as the task of a second process: a marshalled job in a slot becomes its tar, and what `made_in` reads."""
    global _directories  # noqa: PLW0603
    if _directories is None:
        _directories = Directories("/")
    job = marshal.loads(view[:length])
    said: tuple[Any, ...]
    try:
        size, content, digests, ends = fill(view, job, _directories)
        said = (content, digests, ends)
    except Refused as refused:
        size, said = 0, (refused.number, refused.errno)
    data = marshal.dumps(said, 4)
    end = size + len(data)
    view[size:end] = data
    view[end : end + 4] = size.to_bytes(4, "little")
    return end + 4


def made_in(view: memoryview) -> Made:
    """What `fill_slot` left in (just) these bytes. Raises `Refused`."""
    size = int.from_bytes(view[-4:], "little")
    said = marshal.loads(view[size:-4])
    if len(said) == 2:
        raise Refused(*said)
    content, digests, ends = said
    return size, content, digests, ends
