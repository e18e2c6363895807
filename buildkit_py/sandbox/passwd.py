"""The user of a sandbox, looked up in the root's own /etc/passwd and /etc/group.

By hand, since `pwd` and `grp` would load the image's NSS modules into this
process. The rules are runc's (`libcontainer/user`, GetExecUser): the first
line that fits by name or number counts; a number needs no line; a name does.
"""

from __future__ import annotations

import os

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.failure import SetupFailure, stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_FILE = 64 << 20
_MAX_ID = (1 << 31) - 1


class User:
    """Numbers and home of the process to start; `groups` has the primary group first."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], home: bytes) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home


def look_up(root: int, user: str) -> User:
    """`name`, `uid`, `name:group` or numbers, in the root filesystem that `root` is a descriptor of.

    Raises `SetupFailure` for a name without an entry and a number out of range.
    """
    name, colon, group = user.partition(":")
    wanted = name.encode("utf-8", "surrogateescape") or b"0"
    number = _number(name or "0")
    uid, gid, home, found = number, 0, b"/", b""
    for fields in _entries(root, b"etc/passwd", 7):
        line_uid, line_gid = _number(fields[2]), _number(fields[3])
        if line_uid is None or line_gid is None:
            continue
        if fields[0] == wanted or (number is not None and line_uid == number):
            uid, gid, home, found = line_uid, line_gid, fields[5] or b"/", fields[0]
            break
    if uid is None:
        raise SetupFailure(f"unable to find user {name}: no matching entries in passwd file")
    if not user:
        # BuildKit starts a step without USER as root with its own group only, whatever /etc/group says.
        return User(0, 0, [0], home)
    groups: list[int] = []
    if colon and group:
        gid = _group(root, group)
    elif found:
        for fields in _entries(root, b"etc/group", 4):
            line_gid = _number(fields[2])
            # Of its members as a text, for there may be millions.
            if line_gid is not None and b"," not in found and b",%s," % found in b",%s," % fields[3]:
                groups.append(line_gid)
    if not (0 <= uid <= _MAX_ID and 0 <= gid <= _MAX_ID):
        raise SetupFailure(f"user {user} is out of range: ids go from 0 to {_MAX_ID}")
    return User(uid, gid, [gid, *[extra for extra in groups if extra != gid]], home)


def _group(root: int, group: str) -> int:
    wanted, number = group.encode("utf-8", "surrogateescape"), _number(group)
    for fields in _entries(root, b"etc/group", 4):
        line_gid = _number(fields[2])
        if line_gid is not None and (fields[0] == wanted or (number is not None and line_gid == number)):
            return line_gid
    if number is None:
        raise SetupFailure(f"unable to find group {group}: no matching entries in group file")
    return number


def _number(text: str | bytes) -> int | None:
    digits = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    digits = digits.strip()
    if digits.removeprefix(b"-").isdigit() and len(digits) <= 20:
        return int(digits)
    return None


def _entries(root: int, path: bytes, width: int) -> Iterator[list[bytes]]:
    """The lines of a colon-separated file with at least the id fields, one by one, for the image may have millions.

    Nothing if there is no such file.
    """
    data = _read(root, path)
    begin = 0
    while begin < len(data):
        end = data.find(b"\n", begin)
        end = len(data) if end < 0 else end
        if not data.startswith(b"#", begin, end):
            fields = data[begin:end].split(b":", width)
            if len(fields) >= 3:
                yield fields[:width] + [b""] * (width - len(fields))
        begin = end + 1


def _read(root: int, path: bytes) -> bytes:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY  # a FIFO in the image must not block us
    try:
        fd = syscalls.openat2(root, path, flags, syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise SetupFailure("read the image's file", error.errno or 0, f"/{path.decode()}") from error
    try:
        status = os.fstat(fd)
        if status.st_mode & 0o170000 != 0o100000:
            return b""
        if status.st_size > _MAX_FILE:
            raise SetupFailure("read the image's file: it is larger than 64 MiB", 0, f"/{path.decode()}")
        with stage("read the image's file", path):
            data = bytearray()
            while len(data) <= _MAX_FILE and (chunk := os.read(fd, 1 << 20)):
                data += chunk
            return bytes(data)
    finally:
        os.close(fd)
