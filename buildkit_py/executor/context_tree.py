"""The local context as a tree: a directory of this machine, seen through its ignore rules.

Directories are listed when somebody asks for what is in them, and what was
seen is kept (`store/scan.py`) so that the next build can prove it unchanged.
Digests and extended attributes come from the last build's notes where a
file's stamp is still the same; a file is read only where it is not.
"""

from __future__ import annotations

import os
import stat as stat_bits
import time
from _operator import itemgetter

from buildkit_py.errors import ContextError
from buildkit_py.executor.context_notes import NO_DIGEST, Notes, proving
from buildkit_py.executor.listed_file import hash_listed
from buildkit_py.executor.look import DIRECTORY, LookAhead, xattrs_of
from buildkit_py.image.content import file_digest
from buildkit_py.image.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, Entry
from buildkit_py.patterns import IgnoreRules
from buildkit_py.store.scan import COARSE_TICK, STAMP_SIZE, Scan, packed, racy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from buildkit_py.executor.look import Looked

_LINK_LIMIT = 40
# Of what was too fresh when it was seen, so much is looked at again when the build ends.
_MOST_AGAIN, _MOST_BYTES_AGAIN = 256, 16 << 20
_KINDS = {
    stat_bits.S_IFREG: FILE,
    stat_bits.S_IFDIR: DIR,
    stat_bits.S_IFLNK: SYMLINK,
    stat_bits.S_IFIFO: FIFO,
    stat_bits.S_IFCHR: CHAR,
    stat_bits.S_IFBLK: BLOCK,
}


