"""What git tracks of a context has git's modes, whatever the umask was of those who checked it out (`--normalize`)."""

from __future__ import annotations

import os

from buildkit_py.errors import ContextError
from buildkit_py.executor.git_index import MOST_BYTES, tracked
from buildkit_py.image.entry import DIR, FILE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.graph.op import WorkTree
    from buildkit_py.image.entry import Entry

_EXECUTABLE = 0o100


class Tracked:
    """The tracked files of a context and the directories that they are in. Raises `ContextError` for a bad index.

    A file is 0755 if its owner may execute it and else 0644, which is what git would take down of it now; where
    git does not believe the system (`core.fileMode=false`), what the index has counts. A directory is 0755.
    """

    def __init__(self, tree: WorkTree) -> None:
        self._believed = tree.file_mode
        self._files: dict[str, int] = {}
        self._directories: set[str] = set()
        try:
            data = _bytes(tree.index)
        except FileNotFoundError:  # nothing was added yet
            return
        except (OSError, ValueError) as problem:
            raise _unreadable(tree.index, problem) from problem
        try:
            found = tracked(data, tree.below, lambda name: _bytes(f"{os.path.dirname(tree.index)}/{name}"))
        except (OSError, ValueError) as problem:
            raise _unreadable(tree.index, problem) from problem
        for name, mode in found.items():
            path = name.decode("utf-8", "surrogateescape")
            if mode & 0o170000 == 0o100000:
                self._files[path] = mode
            elif mode == 0o160000:
                self._directories.add(path)  # a submodule: what is in it another index knows
            while (path := path.rpartition("/")[0]) and path not in self._directories:
                self._directories.add(path)

    def as_git(self, entry: Entry) -> Entry:
        """An entry of the context, with git's mode if git tracks it."""
        path, kind, mode = entry[:3]
        if kind == FILE and (indexed := self._files.get(path)) is not None:
            mode = 0o755 if (mode if self._believed else indexed) & _EXECUTABLE else 0o644
        elif kind == DIR and path in self._directories:
            mode = 0o755
        return entry if mode == entry[2] else entry._replace(mode=mode)


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        try:
            data = file.read(MOST_BYTES + 1)
        except OSError as problem:
            raise OSError(problem.errno, problem.strerror, path) from problem
    if len(data) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES >> 20} MB")
    return data


def _unreadable(index: str, problem: OSError | ValueError) -> ContextError:
    what = str(problem)
    if isinstance(problem, OSError):
        other = "" if problem.filename == index else f"its other part, {os.path.basename(problem.filename)}: "
        what = f"{other}{problem.strerror}"
    return ContextError(f"cannot read git's index: {what}", at=index, hint="build without normalizing modes")
