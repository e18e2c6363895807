"""A sink: one file that appears whole or not at all, or a stream such as standard output.

A regular file is written under a temporary name beside its destination and
renamed at the end. A pipe or device is written to directly.
"""

from __future__ import annotations

import errno
import os
import stat

from buildkit_py.errors import ExportError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

STDOUT = 1
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Sink:
    """`dest` "-" is standard output. Use it in a `with`: leaving that with an exception drops what was written.

    Raises `ExportError` where the destination cannot be opened or written.
    """

    def __init__(self, dest: str) -> None:
        self.dest = dest
        self._temporary = ""
        # Through links, so that a link stays one and its file is replaced.
        self._final = os.path.realpath(dest) if dest != "-" else ""
        try:
            self._fd = self._open()
        except OSError as problem:
            raise failure(problem, dest) from problem

    def _open(self) -> int:
        if self.dest == "-":
            if os.isatty(STDOUT):
                raise ExportError("an archive is not written to a terminal", hint="redirect it, or name a file: dest=")
            return os.dup(STDOUT)
        try:
            mode = os.stat(self._final).st_mode
        except FileNotFoundError:
            mode = 0
        if stat.S_ISDIR(mode):
            raise ExportError("the destination is a directory", at=self.dest, hint="name a file in it")
        if mode and not stat.S_ISREG(mode):
            return os.open(self._final, os.O_WRONLY | os.O_CLOEXEC)
        parent, name = os.path.split(self._final)
        os.makedirs(parent, exist_ok=True)
        # Not `tempfile`: it takes longer to load than most images to be written.
        temporary = f"{parent}/.{name[:100]}.{os.urandom(6).hex()}"
        fd = os.open(temporary, _NEW, 0o600)
        self._temporary = temporary
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(fd, stat.S_IMODE(mode) if mode else 0o666 & ~mask)
        return fd

    def write(self, data: bytes | memoryview) -> None:
        """Append. Raises `ExportError`, with a hint where the disk is full."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as problem:
            raise failure(problem, self.dest) from problem

    def send_file(self, fd: int, size: int) -> None:
        """Append the first `size` bytes of an open file, copied by the kernel."""
        offset = 0
        try:
            while offset < size:
                count = os.sendfile(self._fd, fd, offset, min(size - offset, 1 << 30))
                if count == 0:
                    raise ExportError("the file to copy from ends early", at=self.dest)
                offset += count
        except OSError as problem:
            raise failure(problem, self.dest) from problem

    def commit(self) -> None:
        """Let the file appear."""
        fd, self._fd = self._fd, -1
        try:
            os.close(fd)
            if self._temporary:
                os.rename(self._temporary, self._final)
                self._temporary = ""
        except OSError as problem:
            raise failure(problem, self.dest) from problem

    def abort(self) -> None:
        """Drop what was written; nothing after a commit."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._temporary:
            try:
                os.unlink(self._temporary)
            except OSError:
                pass  # whoever removed it did our work
            self._temporary = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            try:
                self.commit()
            finally:
                self.abort()
        else:
            self.abort()


def failure(problem: OSError, dest: str) -> ExportError:
    """The error for an output that cannot be written.

    Raises the problem itself where nobody reads standard output any more: that is no failure of ours.
    """
    if dest == "-" and problem.errno == errno.EPIPE:
        raise problem
    at = "standard output" if dest == "-" else dest
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return ExportError("there is no space left for the output", at=at, hint="free some, or write elsewhere")
    return ExportError(f"the output cannot be written: {problem.strerror or problem}", at=at)