class ContextTree:
    """Implements `executor.tree.Tree` over `root`; not for several threads at once.

    Everything is owned by 0:0, as BuildKit's client sends a local context:
    who checked the sources out is no part of the result. With `hash_files`
    set, every file that is answered has its digest. `own` are paths below
    `root` that are never there, the store and caches: what builds keep is no
    input. `as_git`, if set, gives entries git's modes (`executor/tracked.py`).
    """

    def __init__(
        self, root: str, ignore: tuple[str, ...] = (), notes: Notes | None = None, *, own: tuple[str, ...] = ()
    ) -> None:
        self.root = os.path.realpath(root)
        self._own = own
        self._above_own = frozenset([path.rpartition("/")[0] for path in own])
        self.as_git: Callable[[Entry], Entry] | None = None
        self.rules = IgnoreRules(ignore) if ignore else None
        self.scan = Scan(self.root)
        self.hash_files = False
        self._notes = notes or Notes()
        self.made = dict(self._notes.made)
        self.shared = False  # whether a second process looked at some of it
        self._listed: dict[str, list[Entry]] = {}
        self._walked: dict[str, tuple[bool, list[Entry]]] = {}  # whether with all digests, and what was found
        self._single: dict[str, Entry | None] = {}
        self._digests: dict[str, bytes] = {}  # by absolute path, as entries have it: no second text for each
        self._inodes: dict[str, tuple[int, int]] = {}  # device and inode of regular files with several names
        self._racy: set[str] = set()
        self._learnt = False  # whether `_digests` has what the walks do not
        self._root = Entry("", DIR, 0o755)

    def lookup(self, path: str, follow: bool = True) -> Entry | None:
        """The entry at a path; links are resolved inside the root, ignored paths are not there."""
        pending = _parts(path)
        at: list[str] = []
        links = 0
        entry: Entry = self._root
        while pending:
            part = pending.pop()
            if part == "..":
                at = at[:-1]
                entry = self._at("/".join(at)) or self._root
                continue
            found = self._at("/".join([*at, part])) if entry.kind == DIR else None
            if found is None:
                return None
            if found.kind == SYMLINK and (pending or follow):
                links += 1
                if links > _LINK_LIMIT:
                    raise ContextError(f"too many symbolic links in `{path}`", at=self._full(found.path))
                if found.target.startswith("/"):
                    at = []
                pending.extend(_parts(found.target))
                entry = self._at("/".join(at)) or self._root
                continue
            at.append(part)
            entry = found
        return self._with_digest(entry)

    def names(self, path: str) -> list[str]:
        """The sorted names in a directory, without the ignored ones."""
        entry = self.lookup(path)
        if entry is None or entry.kind != DIR:
            return []
        return [child.path.rpartition("/")[2] for child in self._list(entry.path)]

    def walk(self, path: str) -> list[Entry]:
        """Everything below a directory, in the order of the bytes of their paths, with paths relative to it."""
        top = self.lookup(path)
        if top is None or top.kind != DIR:
            return []
        known = self._walked.get(top.path)
        if known is not None and (known[0] or not self.hash_files):
            return known[1]
        found = self._all_below(top.path)
        if all(map(str.isascii, map(_path, found))):
            found.sort(key=_path)
        else:
            found.sort(key=_path_bytes)
        below = self._below(found, len(top.path) + 1 if top.path else 0)
        self._walked[top.path] = (self.hash_files, below)
        return below

    def _all_below(self, path: str) -> list[Entry]:
        found: list[Entry] = []
        stack = [path]
        # What rules leave out is not looked at, and only they know what that is.
        with LookAhead(self.root) as ahead:
            while stack:
                path = stack.pop()
                looked = ahead.found.pop(path, None)
                if looked is None or path in self._above_own:  # the second process knows nothing of what is ours
                    children = self._list(path)
                else:
                    children = self._take_in(path, looked)
                found += children
                stack.extend([child[0] for child in children if child[1] == DIR])
                if self.rules is None:
                    ahead.share(stack, len(found))
            self.shared = self.shared or ahead.started
        return found

    def _below(self, found: list[Entry], cut: int) -> list[Entry]:
        """Sorted entries with their digests, their paths cut, and further names of an inode made links."""
        new = tuple.__new__  # half the price of `_replace`, and this is done for every file of a context
        digests, inodes, hash_files = self._digests, self._inodes, self.hash_files
        if not (cut or digests or inodes or hash_files):
            return found
        names_of: dict[tuple[int, int], tuple[str, int]] = {}
        below: list[Entry] = []
        for entry in found:
            path = entry[0]
            if path in inodes:
                first, mode = names_of.setdefault(inodes[path], (path[cut:], entry.mode))
                if first != path[cut:]:
                    below.append(Entry(path[cut:], HARDLINK, mode, 0, 0, 0, entry.mtime, first))
                    continue
            if entry[1] == FILE and entry[13] is None and entry[12] is None:
                digest = digests.get(entry[11])
                if digest is None and hash_files:
                    digest = self._with_digest(entry).digest
                if cut or digest is not None:
                    entry = new(Entry, (path[cut:], *entry[1:13], digest))
                below.append(entry)
            elif cut:
                below.append(new(Entry, (path[cut:], *entry[1:])))
            else:
                below.append(entry)
        return below

    def explain(self, path: str) -> str:
        """Why a COPY finds nothing at a path."""
        clean = "/".join(reversed(_parts(path)))
        if own := next((own for own in self._own if f"{clean}/".startswith(f"{own}/")), ""):
            return f"`{own}` is pybuild's own store or cache, which is part of no context"
        if self.rules is not None and os.path.lexists(self._full(clean)):
            return f"`{clean}` exists, but the ignore file leaves it out of the context"
        if not os.path.lexists(self._full(clean)):
            from buildkit_py.executor.missing import absence

            return absence(clean, f"the context `{self.root}`", self)
        return ""

    def learn(self, paths: Sequence[str], digests: bytes | bytearray) -> None:
        """Take note of digests that somebody else took, by absolute path, of files as they were listed.

        They are one behind the other, in the order of the paths.
        """
        inside, known = self.root + "/", self._digests
        for at, path in enumerate(paths):
            if path.startswith(inside):
                known[path] = bytes(digests[32 * at : 32 * at + 32])
        self._learnt = True

    def take_up(self) -> None:
        """Have what was learnt in the entries that are answered from now on, too; `digest` knows it anyway.

        Not at once: that is another tuple for each file, which only the next step that copies them needs.
        """
        if self._learnt:
            self._walked = {path: walked for path, walked in self._walked.items() if walked[0]}
            self._learnt = False

    def digest(self, entry: Entry) -> bytes:
        """BLAKE3 of the bytes of a FILE that was answered. Raises `ContextError` if it changes while it is read."""
        known = self._digests.get(entry[11])
        return known if known is not None else self._hashed(entry)

    def notes(self) -> tuple[bytes, bytes]:
        """What the next build wants to know: the scan, and digests with extended attributes."""
        if 0 < len(self._racy) <= _MOST_AGAIN:
            self._look_again()
        digests: dict[str, bytes] = {}
        xattrs: dict[str, Any] = {}
        get, racy_ones, listings = self._digests.get, self._racy, self.scan.listings
        for path, children in self._listed.items():
            if racy_ones and any(fresh := [child[0] in racy_ones for child in children]):
                own, mode, names, stamps = listings[path]
                listings[path] = (own, mode, names, proving(stamps, fresh))
            digests[path] = b"".join(
                [NO_DIGEST if child[0] in racy_ones else get(child[11]) or child[13] or NO_DIGEST for child in children]
            )
            xattrs.update([(child[0], child[9]) for child in children if child[9]])
        probed = {
            path: digest
            for path in self._single
            if path not in self._racy and (digest := self._digests.get(self._full(path))) is not None
        }
        self.scan.racy = bool(self._racy)
        scan = self.scan.dump()
        return scan, Notes.dump(scan, digests, xattrs, probed, self.made)

    def _look_again(self) -> None:
        """Believe what was too fresh to be believed, if it still is what was seen and used and is fresh no more."""
        now = ContextTree(self.root)
        now.rules, now._own, now.as_git = self.rules, self._own, self.as_git
        left = _MOST_BYTES_AGAIN
        for path in sorted(self._racy):
            try:
                size = now._size_if_same(self, path, left)
            except ContextError:
                continue
            if size >= 0:
                self._racy.discard(path)
                left -= size

    def _size_if_same(self, earlier: ContextTree, path: str, most: int) -> int:
        """Bytes read to find a path of `earlier` as it was then; -1 if it is not, or is larger than `most`."""
        if path in earlier._listed:
            self._list(path)
            if self.scan.listings[path] != earlier.scan.listings[path]:
                return -1
        parent = path.rpartition("/")[0]
        siblings = earlier._listed.get(parent, ())
        before = next((child for child in siblings if child[0] == path), earlier._single.get(path))
        after = self._at(path)
        if path in self._racy or (path and (before is None or after is None or before[:12] != after[:12])):
            return -1
        if before is None or before.kind != FILE or not before.source:
            return 0
        used = earlier._digests.get(before.source)
        return before.size if used is not None and before.size <= most and hash_listed(before) == used else -1

    # -- looking

    def _full(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def _unseen(self, path: str, problem: OSError) -> ContextError:
        return ContextError(f"cannot look at `{path}`: {problem.strerror}", at=self._full(path))

    def _at(self, path: str) -> Entry | None:
        """The entry at a path without following anything, None where it is ignored or absent."""
        if not path:
            return self._root
        if path in self._single:
            return self._single[path]
        if self._own and any(f"{path}/".startswith(f"{own}/") for own in self._own):
            return None
        if self.rules is not None and self.rules.ignored(path) and not self.rules.may_reinclude(path):
            self._single[path] = None
            return None
        now = time.time_ns()
        try:
            seen = os.lstat(self._full(path))
        except (FileNotFoundError, NotADirectoryError):
            self.scan.probes[path] = None
            self._single[path] = None
            return None
        except OSError as problem:
            raise self._unseen(path, problem) from problem
        stamp = (seen.st_ctime_ns, seen.st_mtime_ns, seen.st_ino, seen.st_size)
        self.scan.probes[path] = stamp
        known: bytes | None = None
        if self._notes.scan is not None and self._notes.scan.probes.get(path) == stamp:
            known = self._notes.probed.get(path)
        entry: Entry | None = self._entry(path, seen, now, known, None)
        if (
            self.rules is not None
            and self.rules.ignored(path)
            and not (stat_bits.S_ISDIR(seen.st_mode) and self._list(path))
        ):
            entry = None
        if entry is not None and self.as_git is not None:
            entry = self.as_git(entry)
        self._single[path] = entry
        return entry

    def _list(self, path: str) -> list[Entry]:
        """What is in a directory, sorted by name, ignored things left out."""
        if path in self._listed:
            return self._listed[path]
        now = time.time_ns()
        full = self._full(path)
        try:
            fd = os.open(full, DIRECTORY)
        except OSError as problem:
            raise ContextError(f"cannot read the directory `{path or '.'}`: {problem.strerror}", at=full) from problem
        try:
            own = os.fstat(fd)
            known = self._notes.of_directory(path)
            prefix = f"{path}/" if path else ""
            where, calm, new, is_regular = full + "/", now - COARSE_TICK, tuple.__new__, stat_bits.S_ISREG
            level = self.rules.level(path) if self.rules is not None else None
            if level is not None and level.settled and not level.default:
                level = None  # no rule can match anything from here on
            children: list[Entry] = []
            kept: list[str] = []
            stamps: list[int] = []
            for name in sorted(os.listdir(fd)):
                child = prefix + name
                if child in self._own:
                    continue
                ignored = level is not None and level.ignores(name)
                if ignored and level is not None and not level.below(name).reincludes:
                    continue
                try:
                    seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                except OSError as problem:  # a directory that may be read but not searched
                    raise self._unseen(child, problem) from problem
                if ignored and not (stat_bits.S_ISDIR(seen.st_mode) and self._list(child)):
                    continue
                changed, modified, size, mode = seen.st_ctime_ns, seen.st_mtime_ns, seen.st_size, seen.st_mode
                stamp = (changed, modified, seen.st_ino, size)
                digest: bytes | None = None
                attributes: Any = None
                note = known.get(name)
                if note is not None and note[0] == packed(stamp):
                    digest = note[1] if note[1] != NO_DIGEST else None
                    attributes = self._notes.xattrs.get(child, ())
                if changed > calm or modified > calm or seen.st_nlink > 1 or not is_regular(mode):
                    children.append(self._entry(child, seen, now, digest, attributes))
                else:  # what `_entry` gives for an ordinary file that has long been at rest
                    source = where + name
                    if attributes is None:
                        attributes = xattrs_of(source)
                    fields = (child, FILE, mode & 0o7777, 0, 0, size, modified, "", 0, attributes, False, source)
                    children.append(new(Entry, (*fields, None, digest)))
                kept.append(name)
                stamps += stamp
        finally:
            os.close(fd)
        stat = (own.st_ctime_ns, own.st_mtime_ns, own.st_ino, own.st_size, own.st_mode)
        self._note_listing(path, stat, now, kept, packed(stamps), children)
        return children

    def _take_in(self, path: str, looked: Looked) -> list[Entry]:
        """What `_list` gives, of what a second process saw there."""
        if path in self._listed:
            return self._listed[path]
        own, now, names, stamps, rows = looked
        same = self._notes.of_same(path, names, stamps)
        known = self._notes.of_directory(path) if same is None else {}
        prefix, where = f"{path}/" if path else "", self._full(path) + "/"
        new = tuple.__new__
        children: list[Entry] = []
        kept: list[str] = []
        pieces: list[bytes] = []
        end = 0
        for name, row in zip(names, rows, strict=True):
            at, end = end, end + STAMP_SIZE  # of its stamp, and of its digest, which is as long
            child, stamp = prefix + name, stamps[at:end]
            seen = None
            if row is None:
                try:
                    seen = os.lstat(where + name)
                except FileNotFoundError:
                    continue
                except OSError as problem:
                    raise self._unseen(child, problem) from problem
                stamp = packed((seen.st_ctime_ns, seen.st_mtime_ns, seen.st_ino, seen.st_size))
            digest: bytes | None = None
            if same is None:
                note = known.get(name)
                digest = note[1] if note is not None and note[0] == stamp else None
            elif row is not None or stamp == stamps[at:end]:
                digest = same[at:end]
            if digest == NO_DIGEST:
                digest = None
            if row is not None:
                mode, size, modified, attributes = row
                fields = (child, FILE, mode, 0, 0, size, modified, "", 0, attributes, False, where + name)
                children.append(new(Entry, (*fields, None, digest)))
            elif seen is not None:
                children.append(self._entry(child, seen, now, digest, None))
            kept.append(name)
            pieces.append(stamp)
        self._note_listing(path, own, now, kept, b"".join(pieces), children)
        return children

    def _note_listing(
        self,
        path: str,
        own: tuple[int, int, int, int, int],
        now: int,
        names: list[str],
        stamps: bytes,
        children: list[Entry],
    ) -> None:
        if racy(own[0], own[1], now):
            self._racy.add(path)
        if self.as_git is not None:
            children[:] = map(self.as_git, children)
        self.scan.listings[path] = (own[:4], own[4], tuple(names), stamps)
        self._listed[path] = children

    def _entry(self, path: str, seen: os.stat_result, now: int, digest: bytes | None, xattrs: Any) -> Entry:
        mode = seen.st_mode
        # A socket arrives as an empty file: BuildKit's client sends it so.
        kind = _KINDS.get(stat_bits.S_IFMT(mode), FILE)
        if racy(seen.st_ctime_ns, seen.st_mtime_ns, now):
            self._racy.add(path)
            digest = None
        if kind == FILE and seen.st_nlink > 1:
            self._inodes[path] = (seen.st_dev, seen.st_ino)
        full = self._full(path)
        try:
            target = os.readlink(full) if kind == SYMLINK else ""
        except OSError as problem:
            raise ContextError(f"`{path}` changed while it was being looked at", at=full) from problem
        if xattrs is None:
            xattrs = xattrs_of(full)
        if digest is not None:
            self._digests[full] = digest
        empty = not stat_bits.S_ISREG(mode)
        return Entry(
            path,
            kind,
            mode & 0o7777,
            0,
            0,
            0 if empty else seen.st_size,
            seen.st_mtime_ns,
            target,
            seen.st_rdev if kind in (CHAR, BLOCK) else 0,
            xattrs,
            False,
            "" if empty else full,
            b"" if empty and kind == FILE else None,
            digest,
        )

    def _with_digest(self, entry: Entry) -> Entry:
        if entry.kind != FILE or entry.digest is not None or entry.data is not None:
            return entry
        digest = self._digests.get(entry.source)
        if digest is None:
            if not self.hash_files:
                return entry
            digest = self._hashed(entry)
        return entry._replace(digest=digest)

    def _hashed(self, entry: Entry) -> bytes:
        if entry.data is not None:
            return file_digest(entry)
        digest = self._digests[entry.source] = hash_listed(entry)
        # It was read a tick after its last change and still had its stamp: that proves it from now on.
        self._racy.discard(entry.path)
        return digest


_path = itemgetter(0)


def _parts(path: str) -> list[str]:
    """The components of a path, last first, without empty ones and dots."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _path_bytes(entry: Entry) -> bytes:
    return os.fsencode(entry.path)
