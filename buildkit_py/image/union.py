"""The union view: what a snapshot's root looks like, read from its layer directories without mounting.

The rules are overlayfs's (kernel documentation, filesystems/overlayfs): the
uppermost layer that has a name wins, directories of one name are merged until
one is opaque or something else is in the way, a whiteout hides. Symbolic
links are resolved inside the root only, so nothing of this machine shows that
is not in a layer. The lowest layer may be this machine's own root, `/`.
"""

from __future__ import annotations

import errno
import os
import stat

from buildkit_py.errors import ContextError
from buildkit_py.image.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, Entry
from buildkit_py.image.order import in_order, sorted_names
from buildkit_py.image.overlay_diff import read_xattrs
from buildkit_py.image.overlay_marks import prefix
from buildkit_py.named_tuple import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# `path` is where it was found after following links, without a leading slash ("" is the root);
# `kind` one of image.entry's; `stat` of the inode; `real` its absolute path on this machine.
Node = namedtuple("Node", ("path", "kind", "stat", "real"))

_MAX_LINKS = 40
# Of the host's root: what the kernel makes up there is no part of a filesystem.
_MADE_UP = frozenset(("/proc", "/sys", "/dev"))
_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIR,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFIFO: FIFO,
    stat.S_IFCHR: CHAR,
    stat.S_IFBLK: BLOCK,
}
_NO_ROOT = os.stat_result((stat.S_IFDIR | 0o755, 0, 0, 1, 0, 0, 0, 0, 0, 0))


