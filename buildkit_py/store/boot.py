"""The mark in `boot`: under which boot of the machine the store was last used, and what had reached the disk by then.

Nothing in the store is flushed by itself. If the machine goes down, whatever
was written since the last mark may be torn, and the next boot tells so by its
id. The mark is a time read from the filesystem before the sync began, so all
that is older was written by it. The file is the line `<boot id> <nanoseconds>`
twice over, which is seal enough and spares opening a store the hash's import.
"""

from __future__ import annotations

import os
import time

from buildkit_py.store.faults import store_error
from buildkit_py.store.sealed import read_regular
from buildkit_py.store.work import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.store.work import Work

_OLD = 600


def boot_id() -> str:
    """The kernel's id of this boot, "" where it does not tell (then every boot counts as another)."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read().decode().strip()
    except OSError:
        return ""


def read_mark(root: str) -> tuple[str, int]:
    """(boot id, nanoseconds: what changed before is on disk); ("", 0) if there is no mark that can be read."""
    try:
        data = read_regular(root + "/boot")
        if data is not None:
            first, second, rest = data.decode("ascii").split("\n")
            boot, synced = first.split(" ")
            if first == second and not rest:
                return boot, int(synced)
    except ValueError:
        pass
    except OSError as problem:
        raise store_error(problem, root, "read the store") from problem
    return "", 0


def this_boot(root: str) -> int | None:
    """The mark's time if the store was last used since the machine started; None if it must be recovered first."""
    boot, synced = read_mark(root)
    return synced if boot and boot == boot_id() else None


def write_mark(work: Work, synced: int) -> None:
    """Note the present boot and the time up to which all is on disk. Raises `StoreError`."""
    work.write(work.root + "/boot", mark_bytes(boot_id(), synced))


def mark_bytes(boot: str, synced: int) -> bytes:
    """The contents of `boot`."""
    return f"{boot} {synced}\n".encode() * 2


def is_mark_old(root: str) -> bool:
    """Whether so much time went by since the mark was written that it is worth another sync."""
    try:
        written = os.stat(root + "/boot").st_mtime
    except OSError:
        return False
    return time.time() - written > _OLD


def mark_synced(work: Work) -> None:
    """Flush the filesystem, then move the mark to just before. Raises `StoreError` if the disk reports a failure."""
    fd, path = work.temporary()
    try:
        # The file's own time: the kernel stamps files from a coarser clock than `time.time` reads.
        write_all(fd, b".")
        before = os.fstat(fd).st_ctime_ns
        sync_filesystem(fd)
    except OSError as problem:
        raise store_error(problem, work.root, "flush the store to disk") from problem
    finally:
        os.close(fd)
        os.unlink(path)
    write_mark(work, before)


def now_of(work: Work) -> int:
    """The present time on the filesystem's own clock, in nanoseconds. Raises `StoreError`."""
    fd, path = work.temporary()
    try:
        return os.fstat(fd).st_mtime_ns
    finally:
        os.close(fd)
        os.unlink(path)


def sync_filesystem(fd: int) -> None:
    """syncfs(2) on the filesystem of an open file, sync(2) where there is none. Raises `OSError`."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    try:
        syncfs = libc.syncfs
    except AttributeError:
        os.sync()
        return
    if syncfs(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
