"""Where copied files go: a draft of a layer over a base filesystem that is only looked at.

The draft answers for the base with its own additions on top, so that a later
source of one COPY sees what an earlier one put there. Paths here are relative
to the root, without links in their directories (`resolve` sees to that).
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.image.entry import DIR, FILE, HARDLINK, SYMLINK, Entry
from buildkit_py.image.order import in_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit_py.image.union import Union

_MAX_LINKS = 40


class Draft:
    """Entries being placed. `owner` and `created` (nanoseconds) are those of directories that are made."""

    def __init__(self, base: Union | None, owner: tuple[int, int], created: int) -> None:
        self._base = base
        self._owner = owner
        self._created = created
        self._new: dict[str, Entry] = {}
        self._fresh: set[str] = set() if base is not None else {""}  # directories that the base does not have
        self._links: dict[str, list[str]] = {}  # first names of files, and their further names

    def at(self, path: str) -> Entry | None:
        """What is at a path: of the draft, else of the base."""
        found = self._new.get(path)
        return found if found is not None else self._below(path)

    def _below(self, path: str) -> Entry | None:
        if not path:
            return Entry("", DIR)
        if self._base is None or path.rpartition("/")[0] in self._fresh:
            return None
        node = self._base.lookup(path, follow=False)
        return None if node is None else self._base.entry(node)

    def resolve(self, path: str, root: str = "") -> str:
        """Where a path below `root`, a directory, leads, links followed as if that were all; what is missing stays as
        it is written."""
        waiting = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        top = root.split("/") if root else []
        done = list(top)
        links = 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                if len(done) > len(top):
                    del done[-1:]
                continue
            done.append(part)
            here = "/".join(done)
            found = self.at(here)
            if found is None or found.kind == DIR:
                continue
            if found.kind == SYMLINK:
                links += 1
                if links > _MAX_LINKS:
                    raise BuildfileError(f"/{path} goes through more than {_MAX_LINKS} symbolic links")
                done = list(top) if found.target.startswith("/") else done[:-1]
                waiting.extend([step for step in reversed(found.target.split("/")) if step not in ("", ".")])
            elif waiting:
                raise BuildfileError(f"/{here} is not a directory, so nothing can be copied below it")
        return "/".join(done)

    def directory(self, path: str, root: str = "", *, mode: int = 0o755) -> str:
        """Have a directory at a path below `root`, it and its parents made as needed; where it is, links followed."""
        where = self.resolve(path, root)
        parts = where.split("/") if where else []
        for depth in range(1, len(parts) + 1):
            here = "/".join(parts[:depth])
            found = self.at(here)
            if found is None:
                self._new[here] = Entry(here, DIR, mode, *self._owner, 0, self._created)
                self._fresh.add(here)
            elif found.kind != DIR:
                raise BuildfileError(f"cannot copy to non-directory: /{here}")
        return where

    def place(self, entry: Entry) -> None:
        """Put an entry at its path, whose directory must be there. A directory merges with one there before.

        Raises `BuildfileError` for a file in the place of a directory and the other way round.
        """
        path = entry[0]
        parent = path.rpartition("/")[0]
        found = self._new.get(path) if self._base is None or parent in self._fresh else self.at(path)
        if entry[1] == DIR:
            if found is None:
                self._fresh.add(path)
            elif found.kind != DIR:
                raise BuildfileError(f"cannot copy to non-directory: /{path}")
        elif found is not None:
            if found.kind == DIR:
                raise BuildfileError(f"cannot replace to directory: /{path} with a file")
            self._release(path)
        self._new[path] = entry
        if entry[1] == HARDLINK:
            self._links.setdefault(entry.target, []).append(path)

    def is_bare(self, path: str) -> bool:
        """Whether nothing can be in a directory: the base has it not, and nothing was placed since it was made."""
        return path in self._fresh and (not self._new or next(reversed(self._new)) == path)

    def fill(self, prefix: str, entries: Iterable[Entry]) -> None:
        """Put a whole tree, as it is, into a directory with nothing in it: `place` for many."""
        new, put = tuple.__new__, self._new.__setitem__
        for entry in entries:
            path, kind = prefix + entry[0], entry[1]
            if kind == HARDLINK:
                entry = entry._replace(target=prefix + entry.target)
                self._links.setdefault(entry.target, []).append(path)
            elif kind == DIR:
                self._fresh.add(path)
            put(path, new(Entry, (path, *entry[1:])) if prefix else entry)

    def replace(self, entry: Entry) -> None:
        """Put an entry at its path as tar does: whatever is there goes, but that directories merge."""
        path = entry.path
        found = self.at(path)
        if found is None or found.kind != DIR or entry.kind != DIR:
            below = f"{path}/"
            # Only a directory has something below it; not to look through the draft for each file.
            gone = [known for known in self._new if known.startswith(below)] if found and found.kind == DIR else []
            for known in [path, *gone]:
                self._release(known)
                self._new.pop(known, None)
            self._fresh.difference_update(gone)
            self._fresh.discard(path)
            if entry.kind == DIR:
                hidden = self._below(path)
                entry = entry._replace(opaque=hidden is not None and hidden.kind == DIR)
                self._fresh.add(path)
        self._new[path] = entry
        if entry.kind == HARDLINK:
            self._links.setdefault(entry.target, []).append(path)

    def _release(self, path: str) -> None:
        """Before a name goes: if others share its file, the first of them becomes it."""
        old = self._new.get(path)
        if old is None:
            return
        if old.kind == HARDLINK:
            self._links[old.target].remove(path)
            return
        others = self._links.pop(path, None)
        if old.kind != FILE or not others:
            return
        first, *rest = others
        self._new[first] = old._replace(path=first)
        for other in rest:
            self._new[other] = self._new[other]._replace(target=first)
        self._links[first] = rest

    def entries(self) -> list[Entry]:
        """The layer: what was placed, and the base's own entry for each directory above it.

        Without those, unpacking the layer by itself would give these
        directories a made-up mode and owner.
        """
        above: dict[str, Entry] = {}
        for path in {path.rpartition("/")[0] for path in self._new}:
            while path and path not in self._new and path not in above:
                found = self._below(path)
                # A directory of the draft is in it, so this one is the base's.
                above[path] = found if found is not None else Entry(path, DIR, 0o755, *self._owner, 0, self._created)
                path = path.rpartition("/")[0]
        return in_order([*self._new.values(), *above.values()])
