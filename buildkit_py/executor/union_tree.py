"""A snapshot as a tree to copy from: the union view of its layers, as `tree.Tree` wants it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.image.entry import Entry
    from buildkit_py.image.union import Union


class UnionTree:
    """Implements `Tree`. Owners are the snapshot's own; no digests are known."""

    def __init__(self, union: Union) -> None:
        self._union = union

    def lookup(self, path: str, follow: bool = True) -> Entry | None:
        node = self._union.lookup(path, follow)
        return None if node is None else self._union.entry(node)

    def names(self, path: str) -> list[str]:
        return self._union.listdir(path)

    def walk(self, path: str) -> list[Entry]:
        return self._union.walk(path)

    def explain(self, path: str) -> str:
        from buildkit_py.executor.missing import absence

        return absence(path.strip("/"), "the filesystem that it is taken from", self)
