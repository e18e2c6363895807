"""Writing a person's file anew: whole or not at all, with its mode and owner, through a link to what it names."""

from __future__ import annotations

import os

from buildkit_py.errors import ExportError


def rewrite(path: str, data: bytes) -> None:
    """Put `data` in the place of what a file holds. Raises `ExportError`."""
    real = os.path.realpath(path)
    temporary = f"{real}.{os.getpid()}.new"
    try:
        before = os.stat(real)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(fd, "wb") as file:
                file.write(data)
                file.flush()
                if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(fd, before.st_uid, before.st_gid)
                os.fchmod(fd, before.st_mode & 0o7777)
            os.replace(temporary, real)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as problem:
        raise ExportError(f"the file could not be written: {problem.strerror}", at=path) from problem
