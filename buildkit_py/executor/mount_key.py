"""The key of a cache mount: a digest of the files that `key=` names, as the step sees them, under which it travels.

As with the keys of CI caches, what was saved under the same key is restored
first, and else what was saved last. It is no part of the step's own key.
"""

from __future__ import annotations

from buildkit_py.digest import key_of
from buildkit_py.errors import BuildfileError, ContextError
from buildkit_py.executor.copy_plan import source_digest
from buildkit_py.executor.copy_select import clean, has_wildcard, matching
from buildkit_py.executor.run_step import absolute
from buildkit_py.executor.union_tree import UnionTree
from buildkit_py.graph.op import Copy, CopyPath
from buildkit_py.image.union import Union

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.executor.materialize import Trees
    from buildkit_py.graph.op import Mount, Run

# Neither owner nor mode tells one lock file from another: a checkout gives them.
_OWNER = "0:0"
_MODE = "0"


def mount_key(mount: Mount, op: Run, below: Trees, sources: Sequence[Trees | None]) -> str:
    """64 hex digits for the names and bytes of what a cache mount's `keys` name, in their order.

    A path is one of the filesystem `below` or of a bind mount over it. Raises `BuildfileError` for one that is not
    there, or a wildcard that matches nothing, and `OSError` where a file cannot be read.
    """
    parts = []
    for path in mount.keys:
        tree, inside = _seen(clean(absolute(path, op)), op, below, sources)
        wild = has_wildcard(inside)
        try:
            if wild and not matching(tree, inside):
                raise ContextError("no file of the step matches")
            copy = Copy((CopyPath(inside, wildcard=wild),), "/", _OWNER, _MODE)
            parts.append(source_digest(copy, 0, tree))
        except ValueError as problem:
            raise BuildfileError(f"the key `{path}` of the cache mount `{mount.target}`: {problem}") from problem
        except ContextError as problem:
            what = "matches nothing" if wild else "is not there"
            raise BuildfileError(
                f"the key `{path}` of the cache mount `{mount.target}` {what}",
                hint="it is a path as the step sees it: copy or mount the file before, as in `COPY go.sum .`",
            ) from problem
    return key_of("mount key", tuple(parts))


def _seen(path: str, op: Run, below: Trees, sources: Sequence[Trees | None]) -> tuple[UnionTree, str]:
    """The tree that a path of the step is in, with the last bind mount over it in front, and its path there."""
    tree, inside = below, path
    for other in op.mounts:
        target = clean(absolute(other.target, op))
        if other.kind == "bind" and other.source >= 0 and f"{path}/".startswith(f"{target}/"):
            found = sources[other.source]
            if found is not None:
                tree, inside = found, clean(f"{other.path}/{path.removeprefix(target)}")
    return UnionTree(Union(tree.roots)), inside
