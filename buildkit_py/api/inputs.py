"""The inputs of a build: what it looked at, as it saw it, and what of that is another thing now."""

from __future__ import annotations

import os

from buildkit_py.executor.context_changes import changed, look_again
from buildkit_py.executor.contexts import SeenContext
from buildkit_py.record import Record
from buildkit_py.store.scan import Scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from buildkit_py.api.witness import Witness
    from buildkit_py.store.scan import Stamp


class Inputs(Record):
    """`files` are paths with their stamps, None for what is not there: Buildfiles, ignore files, what a Buildfile.py
    reads, the configuration. `contexts` is what was seen of directories that steps take files from. `written` are
    absolute paths that the build writes itself: they, what is below them and the directories that they are in never
    count as changed.
    """

    files: tuple[tuple[str, Stamp | None], ...] = ()
    contexts: tuple[SeenContext, ...] = ()
    written: tuple[str, ...] = ()

    @classmethod
    def of(cls, witness: Witness, written: tuple[str, ...], store: str, *, failed: bool) -> Self:
        """What a build's witness saw. `store` is the store's directory, in which nothing is an input.

        Of a build that `failed` nobody knows what its steps would have taken: then all that was looked at counts.
        """
        files = [(path, stamp) for path, stamp in witness.files.items() if not path.startswith(f"{store}/")]
        contexts = [seen.replace(taken=()) if failed else seen for seen in witness.contexts]
        return cls(tuple(files), tuple(contexts), written)

    def again(self) -> Self:
        """The same things as they are now."""
        files = tuple([(path, _stamp(path)) for path, _ in self.files])
        return self.replace(files=files, contexts=tuple([look_again(seen) for seen in self.contexts]))

    def changed(self, now: Inputs) -> Iterator[str]:
        """The absolute paths that are something else `now`, by another look at the same things."""
        places = {os.path.dirname(one) for one in self.written}
        for (path, stamp), (_, other) in zip(self.files, now.files, strict=True):
            if stamp != other and path not in self.written and path not in places:
                yield path
        for before, after in zip(self.contexts, now.contexts, strict=True):
            yield from changed(before, after, self.written)

    def with_contexts_of(self, earlier: Inputs) -> Self:
        """These, and the contexts of an earlier build that this one did not come to before it ended."""
        known = {(seen.named, seen.ignore) for seen in self.contexts}
        more = tuple([seen for seen in earlier.contexts if (seen.named, seen.ignore) not in known])
        return self.replace(contexts=self.contexts + more)

    def directories(self) -> set[str]:
        """The directories in which something happens when one of these changes, all of them there now."""
        found: set[str] = set()
        for path, _ in self.files:
            real = os.path.realpath(path)
            found.update((_nearest(path), _nearest(real)))
            if os.path.isdir(real):
                found.add(real)
        for seen in self.contexts:
            scan = Scan.load(seen.scan)
            assert scan is not None, "it was dumped by this program"
            # A whole directory that is given another name shows in the one above it.
            found.add(_nearest(scan.root))
            found.update(_there(f"{scan.root}/{path}" if path else scan.root) for path in scan.listings)
            found.update(_nearest(f"{scan.root}/{path}") for path in scan.probes)
        return found


def _stamp(path: str) -> Stamp | None:
    try:
        seen = os.stat(path)
    except OSError:
        return None
    return (seen.st_ctime_ns, seen.st_mtime_ns, seen.st_ino, seen.st_size)


def _nearest(path: str) -> str:
    """The directory that a path is in, or the nearest one above it that is there."""
    return _there(os.path.dirname(path))


def _there(path: str) -> str:
    while path != "/" and not os.path.isdir(path):
        path = os.path.dirname(path)
    return path
