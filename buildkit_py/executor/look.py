"""Looking at directories of a context: the names in them, and what the system says of each; ahead, in a second process.

Asking for the attributes of 50,000 files keeps a processor busy for a tenth of
a second, so where many directories wait, a second process looks at some.
It says only what is ordinary: files that have long been at rest, with one
name. All else, and what it could not read, is left to whoever asked.
"""

from __future__ import annotations

import marshal
import os
import stat
import time

from buildkit_py.image.overlay_marks import USER
from buildkit_py.store.scan import COARSE_TICK, packed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self, TypeAlias

    from buildkit_py.image.second import Second

    Xattrs: TypeAlias = tuple[tuple[str, bytes], ...]
    # Of a directory: its own ctime, mtime, inode, size and mode; when it was looked at; the sorted names in it;
    # their stamps (`store/scan.py`) one behind the other; and for each name mode, size, mtime and xattrs of an
    # ordinary file, or None. Of what is None the stamp counts for nothing.
    Looked: TypeAlias = tuple[
        tuple[int, int, int, int, int], int, list[str], bytes, list[tuple[int, int, int, Xattrs] | None]
    ]

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TASK = "buildkit_py.executor.look:look_slot"
# Files that are looked at before a second process is started, directories that must wait, and how many it gets at once.
_ALONE, _WAITING, _TOGETHER = 2_000, 8, 8


def xattrs_of(path: str) -> Xattrs:
    """The extended attributes that travel with a file: the user's own and file capabilities, and no overlay's."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return ()
    if not names:
        return ()
    kept = sorted(name for name in names if name.startswith("user.") or name == "security.capability")
    if kept and any(name.startswith(USER) for name in kept):
        kept = [name for name in kept if not name.startswith(USER)]
    found = []
    for name in kept:
        try:
            found.append((name, os.getxattr(path, name, follow_symlinks=False)))
        except OSError:  # BuildKit's copy ignores attributes it cannot read, too
            continue
    return tuple(found)


def look(path: str) -> Looked:
    """What a directory and the files in it look like. Raises `OSError`."""
    now = time.time_ns()
    calm, regular, file_type, ask = now - COARSE_TICK, stat.S_IFREG, stat.S_IFMT, os.stat
    fd = os.open(path, DIRECTORY)
    try:
        own = os.fstat(fd)
        names = sorted(os.listdir(fd))
        near = path + "/"
        rows: list[tuple[int, int, int, Xattrs] | None] = []
        stamps: list[int] = []
        for name in names:
            seen = ask(name, dir_fd=fd, follow_symlinks=False)
            changed, modified, mode = seen.st_ctime_ns, seen.st_mtime_ns, seen.st_mode
            stamps += (changed, modified, seen.st_ino, seen.st_size)
            if changed > calm or modified > calm or seen.st_nlink > 1 or file_type(mode) != regular:
                rows.append(None)
            else:
                rows.append((mode & 0o7777, seen.st_size, modified, xattrs_of(near + name)))
    finally:
        os.close(fd)
    return (own.st_ctime_ns, own.st_mtime_ns, own.st_ino, own.st_size, own.st_mode), now, names, packed(stamps), rows


def look_slot(view: memoryview, length: int, _: int) -> int:
    """`look`, as the task of a second process: paths in a slot become what is there, None where there is no room."""
    from buildkit_py.image.second import SIZE

    answers: list[Looked | None] = []
    size = 64
    for path in marshal.loads(view[:length]):
        try:
            looked = look(path) if size < SIZE else None
        except OSError:
            looked = None
        if looked is not None:
            size += len(marshal.dumps(looked, 2))
        answers.append(looked if size < SIZE else None)
    data = marshal.dumps(answers, 2)
    view[: len(data)] = data
    return len(data)


class LookAhead:
    """Has a second process look at some of the directories that wait. Use as a context manager.

    `found` is what it saw, by path below `root`; `started`: there was enough for one, which is left to others then.
    """

    def __init__(self, root: str) -> None:
        self.found: dict[str, Looked] = {}
        self._near = root + "/"
        self._given: dict[int, list[str]] = {}
        self._second: Second | None = None
        self.started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._second is not None:
            self._second.leave()

    def share(self, waiting: list[str], files: int) -> None:
        """Give away some of the directories that wait, and put back those that were looked at; `files` were seen."""
        if self._second is None and (self.started or files < _ALONE or len(waiting) < _WAITING):
            return
        from buildkit_py.image.second import Lost, start  # not above: most contexts are small

        second = self._second = self._second or start()
        self.started = True
        if second is None:
            return
        try:
            if not second.is_up():
                return
            while self._given and (not waiting or second.has_answer()):
                waiting += self._take(second)
            while second.free and len(waiting) > 1:
                self._give(second, waiting)
        except Lost:
            second.close()
            self._second = None
            for paths in self._given.values():
                waiting += paths
            self._given.clear()

    def _give(self, second: Second, waiting: list[str]) -> None:
        some = min(_TOGETHER, len(waiting) // 2)
        data = marshal.dumps([self._near + path for path in waiting[:some]], 4)
        slot = second.free.pop()
        self._given[slot] = waiting[:some]
        del waiting[:some]
        second.slot(slot)[: len(data)] = data
        second.give(_TASK, slot, len(data))

    def _take(self, second: Second) -> list[str]:
        slot, length = second.take()
        paths = self._given.pop(slot)
        answers: list[Any] = marshal.loads(second.slot(slot)[:length])
        second.free.append(slot)
        self.found.update([(path, seen) for path, seen in zip(paths, answers, strict=True) if seen is not None])
        return paths
