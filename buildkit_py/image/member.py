"""From an archive's members to entries: names made clean, kinds and attributes checked.

A name in an archive is anything. An entry's path is relative, has no `.`,
`..` or empty component, and is short enough for the kernel. Of the xattrs
those stay that a layer may have (`overlay_diff`): a layer that could set
overlay's own could show, or hide, what it does not own.
"""

from __future__ import annotations

import os

from buildkit_py.errors import SourceError
from buildkit_py.image.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, Entry
from buildkit_py.image.limits import NAME_MAX, PATH_MAX
from buildkit_py.image.overlay_diff import CAPABILITY
from buildkit_py.image.overlay_marks import OVERLAY_XATTRS
from buildkit_py.image.tar_reader import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    LINK,
    PIPE,
    REGULAR,
    SYMBOLIC,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.image.tar_reader import Member

_KINDS = {
    REGULAR: FILE,
    LINK: HARDLINK,
    SYMBOLIC: SYMLINK,
    CHARACTER: CHAR,
    BLOCK_DEVICE: BLOCK,
    DIRECTORY: DIR,
    PIPE: FIFO,
}


def clean_path(name: bytes, *, clamp: bool) -> str:
    """The path of an entry from a member's name; "" is the root.

    `..` is refused, or with `clamp` stops at the root, as in a chroot.
    Raises `SourceError` for that and for what the kernel would not take.
    """
    path = name.decode("utf-8", "surrogateescape")
    if len(name) > NAME_MAX or path[:1] in "./" or "/." in path or "//" in path or path[-1:] == "/":
        parts: list[str] = []
        for part in path.split("/"):
            if part in ("", "."):
                continue
            if part == "..":
                if not clamp:
                    raise SourceError(f"the archive has a path that leads up: {_shown(name)}")
                if parts:
                    parts.pop()
                continue
            if len(part) > NAME_MAX or len(part.encode("utf-8", "surrogateescape")) > NAME_MAX:
                raise SourceError(f"the archive has a name of more than {NAME_MAX} bytes: {_shown(name)}")
            parts.append(part)
        path = "/".join(parts)
        if len(name) > PATH_MAX and len(path.encode("utf-8", "surrogateescape")) > PATH_MAX:
            raise SourceError(f"the archive has a path of more than {PATH_MAX} bytes: {_shown(name)}")
    return path


def entry_of(member: Member, path: str, *, clamp: bool) -> Entry:
    """The entry of a member, without its bytes.

    Raises `SourceError` for impossible devices and links; a device
    0:0 is refused, for on disk it would be an overlay whiteout.
    """
    kind = _KINDS[member.flag]
    target = ""
    rdev = 0
    if kind == SYMLINK:
        target = member.link.decode("utf-8", "surrogateescape")
        if not target or len(member.link) > PATH_MAX:
            raise SourceError(f"{path} in the archive is a symbolic link to nothing that can be named")
    elif kind == HARDLINK:
        target = clean_path(member.link, clamp=clamp)
        if not target:
            raise SourceError(f"{path} in the archive is a hard link to nothing")
    elif kind in (CHAR, BLOCK):
        if not (0 <= member.major < 1 << 12 and 0 <= member.minor < 1 << 20):
            raise SourceError(f"{path} in the archive is the device {member.major}:{member.minor}")
        rdev = os.makedev(member.major, member.minor)
        if rdev == 0 and kind == CHAR:
            raise SourceError(f"{path} in the archive is the character device 0:0, which overlays take for a whiteout")
    xattrs = member.xattrs
    if xattrs:
        xattrs = tuple(
            sorted(
                (name, value)
                for name, value in xattrs
                if (name == CAPABILITY or name.startswith("user.")) and not name.startswith(OVERLAY_XATTRS)
            )
        )
    return Entry(path, kind, member.mode, member.uid, member.gid, member.size, member.time, target, rdev, xattrs, False)


def _shown(name: bytes) -> str:
    return name[:200].decode("utf-8", "backslashreplace")