class Union:
    """A read-only view of layers, given lowest first by absolute paths that go through no link.

    None of the directories may change meanwhile.
    """

    def __init__(self, layer_dirs: Sequence[str]) -> None:
        # For each directory seen, where it is in the layers that show it, uppermost first.
        self._where: dict[str, tuple[str, ...]] = {"": tuple(root.rstrip("/") for root in reversed(layer_dirs))}
        self._host = "/" in layer_dirs

    def lookup(self, path: str, follow: bool = True) -> Node | None:
        """What is at a path, None where there is nothing.

        Links in its directories are followed, in its last component only if
        `follow`. Raises `ContextError` for more than 40 links and for a
        directory that cannot be read.
        """
        parent, _, last = path.strip("/").rpartition("/")
        if not follow and parent in self._where and last not in ("", ".", ".."):
            return self._child(parent, last)
        waiting = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        nodes: list[Node] = [self._root()]
        links = 0
        while waiting:
            part = waiting.pop()
            if nodes[-1].kind != DIR:
                return None
            if part == "..":
                if len(nodes) > 1:
                    nodes.pop()
                continue
            node = self._child(nodes[-1].path, part)
            if node is None:
                return None
            if node.kind == SYMLINK and (waiting or follow):
                links += 1
                if links > _MAX_LINKS:
                    raise ContextError(f"{path} goes through more than {_MAX_LINKS} symbolic links")
                target = os.readlink(node.real)
                if target.startswith("/"):
                    del nodes[1:]
                waiting.extend([step for step in reversed(target.split("/")) if step not in ("", ".")])
                continue
            nodes.append(node)
        return nodes[-1]

    def listdir(self, path: str) -> list[str]:
        """The names in a directory (links followed), sorted by their bytes; empty where there is none."""
        node = self.lookup(path)
        if node is None or node.kind != DIR:
            return []
        return sorted_names(self._merged(self._where[node.path]))

    def read_file(self, path: str, limit: int) -> bytes | None:
        """The bytes of a regular file (links followed), None where there is none.

        Raises `ContextError` for more than `limit` bytes and for what cannot be read.
        """
        node = self.lookup(path)
        if node is None or node.kind != FILE:
            return None
        try:
            fd = os.open(node.real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(fd, "rb") as file:
                data = file.read(limit + 1)
        except OSError as problem:
            raise _unreadable(node.real, problem) from problem
        if len(data) > limit:
            raise ContextError(f"{path} has more than {limit} bytes", at=node.real)
        return data

    def xattrs(self, node: Node) -> tuple[tuple[str, bytes], ...]:
        """The xattrs of a node that a layer would keep, sorted."""
        return _xattrs(node.real) if node.real else ()

    def entry(self, node: Node) -> Entry:
        """A node as an entry of a layer."""
        return _entry(node.path, node.kind, node.stat, node.real)

    def walk(self, path: str) -> list[Entry]:
        """Everything below a directory (links in `path` followed), paths relative to it.

        In the order of `image.order`; names of one inode are one FILE and HARDLINKs to it.
        Sockets are left out. Empty where there is no directory. Raises `ContextError`
        for what cannot be read.
        """
        top = self.lookup(path)
        if top is None or top.kind != DIR:
            return []
        entries: list[Entry] = []
        links: dict[tuple[int, int], str] = {}
        pending = [("", self._where[top.path])]
        while pending:
            prefix, dirs = pending.pop()
            for name, (st, real, below) in self._merged(dirs).items():
                kind = _KINDS[stat.S_IFMT(st.st_mode)]
                inner = prefix + name
                if kind == DIR:
                    pending.append((f"{inner}/", below))
                elif kind == FILE and st.st_nlink > 1:
                    first = links.setdefault((st.st_dev, st.st_ino), inner)
                    if first is not inner:
                        entries.append(Entry(inner, HARDLINK, stat.S_IMODE(st.st_mode), target=first))
                        continue
                entries.append(_entry(inner, kind, st, real))
        return in_order(entries)

    # -- one directory -------------------------------------------------------

    def _root(self) -> Node:
        dirs = self._where[""]
        if not dirs:
            return Node("", DIR, _NO_ROOT, "")
        return Node("", DIR, os.stat(dirs[0] or "/"), dirs[0] or "/")

    def _child(self, parent: str, name: str) -> Node | None:
        """A name in a directory seen before; if it is a directory itself, it is remembered."""
        path = f"{parent}/{name}" if parent else name
        found: Node | None = None
        below: list[str] = []
        dirs = self._where[parent]
        for index, directory in enumerate(dirs):
            real = f"{directory}/{name}"
            try:
                st = os.lstat(real)
            except OSError as problem:
                if problem.errno in (errno.ENOENT, errno.ENAMETOOLONG):
                    continue
                raise _unreadable(real, problem) from problem
            kind = _KINDS.get(stat.S_IFMT(st.st_mode))
            if kind is None or _is_whiteout(st, real):
                break
            if found is None:
                found = Node(path, kind, st, real)
            if kind != DIR:
                break
            if not (self._host and real in _MADE_UP):
                below.append(real)
            if index + 1 < len(dirs) and _is_opaque(real):
                break
        if found is not None and found.kind == DIR:
            self._where[path] = tuple(below)
        return found

    def _merged(self, dirs: tuple[str, ...]) -> dict[str, tuple[os.stat_result, str, tuple[str, ...]]]:
        """What a directory shows: by name its stat, real path, and for a directory where it is in turn."""
        found: dict[str, tuple[os.stat_result, str, tuple[str, ...]] | None] = {}
        closed: set[str] = set()  # names that lower layers add nothing to
        for index, directory in enumerate(dirs):
            lowest = index + 1 == len(dirs)
            try:
                with os.scandir(directory or "/") as items:
                    for item in items:
                        name = item.name
                        if name in closed:
                            continue
                        st = item.stat(follow_symlinks=False)
                        real = f"{directory}/{name}"
                        if stat.S_ISDIR(st.st_mode):
                            before = found.get(name)
                            own = () if self._host and real in _MADE_UP else (real,)
                            found[name] = (st, real, own) if before is None else (*before[:2], before[2] + own)
                            if not lowest and _is_opaque(real):
                                closed.add(name)
                            continue
                        closed.add(name)
                        if name not in found:
                            hidden = stat.S_ISSOCK(st.st_mode) or _is_whiteout(st, real)
                            found[name] = None if hidden else (st, real, ())
            except OSError as problem:
                raise _unreadable(directory or "/", problem) from problem
        return {name: shown for name, shown in found.items() if shown is not None}


def _is_whiteout(st: os.stat_result, real: str) -> bool:
    if stat.S_ISCHR(st.st_mode):
        return st.st_rdev == 0
    if stat.S_ISREG(st.st_mode) and st.st_size == 0:
        return _xattr(real, prefix() + "whiteout") is not None
    return False


def _is_opaque(real: str) -> bool:
    return _xattr(real, prefix() + "opaque") == b"y"


def _xattr(real: str, name: str) -> bytes | None:
    try:
        return os.getxattr(real, name, follow_symlinks=False)
    except OSError:
        return None


def _xattrs(real: str) -> tuple[tuple[str, bytes], ...]:
    try:
        names = os.listxattr(real, follow_symlinks=False)
        return read_xattrs(real, names)[0] if names else ()
    except OSError as problem:
        if problem.errno == errno.ENOTSUP:
            return ()
        raise _unreadable(real, problem) from problem


def _entry(path: str, kind: str, st: os.stat_result, real: str) -> Entry:
    size = st.st_size if kind == FILE else 0
    target = os.readlink(real) if kind == SYMLINK else ""
    rdev = st.st_rdev if kind in (CHAR, BLOCK) else 0
    xattrs = _xattrs(real) if real else ()
    source = real if kind == FILE else ""
    mode = stat.S_IMODE(st.st_mode)
    return Entry(path, kind, mode, st.st_uid, st.st_gid, size, st.st_mtime_ns, target, rdev, xattrs, False, source)


def _unreadable(real: str, problem: OSError) -> ContextError:
    return ContextError(f"{real} cannot be read ({problem.strerror})", at=real)
