"""Archives that ADD takes apart: tar, plain or in gzip, bzip2, xz or zstd, known by their content.

An archive becomes entries. Nothing is written by the names in it: the bytes
of its files go into numbered files of a work directory, so whatever a name
says, it can only end up as a path of the layer. `..` stops at the root.
"""

from __future__ import annotations

import os

from buildkit_py.errors import ContextError, SourceError
from buildkit_py.image.batches import changed
from buildkit_py.image.compress import Counted, TrailingGarbage, decompress, kind_of_bytes
from buildkit_py.image.entry import DIR, FILE, HARDLINK, Entry, kept_time
from buildkit_py.image.limits import DEFAULT, Limits
from buildkit_py.image.member import clean_path, entry_of
from buildkit_py.image.tar_reader import TarReader
from buildkit_py.image.unpack import limited

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

# Small files stay in memory, for creating one costs more than keeping it; but not without end.
_IN_MEMORY = 1 << 14
_ALL_IN_MEMORY = 16 << 20
_PIECE = 1 << 20


def archive_entries(
    file: Entry, work: str, limits: Limits = DEFAULT, *, digests: dict[str, bytes] | None = None
) -> list[Entry] | None:
    """The entries of an archive, of a name that comes twice the last; None for a file that is no archive.

    In the order of the archive. A file is no archive if its first header is
    none, as docker has it; damage after that is an error. An entry of the path
    "" gives the destination itself its attributes. Bytes that do not stay in
    memory go below the directory `work`. `digests` gets, by the archive's source,
    BLAKE3 of the bytes that were unpacked. Raises `ContextError`, also for an
    archive that is not what was listed, or changes while it is read.
    """
    try:
        with _open(file) as stream:
            before = os.fstat(stream.fileno()) if file.data is None else None
            hashed = _Hashed(stream)
            entries = _read(hashed, os.path.realpath(work) if work else "", limits)
            if entries is not None and before is not None:
                digest = hashed.rest()
                now = os.fstat(stream.fileno())
                if (
                    (now.st_size, now.st_mtime_ns, now.st_ctime_ns) != (file.size, file.mtime, before.st_ctime_ns)
                    # Its key was made of other bytes, so what is in it now must not be filed under that.
                    or (file.digest is not None and file.digest != digest)
                ):
                    raise changed(file)
                if digests is not None:
                    digests[file.source] = digest
            return entries
    except SourceError as problem:
        raise ContextError(f"{problem.message} (unpacking {file.path})", at=file.source) from problem
    except OSError as problem:
        raise ContextError(f"{file.path} cannot be unpacked ({problem.strerror})", at=file.source) from problem


class _Hashed:
    """Reads a stream, and takes the digest of all its bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        from blake3 import blake3

        self._stream = stream
        self._hasher = blake3()

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._hasher.update(data)
        return data

    def rest(self) -> bytes:
        """The digest, after reading what nobody wanted of it."""
        while self.read(_PIECE):
            pass
        return self._hasher.digest()


def _open(file: Entry) -> BinaryIO:
    if file.data is not None:
        import io

        return io.BytesIO(file.data)
    from buildkit_py.image.true_path import open_true

    return open(open_true(file.source), "rb", buffering=0)


def _read(stream: _Hashed, work: str, limits: Limits) -> list[Entry] | None:
    source = Counted(stream.read)
    kind = kind_of_bytes(source.peek(6))
    plain = decompress(source.read, kind)
    tar = TarReader(limited(plain, source, limits), limits)
    members = iter(tar)
    try:
        member = next(members, None)
    except SourceError:
        return None
    if member is None:
        return None
    found: dict[str, Entry] = {}
    links: dict[str, list[str]] = {}  # paths of hard links by what they are links to
    held = count = 0
    spool = f"{work}/{len(os.listdir(work)) if work else 0}"  # another archive may have left its files there
    while member is not None:
        count += 1
        path = clean_path(member.name, clamp=True)
        entry = entry_of(member, path, clamp=True)
        entry = entry._replace(mtime=kept_time(entry.mtime))
        if path or entry.kind == DIR:
            if entry.kind == FILE:
                if entry.size <= _IN_MEMORY and held + entry.size <= _ALL_IN_MEMORY:
                    held += entry.size
                    entry = entry._replace(data=tar.data())
                else:
                    if not work:
                        raise ValueError("an archive is unpacked, but there is no work directory")
                    entry = entry._replace(source=_spool(tar.rest(), f"{spool}-{count}", entry.mtime))
            old = found.pop(path, None)
            if old is not None and old.kind == FILE and path in links:
                _hand_on(old, found, links)
            if entry.kind == HARDLINK:
                leader = found.get(entry.target)
                if leader is not None and leader.kind == HARDLINK:
                    entry = entry._replace(target=leader.target)
                links.setdefault(entry.target, []).append(path)
            found[path] = entry
        member = next(members, None)
    # tar(1) and docker do without the mark. That zstd's data is cut short shows by nothing else.
    if not tar.ended and kind == "zstd":
        raise SourceError("the archive is truncated: it has no end mark")
    try:
        tar.drain()  # the check sum of compressed data comes after the end mark
    except TrailingGarbage:
        pass  # no part of the archive, as gzip(1), tar(1) and docker have it
    return _consistent(found)


def _spool(pieces: Iterator[bytes | memoryview], path: str, mtime: int) -> str:
    """Keep bytes in a new file with the time that its entry has, which is what `pack` will look for."""
    with open(path, "xb") as out:
        for piece in pieces:
            out.write(piece)
    os.utime(path, ns=(mtime, mtime))
    return path


def _hand_on(old: Entry, found: dict[str, Entry], links: dict[str, list[str]]) -> None:
    """Another member takes the name of a file that has links: these keep it, under the first one's name."""
    # In the order in which they are found: one that came twice stands where it came last.
    known = list(dict.fromkeys(reversed(links.pop(old.path))))[::-1]
    names = [name for name in known if (link := found.get(name)) and link.target == old.path]
    if not names:
        return
    first, *rest = names
    found[first] = old._replace(path=first)
    for name in rest:
        found[name] = found[name]._replace(target=first)
    links[first] = rest


def _consistent(found: dict[str, Entry]) -> list[Entry]:
    """Hard links must lead to what the archive has before them, and what they share is a file."""
    out: list[Entry] = []
    seen: dict[str, Entry] = {}
    for path, entry in found.items():
        if entry.kind == HARDLINK:
            target = seen.get(entry.target)
            if target is None or target.kind == DIR:
                raise SourceError(f"{path} in the archive is a hard link to {entry.target}, which is no file of it")
            if target.kind == HARDLINK:
                entry = entry._replace(target=target.target)
            elif target.kind != FILE:
                entry = target._replace(path=path)
        seen[path] = entry
        out.append(entry)
    return out
