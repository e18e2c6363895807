"""A sealed file: a value under a BLAKE3 of its bytes, so that damage never passes for data.

    <64 hex digits: BLAKE3 of all that follows the newline>\\n<the value as `marshal` version 4 writes it>

The bytes stay on this machine and are in no key, so they need not be
canonical: a build of a thousand steps reads two thousand of these files, and
`marshal` reads one twenty times faster than `digest.decode`. It is only ever
given bytes whose seal held.

A file that was torn by a power cut, truncated or changed by a bad disk fails
its seal and counts as absent. That is why these small files need no fsync.
"""

from __future__ import annotations

import errno
import marshal
import os
import stat

from buildkit_py.digest import blake3_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VERSION = 4
_SEAL = 65  # 64 hex digits and a newline


def seal(value: Any) -> bytes:
    """The bytes of a sealed file that holds the value."""
    return sealed_bytes(marshal.dumps(value, _VERSION))


def unseal(data: bytes) -> Any:
    """The value in a sealed file's bytes. Raises `ValueError` unless they are exactly what `seal` wrote."""
    payload = unsealed_bytes(data)
    try:
        return marshal.loads(payload)
    except (EOFError, TypeError) as problem:  # sealed by something else
        raise ValueError("not a marshalled value") from problem


def sealed_bytes(payload: bytes) -> bytes:
    """Any bytes, under their seal."""
    return seal_of(payload) + payload


def seal_of(*pieces: bytes) -> bytes:
    """What stands before some bytes, given in pieces, to seal them."""
    from blake3 import blake3

    hasher = blake3()
    for piece in pieces:
        hasher.update(piece)
    return hasher.hexdigest().encode() + b"\n"


def unsealed_bytes(data: bytes) -> bytes:
    """What `sealed_bytes` was given. Raises `ValueError` if the seal does not hold."""
    payload = data[_SEAL:]
    if data[:_SEAL] != blake3_hex(payload).encode() + b"\n":
        raise ValueError("the seal does not match")
    return payload


def read_regular(path: str, limit: int = -1) -> bytes | None:
    """The bytes of a regular file, at most `limit` of them; None if nothing is there.

    Raises `ValueError` if there is something other than a readable regular
    file, and `OSError` for all that is the machine's fault and not the file's.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as problem:
        if problem.errno in (errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENODEV, errno.ENOTDIR):
            raise ValueError(f"not a readable file: {os.strerror(problem.errno)}") from problem
        raise
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        wanted = status.st_size if limit < 0 else min(limit, status.st_size)
        data = os.read(fd, wanted + 1) if limit < 0 else os.read(fd, wanted)
        while len(data) < wanted and (more := os.read(fd, wanted - len(data))):
            data += more
        return data
    except OSError as problem:
        if problem.errno == errno.EIO:  # the disk cannot give these bytes back: as lost as damaged ones
            raise ValueError("the disk cannot read it") from problem
        raise
    finally:
        os.close(fd)
