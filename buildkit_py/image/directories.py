"""Open directories along one path, each opened below the last without following a link.

Layers are walked in the order of their paths, so the next file is nearly
always in the directory of the last one, or close by. Keeping those few
descriptors makes every open short (no path walk) and safe: a directory that
became a symbolic link is an error, not a way out.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

# O_PATH needs only search permission, and works as the `dir_fd` of every *at call.
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Directories:
    """Directory descriptors below a root. Use as a context manager, or `close`."""

    def __init__(self, root: str) -> None:
        """`root` is opened as it is, links in it followed. Raises `OSError`."""
        self._root = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._names: list[str] = []
        self._fds: list[int] = [self._root]

    def __enter__(self) -> Directories:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def at(self, path: str) -> int:
        """The descriptor of a directory, by its clean path relative to the root ("" is the root).

        It stays open until `at` is asked for a path that is not below it.
        Raises `OSError`: ELOOP or ENOTDIR for anything that is no directory.
        """
        names = path.split("/") if path else []
        common = 0
        for have, want in zip(self._names, names, strict=False):
            if have != want:
                break
            common += 1
        self._cut(common)
        fds = self._fds
        for name in names[common:]:
            fds.append(os.open(name, _DIRECTORY, dir_fd=fds[-1]))
            self._names.append(name)
        return fds[-1]

    def forget(self) -> None:
        """Close everything below the root, because directories were replaced."""
        self._cut(0)

    def _cut(self, depth: int) -> None:
        while len(self._names) > depth:
            self._names.pop()
            os.close(self._fds.pop())

    def close(self) -> None:
        self._cut(0)
        if self._fds:
            os.close(self._fds.pop())
