"""Placing outputs: files of a target's filesystem that land in the project directory, and nowhere else."""

from __future__ import annotations

import os

from buildkit_py.errors import ExportError
from buildkit_py.executor.copy_select import clean, has_wildcard, matching
from buildkit_py.executor.union_tree import UnionTree
from buildkit_py.exporter.local import copy_entries
from buildkit_py.image.entry import DIR
from buildkit_py.image.union import Union

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def place(trees: Sequence[str], source: str, base: str, dest: str, *, privileged: bool) -> list[str]:
    """Copy `source` of the filesystem that these layer directories (lowest first) make to `base`/`dest`; the paths of
    what was copied, without the directories.

    A directory is copied with what is in it; a file keeps its name where
    `dest` ends in a slash or is a directory. A wildcard puts all that it
    matches into `dest`, under their names. `privileged` is that of `export_local`. Raises `ExportError` where there
    is no such source, or where `dest` would leave `base`, also through a link.
    """
    tree = UnionTree(Union(trees))
    root = os.path.realpath(base)
    if not has_wildcard(source):
        return _place_one(tree, source, root, dest, privileged)
    try:
        found = matching(tree, clean(source))
    except ValueError as problem:
        raise ExportError(f"`{source}` is no pattern: {problem}") from problem
    if not found:
        raise ExportError(f"nothing matches `{source}`, which is to be put into `{dest or '.'}`")
    placed: list[str] = []
    for path in found:
        named = os.path.join(dest, path.rpartition("/")[2])
        placed += _place_one(tree, path, root, named, privileged)
    return placed


def _place_one(tree: UnionTree, source: str, root: str, dest: str, privileged: bool) -> list[str]:
    found = tree.lookup(source)
    if found is None:
        raise ExportError(f"there is no `{source}` to put into `{dest or '.'}`")
    target = os.path.realpath(os.path.join(root, dest))
    if target != root and not target.startswith(root + "/"):
        raise ExportError(f"`{dest}` leads out of the project directory", at=root)
    if found.kind == DIR:
        entries = tree.walk(source)
        copy_entries(entries, target, privileged=privileged)
        return [f"{target}/{entry.path}" for entry in entries if entry.kind != DIR]
    name = os.path.basename(found.path)
    if not dest.endswith("/") and dest not in ("", ".") and not os.path.isdir(target):
        target, name = os.path.split(target)
    copy_entries([found._replace(path=name)], target, privileged=privileged)
    return [f"{target}/{name}"]
