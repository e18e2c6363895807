"""A Copy, planned: the entries of the layer that COPY or ADD makes, without writing anything.

The rules are BuildKit's, by way of `fsutil/copy`; `docs/reference/layers.md`
has them in words. A plan depends on its inputs only, so the same inputs give
the same layer: directories that had to be made have a fixed time.
"""

from __future__ import annotations

from buildkit_py.digest import key_of
from buildkit_py.errors import BuildfileError, ContextError
from buildkit_py.executor import chmod
from buildkit_py.executor.chown import find_owner
from buildkit_py.executor.copy_place import Draft
from buildkit_py.executor.copy_select import Taken, clean, select
from buildkit_py.graph.op import CopyPath
from buildkit_py.image.content import content_digest
from buildkit_py.image.entry import CHAR, DIR, FILE, HARDLINK, SYMLINK, Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from buildkit_py.executor.chmod import Change
    from buildkit_py.executor.tree import Tree
    from buildkit_py.graph.op import Copy
    from buildkit_py.image.union import Union

# 1980-01-01: the first day that zip files can have, for Python wheels are made of what is copied.
CREATED = 315_532_800 * 10**9
_INLINE_MODE = 0o644


def plan(
    op: Copy,
    sources: Sequence[Tree],
    base: Union | None,
    *,
    work: str = "",
    created: int = CREATED,
    digests: dict[str, bytes] | None = None,
) -> list[Entry]:
    """The entries that a Copy adds to a base filesystem (None: an empty one), in the order of `image.order`.

    The bytes of an unpacked archive (ADD) are kept below the empty directory
    `work`, which must live until the plan is packed. `created` is the time of
    directories that are made, in nanoseconds. `digests` is as for
    `archive_entries`.

    Raises `ContextError` for a source that is not there, `BuildfileError` for
    a destination, owner, mode or pattern that cannot be.
    """
    if op.link:
        base = None
    placing = _Placing(op, base, created)
    for item in op.items:
        if not isinstance(item, CopyPath):
            file = Entry("", FILE, _INLINE_MODE, 0, 0, len(item.content), created, data=item.content)
            placing.file(item.name, file)
            continue
        unpack = op.unpack if item.unpack is None else item.unpack
        for taken in select(op, item, sources[item.source]):
            if taken.root.kind == DIR:
                placing.contents(taken.entries, whole=item.whole)
            elif not (unpack and taken.root.kind == FILE and placing.archive(taken.root, work, digests)):
                placing.file(taken.name, taken.root)
    return placing.draft.entries()


def source_digest(
    op: Copy,
    index: int,
    tree: Tree,
    listing: list[tuple[str, bytes]] | None = None,
    digest_of: Callable[[Entry], bytes] | None = None,
) -> str:
    """The digest of what a Copy takes from its source numbered `index`, as it sees it.

    Names (of a file also its own, which may become its name in the image),
    kinds, bytes, xattrs, and mode and owner unless the Copy sets them;
    neither times nor where in the source a directory is. `listing` takes what
    was hashed: for each thing taken its path in the source, and the bytes
    that `image.listing` reads. `digest_of` is as for `content_digest`. Raises as `plan`.
    """
    parts: list[object] = []
    for number, item in enumerate(op.items):
        if not isinstance(item, CopyPath) or item.source != index:
            continue
        for taken in select(op, item, tree):
            whole = taken.root.kind == DIR
            entries = taken.entries if whole else (taken.root._replace(path=""),)
            for entry in entries:
                if entry[1] == CHAR and not entry[8]:
                    path = "/".join([part for part in (taken.path, entry.path) if part])
                    raise ContextError(f"`{path}` is the character device 0:0, which overlays take for a whiteout")
            keep: list[bytes] | None = [] if listing is not None else None
            digest = content_digest(_as_seen(op, entries), keep, digest_of)
            parts.append((number, "contents" if whole else taken.name, digest))
            if listing is not None and keep is not None:
                listing.append((taken.path, b"".join(keep)))
    return key_of("copy-source-1", tuple(parts))


