"""A Mkdir, planned: the entries that WORKDIR adds to a filesystem."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.image.entry import DIR, Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.graph.op import Mkdir
    from buildkit_py.image.union import Union


def plan(op: Mkdir, base: Union) -> list[Entry]:
    """Directories that are missing, mode 0755 and owned by the user, below those that are there already.

    An existing directory is left as it is; nothing at all is added where the
    whole path exists. Raises `BuildfileError` where something else is in the
    way or the user is unknown.
    """
    parts = [part for part in op.path.split("/") if part]
    at = ""
    for number, part in enumerate(parts):
        path = f"{at}/{part}" if at else part
        node = base.lookup(path)
        if node is None:
            if base.lookup(path, follow=False) is not None:
                return _through_a_link(op, base)
            return _below(base, at) + _new(op, base, at, parts[number:])
        if node.kind != DIR:
            raise BuildfileError(f"`/{path}` is not a directory, and WORKDIR needs one")
        at = node.path
    return []


def _through_a_link(op: Mkdir, base: Union) -> list[Entry]:
    """The directories where a link leads that is followed to nothing."""
    from buildkit_py.executor.copy_place import Draft
    from buildkit_py.executor.copy_plan import CREATED

    draft = Draft(base, _owner(op, base), CREATED)
    draft.directory(op.path)
    return draft.entries()


def _below(base: Union, path: str) -> list[Entry]:
    """The existing directories on the way, as they are: a layer names the parents of what it adds."""
    entries = []
    parts = path.split("/") if path else []
    for number in range(len(parts)):
        node = base.lookup("/".join(parts[: number + 1]))
        assert node is not None, "it was there a moment ago, and layers do not change"
        entries.append(base.entry(node))
    return entries


def _new(op: Mkdir, base: Union, at: str, parts: list[str]) -> list[Entry]:
    from buildkit_py.executor.copy_plan import CREATED

    uid, gid = _owner(op, base)
    entries = []
    for part in parts:
        at = f"{at}/{part}" if at else part
        entries.append(Entry(at, DIR, 0o755, uid, gid, 0, CREATED))
    return entries


def _owner(op: Mkdir, base: Union) -> tuple[int, int]:
    from buildkit_py.executor.chown import find_owner

    return find_owner(op.user, base) if op.user else (0, 0)
