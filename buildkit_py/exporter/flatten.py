"""Flattening: the layers of a snapshot as one list of entries, what a mounted overlay would show.

Each layer's tree is read in overlay form, lowest first; a whiteout takes away
what lies below its path, an opaque directory what lower layers have in it. No
mount is needed, so it works for everyone.
"""

from __future__ import annotations

import os

from buildkit_py.errors import StoreError
from buildkit_py.image import overlay_diff
from buildkit_py.image.entry import DIR, FILE, HARDLINK, WHITEOUT, Entry
from buildkit_py.image.order import in_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class _Node:
    """A path of the flattened tree; `children` None for what is no directory."""

    __slots__ = ("children", "entry")

    def __init__(self, entry: Entry | None) -> None:
        self.entry = entry
        self.children: dict[str, _Node] | None = {} if entry is None or entry.kind == DIR else None


def flatten(trees: Sequence[str]) -> list[Entry]:
    """The entries that the layers in these directories come to, lowest first, in the order of `image.order`.

    Raises `StoreError` for a tree that is damaged, `OSError` for one that cannot be read.
    """
    root = _Node(None)
    for tree in trees:
        _apply(root, tree)
    return in_order(_entries(root))


def _apply(root: _Node, tree: str) -> None:
    tree = os.path.realpath(tree)
    heads: dict[str, Entry] = {}
    # Paths come with parents first, so a directory is there before what is in it.
    for entry in overlay_diff.diff(tree, hash_files=False):
        above, _, name = entry.path.rpartition("/")
        parent = _find(root, above)
        if parent is None or parent.children is None:
            raise StoreError(f"a layer has `{entry.path}` below something that is no directory", at=tree)
        if entry.kind == WHITEOUT:
            parent.children.pop(name, None)
            continue
        old = parent.children.get(name)
        if entry.kind == DIR and old is not None and old.children is not None and not entry.opaque:
            old.entry = entry
            continue
        if entry.kind == FILE:
            heads[entry.path] = entry
        elif entry.kind == HARDLINK:
            # As a file of its own for now: its partner may be gone when all layers are applied.
            head = heads[entry.target]
            entry = head._replace(path=entry.path, source=f"{tree}/{entry.path}", target=head.source)
        parent.children[name] = _Node(entry._replace(opaque=False))


def _find(root: _Node, path: str) -> _Node | None:
    node: _Node | None = root
    for part in path.split("/") if path else ():
        if node is None or node.children is None:
            return None
        node = node.children.get(part)
    return node


def _entries(root: _Node) -> Iterator[Entry]:
    """All entries of a tree; files that shared an inode and are still there share it again."""
    heads: dict[str, str] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        entry = node.entry
        if entry is not None:
            if entry.kind == FILE:
                inode = entry.target or entry.source
                if inode in heads:
                    entry = entry._replace(
                        kind=HARDLINK, target=heads[inode], size=0, source="", data=None, digest=None
                    )
                else:
                    heads[inode] = entry.path
                    entry = entry._replace(target="")
            yield entry
        if node.children is not None:
            stack.extend(child for _, child in sorted(node.children.items(), reverse=True))
