"""The local contexts of one build: a tree for each, and what the next build wants to know of them."""

from __future__ import annotations

import os

from buildkit_py.digest import key_of
from buildkit_py.executor.context_notes import Notes
from buildkit_py.executor.context_tree import ContextTree
from buildkit_py.graph.op import LocalSource
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit_py.store.store import Store


class SeenContext(Record):
    """What a build saw of a context: the path that it has `named` in the graph, the `directory` to which that led, the
    ignore rules through which it was seen, the `scan` as `Scan.dump` gives it.

    `taken` are the paths in it that steps took, with all that is below them ("" for everything). `own` are
    paths in it that are no part of it: the store, and caches.
    """

    named: str
    directory: str
    ignore: tuple[str, ...]
    scan: bytes
    taken: tuple[str, ...] = ()
    own: tuple[str, ...] = ()


class Contexts:
    """The trees; what was seen of them lies in `scans/` of the store from build to build.

    `own` are directories, besides the store, that are part of no context.
    """

    def __init__(self, store: Store, own: tuple[str, ...] = ()) -> None:
        self._store = store
        self._own = own
        self._trees: dict[LocalSource, ContextTree] = {}
        self._taken: dict[LocalSource, set[str]] = {}

    def tree(self, op: LocalSource) -> ContextTree:
        """The tree of a local source; one for all steps that use the same."""
        key = op.replace(name="")
        tree = self._trees.get(key)
        if tree is None:
            path = self._path(op)
            notes = Notes(_read(path), _read(path + ".notes"))
            tree = ContextTree(op.root, op.ignore, notes, own=self._own_in(op.root))
            if op.tree is not None:
                from buildkit_py.executor.tracked import Tracked

                tree.as_git = Tracked(op.tree).as_git
            tree = self._trees.setdefault(key, tree)  # another step's thread may have been quicker
        return tree

    def _own_in(self, root: str) -> tuple[str, ...]:
        """Where the store and caches are in a context; those that are elsewhere are not among them."""
        top = os.path.realpath(root).rstrip("/") + "/"
        places = [os.path.realpath(place) for place in (self._store.root, *self._own)]
        return tuple(dict.fromkeys(place.removeprefix(top) for place in places if place.startswith(top)))

    def took(self, op: object, paths: Iterable[str]) -> None:
        """A step takes these paths of a local source."""
        assert isinstance(op, LocalSource)
        self._taken.setdefault(op.replace(name=""), set()).update(paths)

    def write(self) -> list[SeenContext]:
        """Write down what was seen of each context, for the next build. No step may be running."""
        if any(tree.shared for tree in self._trees.values()):
            from buildkit_py.image.second import end_left

            end_left()
        seen: list[SeenContext] = []
        for op, tree in self._trees.items():
            path = self._path(op)
            scan, notes = tree.notes()
            self._store.work.write(path + ".notes", notes)
            self._store.work.write(path, scan)
            taken = tuple(sorted(self._taken.get(op, ())))
            seen.append(SeenContext(op.root, tree.root, op.ignore, scan, taken, self._own_in(op.root)))
        return seen

    def _path(self, op: LocalSource) -> str:
        git = () if op.tree is None else ("git",)
        return self._store.path("scans", key_of("scan", os.path.realpath(op.root), op.ignore, *git)[:32])


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:  # never seen before, or not ours to read: then everything is looked at anew
        return b""