def _as_seen(op: Copy, entries: Iterable[Entry]) -> Iterable[Entry]:
    """Entries without the attributes that the Copy overwrites."""
    octal = chmod.is_octal(op.mode)
    if op.owner:
        entries = [entry._replace(uid=0, gid=0) for entry in entries]
    if octal:
        entries = [entry if entry.kind == SYMLINK else entry._replace(mode=0) for entry in entries]
    return entries


class _Placing:
    """Puts what was selected where the Copy says."""

    def __init__(self, op: Copy, base: Union | None, created: int) -> None:
        self._owner = find_owner(op.owner, base) if op.owner else None
        self._change: Change | None = chmod.parse(op.mode) if op.mode else None
        # fsutil gives the directories that it makes the permissions of an octal mode, and no set-id or sticky bit.
        self._made = int(op.mode, 8) & 0o777 if chmod.is_octal(op.mode) else 0o755
        self._created = created
        self._dest = clean(op.dest)
        # What ends in a slash is a directory, whether it is there or not; so is what keeps its parents.
        self._is_directory = op.dest.endswith(("/", "/.")) or op.parents
        self.draft = Draft(base, self._owner or (0, 0), created)

    def file(self, name: str, root: Entry) -> None:
        """One file (or link, device, fifo): into the destination if that is a directory, else as it."""
        draft = self.draft
        if self._is_directory:
            draft.directory(self._dest, mode=self._made)
        where = draft.resolve(self._dest)
        there = draft.at(where)
        if there is not None and there.kind == DIR:
            where = f"{where}/{name}" if where else name
        draft.directory(where.rpartition("/")[0], mode=self._made)
        draft.place(self._changed(root, where))

    def contents(self, entries: Iterable[Entry], *, whole: bool = False) -> None:
        """What is in a directory, into the destination, which is made one; `whole` as in `CopyPath`."""
        draft = self.draft
        where = draft.resolve(self._dest)
        there = draft.at(where)
        if there is not None and there.kind != DIR:
            raise BuildfileError(f"cannot copy to non-directory: /{where}")
        draft.directory(where, mode=self._made)
        if whole and where:
            draft.place(self._changed(Entry(where, DIR, 0o755, 0, 0, 0, self._created), where))
        prefix = f"{where}/" if where else ""
        if draft.is_bare(where) and self._owner is None and self._change is None:
            draft.fill(prefix, entries)
            return
        place, changed = draft.place, self._changed
        for entry in entries:
            placed = changed(entry, prefix + entry[0])
            if entry[1] == HARDLINK:
                placed = placed._replace(target=prefix + entry.target)
            place(placed)

    def archive(self, root: Entry, work: str, digests: dict[str, bytes] | None) -> bool:
        """The contents of an archive, as tar would unpack it there; False for a file that is none."""
        from buildkit_py.executor.unpack_archive import archive_entries

        found = archive_entries(root, work, digests=digests)
        if found is None:
            return False
        draft = self.draft
        where = draft.directory(self._dest)
        prefix = f"{where}/" if where else ""
        moved: dict[str, str] = {}
        for entry in found:
            if not entry.path and not where:
                continue  # the root itself is no entry of a layer
            parent, _, name = entry.path.rpartition("/")
            # Links lead where they would if the destination were the root, in which docker unpacks.
            inside = draft.directory(parent, where)
            path = where if not name else f"{inside}/{name}" if inside else name
            moved[entry.path] = path
            uid, gid = self._owner or (entry.uid, entry.gid)
            placed = entry._replace(path=path, uid=uid, gid=gid)
            if entry.kind == HARDLINK:
                placed = placed._replace(target=moved.get(entry.target, prefix + entry.target))
            draft.replace(placed)
        return True

    def _changed(self, entry: Entry, path: str) -> Entry:
        """An entry at another path, with the owner and mode that the Copy says."""
        _, kind, mode, uid, gid, *rest = entry
        if self._owner is not None:
            uid, gid = self._owner
        if self._change is not None and kind != SYMLINK:
            mode = self._change(mode, kind == DIR)
        return Entry(path, kind, mode, uid, gid, *rest)


__all__ = ["CREATED", "Taken", "plan", "source_digest"]
