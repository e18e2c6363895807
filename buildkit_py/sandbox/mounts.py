"""The mounts that a spec asks for: binds, trees, tmpfs and files, each attached by descriptor.

Sources are opened before the root changes (`prepare`), targets are resolved
inside the new root (`attach`); no path is looked up twice.
"""

from __future__ import annotations

import os

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.failure import GIVE, SetupFailure, stage
from buildkit_py.sandbox.overlay import Overlays, open_directory, unique
from buildkit_py.sandbox.paths import MountPoints, open_inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.sandbox.spec import SandboxMount, SandboxSpec

NOSUID, NODEV, NOEXEC, RDONLY = (
    syscalls.MOUNT_ATTR_NOSUID,
    syscalls.MOUNT_ATTR_NODEV,
    syscalls.MOUNT_ATTR_NOEXEC,
    syscalls.MOUNT_ATTR_RDONLY,
)


class Prepared:
    """A detached mount and where it goes."""

    __slots__ = ("directory", "target", "tree")

    def __init__(self, tree: int, target: bytes, directory: bool) -> None:
        self.tree = tree
        self.target = target
        self.directory = directory

    def attach(self, points: MountPoints) -> None:
        """Raises `SetupFailure`."""
        fd = points.open(self.target, directory=self.directory)
        with stage("mount", self.target):
            syscalls.move_mount(self.tree, fd)
        os.close(fd)
        os.close(self.tree)


def make_tmpfs(attributes: int, options: dict[bytes, bytes]) -> int:
    """A detached tmpfs. Raises `OSError`."""
    return make_filesystem(b"tmpfs", attributes, options)


def make_filesystem(kind: bytes, attributes: int, options: dict[bytes, bytes]) -> int:
    """A detached new file system; an option with the value b"" is a flag. Raises `OSError`."""
    fs = syscalls.fsopen(kind)
    try:
        for key, value in options.items():
            if value:
                syscalls.fsconfig(fs, syscalls.FSCONFIG_SET_STRING, key, value)
            else:
                syscalls.fsconfig(fs, syscalls.FSCONFIG_SET_FLAG, key)
        syscalls.fsconfig(fs, syscalls.FSCONFIG_CMD_CREATE)
        return syscalls.fsmount(fs, attributes)
    finally:
        os.close(fs)


