"""A witness: everything outside the graph that a build looked at, so that the next one can prove nothing changed.

Implements the frontends' `Inputs`. What it saw is later compared by the
first tier of the command line, with nothing imported.
"""

from __future__ import annotations

import os
import time

from buildkit_py.errors import PybuildError
from buildkit_py.graph.op import Copy, LocalSource
from buildkit_py.graph.step import in_order
from buildkit_py.store.scan import TICK, racy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit_py.events import Notice
    from buildkit_py.executor.contexts import SeenContext
    from buildkit_py.executor.local import LocalExecutor
    from buildkit_py.frontend.target import Target
    from buildkit_py.graph.step import Step
    from buildkit_py.store.scan import Stamp


class Witness:
    """Files by their stamps; `names` are small files whose text counts; `scans` are those of `contexts`, `places`
    the directories, as (device, inode), to which the paths of contexts led;
    `held` are paths that must still be there; `unprovable` says what was done that cannot be checked later; `until` is
    when something of it becomes too old (seconds since 1970), None for never.
    `targets` is what the Buildfile came to, and `notices` what was odd about it; `spoke`: other notices were shown.
    `thorough`: where a build fails, contexts are looked at that it did not come to.
    """

    thorough = False

    def __init__(self) -> None:
        self.files: dict[str, Stamp | None] = {}
        self.names: dict[str, bytes] = {}
        self.scans: list[bytes] = []
        self.contexts: list[SeenContext] = []
        self.places: dict[str, tuple[int, int] | None] = {}
        self.held: list[str] = []
        self.unprovable: list[str] = []
        self.until: float | None = None
        self.notices: list[Notice] = []
        self.spoke = False
        self.targets: tuple[Target, ...] = ()

    def file(self, path: str) -> None:
        """A file was read, or looked for in vain. Call it before reading: a later change then shows."""
        path = os.path.abspath(path)
        if path in self.files:
            return
        seen = self._take(path)
        if seen is not None and 0 <= (age := time.time_ns() - max(seen.st_ctime_ns, seen.st_mtime_ns)) < TICK:
            time.sleep((TICK - age) / 1e9)  # then what is read now cannot change any more without showing it
            seen = self._take(path)
        if seen is not None and racy(seen.st_ctime_ns, seen.st_mtime_ns, time.time_ns()):
            self.unprovable.append(f"{path} was written a moment ago")

    def name(self, path: str, digest: str) -> None:
        """The name of an image in the file `path` stood for that digest when this build looked at it or wrote it."""
        try:
            with open(path, "rb") as file:
                self.names[path] = file.read(4096)
        except OSError:
            self.unprovable.append(f"{path} is gone already")
            return
        if f"\n{digest}\n".encode() not in b"\n" + self.names[path]:
            # Another process gave the name away meanwhile. The memo must not take the new text for what was built.
            self.unprovable.append(f"{path} stands for something else already")

    def look_at(self, executor: LocalExecutor, failed: Iterable[Step] = ()) -> None:
        """Take down what was seen of contexts, so that the next build need not read what this one read.

        `failed` are targets that came to nothing: a thorough witness wants to know what their steps would have taken.
        """
        for step in in_order(failed) if self.thorough else ():
            for index, source in enumerate(step.sources):
                if isinstance(source.op, LocalSource) and isinstance(step.op, Copy):
                    try:
                        executor.context_digest(step, index)
                    except PybuildError:
                        pass  # that it cannot be had was seen, too
        for seen in executor.contexts():
            self.context(seen)

    def context(self, seen: SeenContext) -> None:
        """A context was looked at; its name in the graph led to its directory by whatever links that has."""
        self.contexts.append(seen)
        self.scans.append(seen.scan)
        try:
            found = os.stat(seen.directory)
        except OSError:
            self.places[seen.named] = None
            return
        self.places[seen.named] = (found.st_dev, found.st_ino)

    def written(self, path: str) -> None:
        """A file was written by this build, so it is as fresh as can be and right all the same."""
        self._take(os.path.abspath(path))

    def expires(self, until: float | None) -> None:
        """What was looked at counts until then only (None: it does not end)."""
        if until is not None and (self.until is None or until < self.until):
            self.until = until

    def _take(self, path: str) -> os.stat_result | None:
        try:
            seen = os.stat(path)
        except OSError:
            self.files[path] = None
            return None
        self.files[path] = (seen.st_ctime_ns, seen.st_mtime_ns, seen.st_ino, seen.st_size)
        return seen

    def env(self, name: str, value: str | None) -> None:
        """An environment variable was read. Nothing to note: a memo is named by the whole environment."""

    def told(self) -> None:
        """A notice was shown that an answer from the memo would not show again."""
        self.spoke = True

    def impure(self, what: str) -> None:
        """Something was done that cannot be checked later."""
        self.unprovable.append(what)
