"""Writing entries below a directory, in overlay form, and never outside of it.

Directories get their mode, owner and times last, deepest first: until then
they must be writable, and every file put into them changes their time.
"""

from __future__ import annotations

import errno
import os
import stat

from buildkit_py.errors import SandboxError, SourceError
from buildkit_py.image.directories import Directories
from buildkit_py.image.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, WHITEOUT, Entry
from buildkit_py.image.small_files import MOST_BYTES, MOST_FILES, SmallFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from buildkit_py.image.small_files import SmallFile

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40
_IMPLIED_MODE = 0o755
# Stands in `made` for files whose attributes nobody asked to keep.
_SOME_FILE = Entry("", FILE)


class TreeWriter:
    """Makes what entries say, below `dest`. Use as a context manager; `finish` at the end.

    A later entry of the same path replaces the earlier one. `made` holds, by
    path, what is there; `replaced` says that something was made twice.
    """

    def __init__(self, dest: str, *, userxattr: bool, devices: bool, ignore_owners: bool) -> None:
        self._directories = Directories(dest)
        self._link_sources = Directories(dest)
        self._opaque = "user.overlay.opaque" if userxattr else "trusted.overlay.opaque"
        self._devices = devices
        self._ignore_owners = ignore_owners
        self._me = os.geteuid(), os.getegid()
        self._umask = _umask()
        self._batch: list[SmallFile] = []  # of the directory `self._fd`
        self._held = 0  # bytes in it
        self._small_files = SmallFiles(self._me, self._umask)
        self._late: dict[str, Entry] = {}  # directories whose attributes wait for the end
        self._real: dict[str, str] = {}  # parents that lead through a link, and where to
        self._whiteouts: set[str] = set()
        self._unmade: dict[str, set[str]] = {}  # by directory: devices in `made` that this process could not make
        self._parent: str | None = None
        self._fd = -1
        self.made: dict[str, Entry] = {}
        self.replaced = False
        self.bytes = 0
        self.owners_lost = 0
        self.devices_lost = 0

    def __enter__(self) -> TreeWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._small_files.close()
        self._directories.close()
        self._link_sources.close()

    # -- one entry -----------------------------------------------------------

    def small_file(self, parent: str, item: SmallFile) -> None:
        """An ordinary file in one piece, in a directory: like `file` without anything rare, for there are many of them.

        It is there after the next call of another method.
        """
        name = item[0]
        path = f"{parent}/{name}" if parent else name
        batch = self._batch
        if parent != self._parent or path in self.made or len(batch) >= MOST_FILES or self._held >= MOST_BYTES:
            self._settle()
            path = self._enter(Entry(path, FILE), parent)[0]
            if path in self.made:
                self._clear(name, path)
        if not name:
            raise SourceError("the archive has a file without a name")
        self._batch.append(item)
        self._held += len(item[5])
        self.made[path] = _SOME_FILE

    def small_files(self, parent: str, items: Sequence[SmallFile]) -> None:
        """Several of them in one directory, no more than make a batch. Where all are new, they go at once."""
        if parent == self._parent:
            size = sum([len(item[5]) for item in items])
            if len(self._batch) + len(items) > MOST_FILES or self._held + size > MOST_BYTES:
                self._settle()
            prefix = f"{parent}/" if parent else ""
            paths = dict.fromkeys([prefix + item[0] for item in items], _SOME_FILE)
            if len(paths) == len(items) and self.made.keys().isdisjoint(paths):
                self._batch += items
                self._held += size
                self.made.update(paths)
                return
        for item in items:
            self.small_file(parent, item)

    def _settle(self, *, wait: bool = False) -> None:
        """Hand over the collected small files; with `wait` have them all on disk."""
        if self._batch:
            batch, self._batch = self._batch, []
            self.bytes += self._held
            self._held = 0
            self._small_files.add(self._fd, batch)
        if wait:
            refused = self._small_files.wait()
            for name, _, uid, gid, _, _ in refused:
                self._owner_problem(Entry(name, FILE, 0, uid, gid), OSError(errno.EPERM, ""))

    def _have(self, path: str) -> None:
        """Have a small file on disk that is to be at this path, before anything else is made there: the second process
        may not have come to it.
        """
        if self.made.get(path) is _SOME_FILE:
            self._settle(wait=True)

    def file(self, entry: Entry, pieces: Iterable[bytes | memoryview]) -> str:
        """A FILE with its bytes; the path it really got."""
        self._settle()
        path, _, mode, uid, gid, _, mtime, *_ = entry
        parent, _, name = path.rpartition("/")
        if parent != self._parent:
            entry = self._enter(entry, parent)
            path = entry[0]
        if not name:
            raise SourceError("the archive has a file without a name")
        self._have(path)
        try:
            fd = os.open(name, _CREATE, mode & 0o777, dir_fd=self._fd)
        except FileExistsError:
            self._clear(name, path)
            fd = os.open(name, _CREATE, mode & 0o777, dir_fd=self._fd)
        try:
            for piece in pieces:
                done = os.write(fd, piece)
                while done < len(piece):
                    done += os.write(fd, memoryview(piece)[done:])
                self.bytes += done
            has = mode & 0o777 & ~self._umask
            if (uid, gid) != self._me:
                self._chown(fd, entry)
                has = -1  # chown takes set-id bits away
            if has != mode:
                os.fchmod(fd, mode)
            if entry[9]:
                self._set_xattrs(f"/proc/self/fd/{fd}", entry)
            os.utime(fd, ns=(mtime, mtime))
        finally:
            os.close(fd)
        self.made[path] = entry
        return path  # type: ignore[no-any-return]

    def file_digest(self, path: str, digest: bytes) -> None:
        """Say afterwards what the bytes of the file last made were."""
        self.made[path] = self.made[path]._replace(digest=digest)

    def other(self, entry: Entry) -> None:
        """Any entry but a FILE."""
        self._settle()
        kind = entry.kind
        if kind == DIR:
            self._directory(entry)
            return
        parent, _, name = entry.path.rpartition("/")
        if not name:
            raise SourceError("the archive replaces its own root")
        if kind == HARDLINK:
            # Before the link's own directory becomes the current one, for this may go elsewhere.
            above, _, last = entry.target.rpartition("/")
            above = self._resolve(above, make=False)
            entry = entry._replace(target=f"{above}/{last}" if above else last)
        entry = self._enter(entry, parent)
        self._have(entry.path)
        if kind == WHITEOUT:
            self._whiteout(entry, name)
        elif kind == HARDLINK:
            self._link(entry, name)
        elif kind == SYMLINK:
            self._anew(entry, name, lambda: os.symlink(entry.target, name, dir_fd=self._fd))
            self._finish_special(entry, name)
        elif kind == FIFO:
            self._anew(entry, name, lambda: os.mkfifo(name, 0o600, dir_fd=self._fd))
            self._finish_special(entry, name)
        elif kind in (CHAR, BLOCK):
            if not self._devices:
                self._lose(entry)
                return
            mode = 0o600 | (stat.S_IFCHR if kind == CHAR else stat.S_IFBLK)
            self._anew(entry, name, lambda: os.mknod(name, mode, entry.rdev, dir_fd=self._fd))
            self._finish_special(entry, name)
        else:
            raise ValueError(f"no such kind of entry: {kind!r}")

    def opaque(self, path: str) -> None:
        """Hide what lower layers have in a directory of this layer."""
        self._settle()
        where = self._enter(Entry(f"{path}/x", DIR), path).path.rpartition("/")[0]
        if not where:
            raise SourceError("the layer hides the whole root of the layers below it, which an overlay cannot do")
        os.setxattr(f"/proc/self/fd/{self._fd}", self._opaque, b"y")
        self._late[where] = self._late[where]._replace(opaque=True)
        self.made[where] = self._late[where]

    def finish(self) -> None:
        """Give the directories their attributes."""
        self._settle(wait=True)
        for path in reversed(list(self._late)):
            entry = self._late[path]
            parent, _, name = path.rpartition("/")
            fd = self._directories.at(parent)
            name = name or "."
            if (entry.uid, entry.gid) != self._me:
                self._chown_name(fd, name, entry)
            os.chmod(name, entry.mode, dir_fd=fd)
            if entry.xattrs:
                self._set_xattrs(f"/proc/self/fd/{fd}/{name}", entry)
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=fd, follow_symlinks=False)
        self._late.clear()

    # -- kinds ---------------------------------------------------------------

    def _directory(self, entry: Entry) -> None:
        path = entry.path
        if path:
            parent, _, name = path.rpartition("/")
            entry = self._enter(entry, parent)
            path = entry.path
            self._have(path)
            hides = path in self._whiteouts
            try:
                os.mkdir(name, 0o700, dir_fd=self._fd)
            except FileExistsError:
                if not _is_directory(name, self._fd):
                    self._clear(name, path)
                    os.mkdir(name, 0o700, dir_fd=self._fd)
            if hides:
                os.setxattr(f"/proc/self/fd/{self._fd}/{name}", self._opaque, b"y")
                entry = entry._replace(opaque=True)
        before = self._late.get(path)
        if before is not None and before.opaque:
            entry = entry._replace(opaque=True)
        self._late[path] = entry
        if path:
            self.made[path] = entry

    def _whiteout(self, entry: Entry, name: str) -> None:
        path = entry.path
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=self._fd)
        except FileExistsError:
            # What this layer has itself stays: a whiteout is about the layers below.
            if _is_directory(name, self._fd):
                self.opaque(path)
            return
        self._whiteouts.add(path)
        self.made[path] = entry

    def _link(self, entry: Entry, name: str) -> None:
        there = self.made.get(entry.target)
        if there is None or there.kind in (DIR, WHITEOUT):
            raise SourceError(f"{entry.path} in the archive is a hard link to {entry.target}, which is no file of it")
        if entry.target == entry.path:
            return
        if entry.target.startswith(f"{entry.path}/"):
            raise SourceError(f"{entry.path} in the archive is a hard link to what it would replace")
        self._settle(wait=True)
        if there.kind in (CHAR, BLOCK) and not self._devices:
            self._lose(there._replace(path=entry.path))
        else:
            above, _, last = entry.target.rpartition("/")
            self._anew(
                entry,
                name,
                lambda: os.link(
                    last,
                    name,
                    src_dir_fd=self._link_sources.at(above),
                    dst_dir_fd=self._fd,
                    follow_symlinks=False,
                ),
            )
            self.made[entry.path] = entry if there.kind in (FILE, HARDLINK) else there._replace(path=entry.path)

    def _lose(self, device: Entry) -> None:
        self.devices_lost += 1
        self.made[device.path] = device
        self._unmade.setdefault(device.path.rpartition("/")[0], set()).add(device.path)

    def _anew(self, entry: Entry, name: str, make: Callable[[], None]) -> None:
        try:
            make()
        except FileExistsError:
            self._clear(name, entry.path)
            make()

    def _finish_special(self, entry: Entry, name: str) -> None:
        if (entry.uid, entry.gid) != self._me:
            self._chown_name(self._fd, name, entry)
        if entry.kind != SYMLINK:
            os.chmod(name, entry.mode, dir_fd=self._fd)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=self._fd, follow_symlinks=False)
        self.made[entry.path] = entry

    # -- places --------------------------------------------------------------

    def _enter(self, entry: Entry, parent: str) -> Entry:
        """Make `parent` the current directory; the entry with the path it really gets."""
        if parent != self._parent:
            real = self._real.get(parent)
            if real is None:
                try:
                    self._fd = self._directories.at(parent)
                    real = parent
                except OSError as problem:
                    if problem.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                        raise
                    real = self._resolve(parent, make=True)
                    self._real[parent] = real
            self._fd = self._directories.at(real)
            # Only a plain parent is remembered as current: behind a link the entry's path must change too.
            self._parent = parent if real == parent else None
            if real != parent:
                name = entry.path.rpartition("/")[2]
                return entry._replace(path=f"{real}/{name}" if real else name)
        return entry

    def _resolve(self, path: str, *, make: bool) -> str:
        """Where a directory's path leads, links followed inside the destination; missing ones made, if asked."""
        waiting = path.split("/")[::-1] if path else []
        done: list[str] = []
        links = 0
        while waiting:
            part = waiting.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if done:
                    done.pop()
                continue
            here = "/".join(done)
            whole = f"{here}/{part}" if here else part
            self._have(whole)
            fd = self._directories.at(here)
            self._parent = None
            try:
                mode = os.stat(part, dir_fd=fd, follow_symlinks=False).st_mode
            except FileNotFoundError:
                mode = 0
            if stat.S_ISLNK(mode):
                links += 1
                if links > _MAX_LINKS:
                    raise SourceError(f"{path} in the archive goes through more than {_MAX_LINKS} links")
                target = os.readlink(part, dir_fd=fd)
                if target.startswith("/"):
                    done.clear()
                waiting.extend(target.split("/")[::-1])
                continue
            if not stat.S_ISDIR(mode):
                hidden = whole in self._whiteouts
                if not make or (mode and not hidden):
                    raise SourceError(f"{path} in the archive goes through {whole}, which is no directory")
                if mode:
                    self._fd = fd
                    self._clear(part, whole)
                    fd = self._fd
                os.mkdir(part, 0o700, dir_fd=fd)
                if hidden:
                    os.setxattr(f"/proc/self/fd/{fd}/{part}", self._opaque, b"y")
                self._late[whole] = self.made[whole] = Entry(whole, DIR, _IMPLIED_MODE, opaque=hidden)
            done.append(part)
        return "/".join(done)

    def _clear(self, name: str, path: str) -> None:
        """Remove what is at a name of the current directory, with everything below it."""
        self._settle(wait=True)
        self.replaced = True
        try:
            is_directory = _is_directory(name, self._fd)
        except FileNotFoundError:  # one of `_unmade`
            self._forget(path)
            return
        self._remove(name, self._fd, path, is_directory)
        # Open descriptors and resolved links may lead to what is gone.
        self._real.clear()
        parent = path.rpartition("/")[0]
        self._link_sources.forget()
        self._directories.forget()
        self._fd = self._directories.at(parent)

    def _remove(self, name: str, fd: int, path: str, is_directory: bool) -> None:
        """Remove what is at a name, a directory with everything in it, following nothing; it is known no more.

        What is known of it is found by what there is: to go through all that is known is long, where much is replaced.
        """
        if not is_directory:
            os.unlink(name, dir_fd=fd)
            self._forget(path)
            return
        child = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        try:
            with os.scandir(child) as found:
                items = [(item.name, item.is_dir(follow_symlinks=False)) for item in found]
            for item in items:
                self._remove(item[0], child, f"{path}/{item[0]}", item[1])
        finally:
            os.close(child)
        os.rmdir(name, dir_fd=fd)
        for device in self._unmade.pop(path, ()):
            self._forget(device)
        self._forget(path)

    def _forget(self, path: str) -> None:
        self.made.pop(path, None)
        self._late.pop(path, None)
        self._whiteouts.discard(path)

    # -- attributes ----------------------------------------------------------

    def _chown(self, fd: int, entry: Entry) -> None:
        try:
            os.fchown(fd, entry.uid, entry.gid)
        except OSError as problem:
            self._owner_problem(entry, problem)

    def _chown_name(self, fd: int, name: str, entry: Entry) -> None:
        try:
            os.chown(name, entry.uid, entry.gid, dir_fd=fd, follow_symlinks=False)
        except OSError as problem:
            self._owner_problem(entry, problem)

    def _owner_problem(self, entry: Entry, problem: OSError) -> None:
        # EINVAL: the user namespace does not map the id. EPERM: no capability.
        if problem.errno not in (errno.EINVAL, errno.EPERM):
            raise problem
        if not self._ignore_owners:
            raise SandboxError(
                f"{entry.path} belongs to {entry.uid}:{entry.gid}, which this process cannot give it",
                hint="run as root, or with a range of so many ids in /etc/subuid and /etc/subgid",
            ) from problem
        self.owners_lost += 1

    def _set_xattrs(self, path: str, entry: Entry) -> None:
        for name, value in entry.xattrs:
            try:
                os.setxattr(path, name, value)
            except OSError as problem:
                if problem.errno == errno.ENOTSUP:
                    continue  # as docker does: a filesystem without user xattrs still runs most images
                self._owner_problem(entry, problem)


def _umask() -> int:
    """This process's umask, read and not set: other threads create files meanwhile."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0o777


def _is_directory(name: str, fd: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
