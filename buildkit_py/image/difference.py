"""Differences between two trees, file by file: what each has alone, and how what both have is otherwise."""

from __future__ import annotations

import os

from buildkit_py.errors import ContextError
from buildkit_py.image.entry import FILE
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from buildkit_py.image.entry import Entry

_BLOCK = 1 << 20


class FileDifference(Record):
    """A path that is otherwise: how many bytes its file has, -1 on a side that lacks the path; `how` it changed."""

    path: str
    before: int
    after: int
    how: tuple[str, ...] = ()


def differences(
    before: Mapping[str, Entry], after: Mapping[str, Entry], time: Callable[[int], int] | None = None
) -> Iterator[FileDifference]:
    """The paths that are otherwise, in the order of their names; the entries are given by path.

    Times are compared where `time` is given, which makes of an mtime, in nanoseconds, what counts of it. Raises
    `ContextError` for a file whose bytes cannot be read.
    """
    for path in sorted({*before, *after}):
        old, new = before.get(path), after.get(path)
        how = _how(old, new, time) if old is not None and new is not None else ()
        if old is None or new is None or how:
            was, is_ = (side.size if side is not None else -1 for side in (old, new))
            yield FileDifference(path, was, is_, how)


def _how(old: Entry, new: Entry, time: Callable[[int], int] | None) -> tuple[str, ...]:
    if old.kind != new.kind:
        return (f"{old.kind} became {new.kind}",)
    how = []
    if old.mode != new.mode:
        how.append(f"mode {old.mode:04o} became {new.mode:04o}")
    if (old.uid, old.gid) != (new.uid, new.gid):
        how.append(f"owner {old.uid}:{old.gid} became {new.uid}:{new.gid}")
    if old.target != new.target or old.rdev != new.rdev:
        how.append(f"it leads to {new.target}" if new.target else "it is another device")
    if old.xattrs != new.xattrs:
        how.append("extended attributes")
    if time is not None and time(old.mtime) != time(new.mtime):
        how.append("time")
    if old.kind == FILE and (old.size != new.size or not _same_bytes(old, new)):
        how.append("content")
    return tuple(how)


def _same_bytes(old: Entry, new: Entry) -> bool:
    if old.source == new.source:
        return True  # of one layer
    try:
        with open(old.source, "rb") as first, open(new.source, "rb") as second:
            if os.path.samestat(os.fstat(first.fileno()), os.fstat(second.fileno())):
                return True
            while block := first.read(_BLOCK):
                if block != second.read(_BLOCK):
                    return False
            return not second.read(1)
    except OSError as problem:
        raise ContextError(f"a file of a layer cannot be read: {problem.strerror}", at=problem.filename) from problem
