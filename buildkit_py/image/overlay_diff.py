"""The difference that a step made: an overlay's upper directory as entries.

Kernel documentation, filesystems/overlayfs: a whiteout is a character device
0:0, or (`xwhiteouts`) an empty file with the xattr `overlay.whiteout` in a
directory whose `overlay.opaque` is "x"; an opaque directory has
`overlay.opaque` = "y". The xattrs live under `trusted.` or, for a mount with
`userxattr`, under `user.`. They describe this one overlay and are never
part of a layer; of the others a layer keeps `security.capability` and
`user.*`, as tar readers everywhere accept those and no more.
"""

from __future__ import annotations

import errno
import os
import stat

from buildkit_py.errors import StoreError
from buildkit_py.image.content import hash_file
from buildkit_py.image.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, WHITEOUT, Entry
from buildkit_py.image.order import in_order
from buildkit_py.image.overlay_marks import OVERLAY_XATTRS, prefix

CAPABILITY = "security.capability"

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_XATTRS: tuple[tuple[str, bytes], ...] = ()


def diff(upper: str, *, hash_files: bool) -> list[Entry]:
    """What an upper directory adds, changes and hides, in the order of `image.order`.

    No mount may be using the directory. The root itself is no entry: its
    attributes belong to the overlay, not to the step. Sockets are left out,
    for a tar cannot hold them. `hash_files` reads every file for its digest.
    Raises `StoreError` for an overlay made with features that would lose
    files (redirect_dir, metacopy) and for paths that the kernel takes from
    nobody, `OSError` where something cannot be read.
    """
    upper = os.path.realpath(upper)
    entries: list[Entry] = []
    links: dict[tuple[int, int], str] = {}
    # A list and no recursion, as a step may nest directories deeper than Python nests calls.
    pending = [(upper, "")]
    while pending:
        where, prefix = pending.pop()
        try:
            fd = os.open(where, _DIRECTORY)
            try:
                below = _list(fd, where, prefix, entries, links, hash_files)
            finally:
                os.close(fd)
        except OSError as problem:
            if problem.errno != errno.ENAMETOOLONG:
                raise
            raise _too_deep(prefix) from problem
        pending += [(f"{where}/{name}", f"{prefix}{name}/") for name in below]
    return in_order(entries)


def laid_over(lower: list[Entry], upper: list[Entry]) -> list[Entry]:
    """The entries of one layer whose files are in two directories, the differences of which these are.

    What `upper` has takes the place of what `lower` has, its whiteouts take
    away; neither hides anything of other layers. In the order of `image.order`.
    """
    if not lower:
        return upper
    merged = {entry.path: entry for entry in lower}
    gone = tuple([f"{entry.path}/" for entry in upper if entry.kind == WHITEOUT])
    if gone:
        merged = {path: entry for path, entry in merged.items() if not f"{path}/".startswith(gone)}
    merged.update([(entry.path, entry) for entry in upper if entry.kind != WHITEOUT])
    return in_order(merged.values())


def _list(
    fd: int,
    where: str,
    prefix: str,
    entries: list[Entry],
    links: dict[tuple[int, int], str],
    hash_files: bool,
) -> list[str]:
    """One directory, open as `fd`, at `where` on disk; the names of the directories in it.

    `prefix` is its path in the layer, with a slash.
    """
    # By path, as nothing changes the directory now and /proc/self/fd would cost twice as much.
    near = f"{where}/"
    below: list[str] = []
    with os.scandir(fd) as found:
        for item in found:
            name = item.name
            st = item.stat(follow_symlinks=False)
            mode = st.st_mode
            kind = stat.S_IFMT(mode)
            path = prefix + name
            names = os.listxattr(near + name, follow_symlinks=False)
            xattrs = _NO_XATTRS
            marks: dict[str, bytes] = {}
            if names:
                xattrs, marks = read_xattrs(near + name, names)
            common = (stat.S_IMODE(mode), st.st_uid, st.st_gid)
            if kind == stat.S_IFREG:
                if "whiteout" in marks and st.st_size == 0:
                    entries.append(Entry(path, WHITEOUT, 0))
                    continue
                if "metacopy" in marks or "redirect" in marks:
                    raise _unusable(path)
                if st.st_nlink > 1:
                    first = links.setdefault((st.st_dev, st.st_ino), path)
                    if first is not path:
                        entries.append(Entry(path, HARDLINK, *common, 0, st.st_mtime_ns, first, 0, xattrs))
                        continue
                source = near + name
                digest = hash_file(source) if hash_files else None
                entries.append(
                    Entry(path, FILE, *common, st.st_size, st.st_mtime_ns, "", 0, xattrs, False, source, None, digest)
                )
            elif kind == stat.S_IFDIR:
                if "redirect" in marks:
                    raise _unusable(path)
                opaque = marks.get("opaque") == b"y"
                entries.append(Entry(path, DIR, *common, 0, st.st_mtime_ns, "", 0, xattrs, opaque))
                below.append(name)
            elif kind == stat.S_IFLNK:
                target = os.readlink(name, dir_fd=fd)
                entries.append(Entry(path, SYMLINK, *common, 0, st.st_mtime_ns, target, 0, xattrs))
            elif kind == stat.S_IFCHR and st.st_rdev == 0:
                # All whiteouts of an overlay are links to one inode: no hard links of each other.
                entries.append(Entry(path, WHITEOUT, 0))
            elif kind in (stat.S_IFCHR, stat.S_IFBLK):
                device = CHAR if kind == stat.S_IFCHR else BLOCK
                entries.append(Entry(path, device, *common, 0, st.st_mtime_ns, "", st.st_rdev, xattrs))
            elif kind == stat.S_IFIFO:
                entries.append(Entry(path, FIFO, *common, 0, st.st_mtime_ns, "", 0, xattrs))
    return below


def read_xattrs(path: str, names: list[str]) -> tuple[tuple[tuple[str, bytes], ...], dict[str, bytes]]:
    """Of the named xattrs of a path (not followed): those that a layer keeps, sorted; and overlay's marks.

    Marks are named without their prefix: "opaque", "whiteout", "redirect", "metacopy", …
    """
    kept: list[tuple[str, bytes]] = []
    marks: dict[str, bytes] = {}
    mark = prefix()
    for name in names:
        if name.startswith(mark):
            marks[name.partition(".overlay.")[2]] = os.getxattr(path, name, follow_symlinks=False)
        elif name.startswith(OVERLAY_XATTRS):
            continue
        elif name == CAPABILITY or name.startswith("user."):
            kept.append((name, os.getxattr(path, name, follow_symlinks=False)))
    kept.sort()
    return tuple(kept), marks


def _too_deep(directory: str) -> StoreError:
    return StoreError(
        f"what was written nests too deeply: {directory[:40]}… has files whose whole path is longer than 4095 bytes",
        hint="the path in the store, in front of the one inside, counts as well: PYBUILD_HOME may be a shorter one",
    )


def _unusable(path: str) -> StoreError:
    return StoreError(
        f"the overlay recorded {path} as moved or half-copied, which a layer cannot say",
        hint="the kernel's overlay options redirect_dir and metacopy must be off for pybuild's mounts",
    )