class Sources:
    """Makes the detached mounts. `scaffold` is a private attached tmpfs; `work` a directory on disk for writable
    trees, or "" to keep their writes in memory."""

    def __init__(self, scaffold: int, overlays: Overlays, work: str) -> None:
        self._scaffold = scaffold
        self._overlays = overlays
        self._work = work
        self._count = 0

    def all(self, spec: SandboxSpec) -> list[Prepared]:
        """The files of a spec's /etc and its mounts, in the order in which they are attached. Raises `SetupFailure`."""
        out = [self.prepare(mount) for mount in spec.mounts[: spec.below_etc]]
        attributes = 0 if spec.writable_etc else RDONLY
        for path, data in ((b"/etc/hosts", spec.hosts), (b"/etc/resolv.conf", spec.resolv_conf)):
            if data is not None:
                out.append(self.file(path, data, attributes=attributes))
        out.extend([self.prepare(mount) for mount in spec.mounts[spec.below_etc :]])
        return out

    def prepare(self, mount: SandboxMount) -> Prepared:
        """Raises `SetupFailure`."""
        target = encode(mount.target)
        if not target.startswith(b"/"):
            raise SetupFailure("mount: the target is not an absolute path", 0, mount.target)
        if not target.replace(b"/", b"").replace(b".", b""):
            raise SetupFailure("mount: the target is the root itself", 0, mount.target)
        if mount.kind == "bind":
            return self._bind(mount, target)
        if mount.kind == "tree":
            return self._tree(mount, target)
        if mount.kind == "tmpfs":
            return Prepared(self._tmpfs(mount), target, True)
        if mount.kind == "file":
            attributes = RDONLY if mount.read_only else 0
            return self.file(target, mount.data, mount.mode, mount.uid, mount.gid, attributes)
        raise SetupFailure(f"mount: unknown kind {mount.kind}", 0, mount.target)

    def file(
        self, target: bytes, data: bytes, mode: int = 0o644, uid: int = 0, gid: int = 0, attributes: int = RDONLY
    ) -> Prepared:
        """A file of our own on a tmpfs that nothing else is on the visible part of."""
        name = b"file-%d" % self._next()
        with stage("make the file for", target):
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._scaffold)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            with stage(f"{GIVE} {uid}:{gid}", target):
                os.fchown(fd, uid, gid)
            os.fchmod(fd, mode)
            os.close(fd)
            tree = syscalls.open_tree(self._scaffold, name, syscalls.OPEN_TREE_CLONE)
            # A file whose mode says that it is a program is run: a heredoc with `#!` is.
            runs = 0 if mode & 0o111 else NOEXEC
            syscalls.mount_setattr(tree, NOSUID | NODEV | runs | attributes)
        return Prepared(tree, target, False)

    def _bind(self, mount: SandboxMount, target: bytes) -> Prepared:
        source = encode(mount.source)
        flags = syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE
        with stage("bind", source):
            tree = syscalls.open_tree(syscalls.AT_FDCWD, source, flags)
            syscalls.mount_setattr(tree, NODEV | (RDONLY if mount.read_only else 0), recursive=True)
        return Prepared(tree, target, _is_directory(tree))

    def _tree(self, mount: SandboxMount, target: bytes) -> Prepared:
        number = self._next()
        place = b"tree-%d" % number
        empty = (b"empty-%d" % number, b"void-%d" % number)  # two: an overlay without upper wants two lowers
        with stage("mount the tree for", target):
            for name in (place, *empty):
                os.mkdir(name, 0o755, dir_fd=self._scaffold)
            lowers = [os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._scaffold) for name in empty]
        lowers += [open_directory(layer, "the layer") for layer in unique(mount.layers)]
        upper = work = -1
        if not mount.read_only:
            upper, work = self._dropped(number)
        attributes = NODEV | (RDONLY if mount.read_only else 0)
        tree = self._overlays.mount(lowers, upper=upper, work=work, volatile=True, attributes=attributes)
        path = encode(mount.path)
        if path.strip(b"/"):
            with stage("find in the mounted tree", path):
                syscalls.move_mount(tree, self._scaffold, place)
                inside = open_inside(tree, path)
                os.close(tree)
                tree = syscalls.open_tree(inside, b"", syscalls.AT_EMPTY_PATH | syscalls.OPEN_TREE_CLONE)
                os.close(inside)
        return Prepared(tree, target, _is_directory(tree))

    def _dropped(self, number: int) -> tuple[int, int]:
        """An upper and a work directory for writes that nobody wants."""
        base = self._scaffold
        if self._work:
            base = open_directory(self._work, "the work directory")
        out = []
        with stage("make directories in", self._work):
            for name in (b"tree-%d-upper" % number, b"tree-%d-work" % number):
                os.mkdir(name, 0o755, dir_fd=base)
                out.append(os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=base))
        if base != self._scaffold:
            os.close(base)
        return out[0], out[1]

    def _tmpfs(self, mount: SandboxMount) -> int:
        options = {b"mode": b"%o" % mount.mode, b"uid": b"%d" % mount.uid, b"gid": b"%d" % mount.gid}
        if limit := mount.limit:
            options[b"size"] = limit.encode()
        attributes = NOSUID | NODEV | (0 if mount.executable else NOEXEC)
        with stage("mount a tmpfs on", mount.target):
            return make_tmpfs(attributes, options)

    def _next(self) -> int:
        self._count += 1
        return self._count


def encode(text: str) -> bytes:
    """A path or argument as the bytes it stands for. Raises `SetupFailure` for one that no system call takes."""
    if "\0" in text:
        raise SetupFailure("a path or argument contains a NUL character", 0, text.replace("\0", "\\0"))
    return text.encode("utf-8", "surrogateescape")


def _is_directory(fd: int) -> bool:
    return os.fstat(fd).st_mode & 0o170000 == 0o040000
