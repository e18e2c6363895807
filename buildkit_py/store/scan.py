"""A scan: what a build saw of a directory, kept so that the next build can tell at once whether it is unchanged.

For every directory that was listed it holds the names and the stat values of
what the ignore rules let through, and for every path that was only looked up
its stat values or that there was nothing. Comparing costs one `lstat` a file
and no reading.

A stat value proves "unchanged" only if it was taken clearly later than the
last change that it shows: a file written twice within one tick of the
clock keeps its times. Entries as fresh as that are *racy*; a scan with
racy entries never holds (git's index knows the same trap,
`Documentation/technical/racy-git`).

This module is read by the first tier of the command line, before anything
else is imported: it imports `marshal`, `posix` and `_struct`, to read a scan its checksum, and nothing more.
"""

from __future__ import annotations

import marshal
import posix
from _struct import error, pack  # type: ignore[attr-defined]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    # What is compared of one file: change time, modification time, inode, size.
    Stamp: TypeAlias = tuple[int, int, int, int]
    # Of one directory: its own stamp, its mode, the names in it, their stamps one after the other (`packed`).
    Listing: TypeAlias = tuple[Stamp, int, tuple[str, ...], bytes]

FORMAT = 4
# As bytes a stamp takes a third of the memory of four numbers, and is read in no time.
STAMP_SIZE = 32

# The kernel stamps inodes with a clock that ticks every 1 to 10 ms.
TICK = 20_000_000
# File systems that keep whole seconds (or pairs of them) only.
COARSE_TICK = 2_000_000_000
_OPEN_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
# From this many files on, comparing them takes longer than starting a process that compares half of them.
_WORTH_A_PROCESS = 4_000
_KILL = 9


def racy(ctime: int, mtime: int, now: int) -> bool:
    """Whether a thing with these times (ns) could still change at `now` without showing it."""
    latest = max(ctime, mtime)
    if latest < now - COARSE_TICK:
        return False
    return latest > now - TICK or latest % 1_000_000_000 == 0


def packed(numbers: list[int] | Stamp) -> bytes:
    """Stamps, their numbers one after the other, as bytes; inodes may need all 64 bits."""
    form = "qqQq" * (len(numbers) // 4)
    try:
        return pack(form, *numbers)
    except error:
        # A time after 2262 or before 1677, which a file may be given: its lowest 64 bits tell a change as well.
        return pack(form.upper(), *[number & 0xFFFF_FFFF_FFFF_FFFF for number in numbers])


class Scan:
    """`listings` and `probes` are by path relative to `root` ("" is the root itself)."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.listings: dict[str, Listing] = {}
        self.probes: dict[str, Stamp | None] = {}
        self.racy = False

    def dump(self) -> bytes:
        """The scan as bytes for `load`."""
        from buildkit_py.store.checksum import checked

        return checked(marshal.dumps((FORMAT, self.root, self.racy, self.listings, self.probes), 4))

    @classmethod
    def load(cls, data: bytes) -> Scan | None:
        """The scan that was dumped, None for anything else, such as a damaged one."""
        from buildkit_py.store.checksum import unchecked

        try:
            version, root, was_racy, listings, probes = marshal.loads(unchecked(data) or b"")
        except (ValueError, EOFError, TypeError):
            return None
        if version != FORMAT:
            return None
        scan = cls(root)
        scan.racy, scan.listings, scan.probes = was_racy, listings, probes
        return scan

    def holds(self) -> bool:
        """Whether everything is as it was seen. False says nothing but "look properly"."""
        if self.racy:
            return False
        root = self.root
        try:
            for path, wanted in self.probes.items():
                try:
                    seen = posix.lstat(f"{root}/{path}" if path else root)
                except (FileNotFoundError, NotADirectoryError):
                    if wanted is not None:
                        return False
                    continue
                if (seen.st_ctime_ns, seen.st_mtime_ns, seen.st_ino, seen.st_size) != wanted:
                    return False
        except OSError:
            return False
        listings = list(self.listings.items())
        if len(posix.sched_getaffinity(0)) > 1 and sum([len(seen[2]) for _, seen in listings]) >= _WORTH_A_PROCESS:
            return _both_hold(root, listings)
        return _hold(root, listings)


def _both_hold(root: str, listings: list[tuple[str, Listing]]) -> bool:
    """`_hold` in this process and in a fork of it, half the directories each.

    Only for a process without further threads, as the first tier is.
    """
    middle = len(listings) // 2
    parent, code = posix.getpid(), 1
    try:
        child = posix.fork()
        if child == 0:
            code = 0 if _hold(root, listings[middle:]) else 1
    finally:
        # Also where a signal raises just as the fork returns: the child must not go on as if it were the command.
        if posix.getpid() != parent:
            posix._exit(code)
    held = False
    try:
        held = _hold(root, listings[:middle])
    finally:
        if not held:
            posix.kill(child, _KILL)
        status = posix.waitpid(child, 0)[1]
    return held and status == 0


def _hold(root: str, listings: list[tuple[str, Listing]]) -> bool:
    """Whether directories and what is in them are as they were seen."""
    stat = posix.stat
    try:
        for path, (stamp, mode, names, stamps) in listings:
            fd = posix.open(f"{root}/{path}" if path else root, _OPEN_DIRECTORY)
            try:
                seen = posix.fstat(fd)
                if (seen.st_ctime_ns, seen.st_mtime_ns, seen.st_ino) != stamp[:3] or seen.st_mode != mode:
                    return False
                # One comparison a directory: in Python that is half the price of one a file.
                found: list[int] = []
                for name in names:
                    seen = stat(name, dir_fd=fd, follow_symlinks=False)
                    found += (seen.st_ctime_ns, seen.st_mtime_ns, seen.st_ino, seen.st_size)
                if packed(found) != stamps:
                    return False
            finally:
                posix.close(fd)
    except OSError:
        return False
    return True
