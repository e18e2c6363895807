"""The root filesystem of a sandbox: an overlay of its layers, or of this machine's own root.

Below all layers lies a skeleton: the mount points that the sandbox needs.
It shows through only where no layer has the path, and because it is a lower
directory, nothing of it can end up in the step's own layer.
"""

from __future__ import annotations

import os

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.failure import SetupFailure, stage
from buildkit_py.sandbox.mounts import NODEV, RDONLY, encode
from buildkit_py.sandbox.overlay import Overlays, open_directory, unique
from buildkit_py.sandbox.paths import Stub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.sandbox.spec import RootFilesystem

# Of a host root, these start empty: their contents are private, or belong to the running system.
_FRESH = {b"tmp": 0o1777, b"home": 0o755, b"root": 0o700, b"run": 0o755}
_KERNEL = (b"proc", b"sys", b"dev")
# Without these of a host root nothing runs, so that leaving one out would only put off the error.
_NEEDED = {b"usr", b"etc", b"bin", b"sbin", b"lib", b"lib32", b"lib64"}
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Root:
    """A mounted root. `tree` is its descriptor, `stubs` what was put into the upper directory to hold mounts."""

    __slots__ = ("stubs", "tree")

    def __init__(self, tree: int, stubs: list[Stub]) -> None:
        self.tree = tree
        self.stubs = stubs


def mount_root(
    spec: RootFilesystem,
    scaffold: int,
    overlays: Overlays,
    points: list[tuple[bytes, bool]],
    *,
    user_namespace: bool,
    devices: bool = False,
) -> Root:
    """Mount the root at `root` on the scaffold. `points` are mount points to expect: path and whether a directory.

    With `devices` the nodes of devices in it can be opened.

    Raises `SetupFailure`.
    """
    with stage("make the skeleton of", "/"):
        for name in (b"skeleton", b"root"):
            os.mkdir(name, 0o755, dir_fd=scaffold)
        skeleton = os.open(b"skeleton", _DIRECTORY, dir_fd=scaffold)
        for path, directory in points:
            _make_skeleton(skeleton, path, directory)
    stubs: list[Stub] = []
    names: list[bytes] = []
    lowers = [skeleton]
    if spec.host and user_namespace:
        names = _copy_top_level(skeleton)
    elif spec.host:
        lowers += [open_directory("/", "this machine's root"), _make_fresh(scaffold)]
        if spec.layers and os.stat(spec.layers[0]).st_dev == os.stat("/").st_dev:
            lowers = [overlays.group(lowers)]
    layers = unique(spec.layers)
    overlays.check(len(lowers) + len(layers))
    lowers += [open_directory(layer, "the layer") for layer in layers]
    if len(lowers) == 1:  # an overlay without upper wants two
        lowers.append(_empty(scaffold, b"nothing"))
    upper = work = -1
    if spec.upper:
        upper, work = open_directory(spec.upper, "the upper directory"), _work_directory(spec, b"root")
    attributes = (0 if devices else NODEV) | (0 if spec.upper else RDONLY)
    tree = overlays.mount(lowers, upper=upper, work=work, volatile=spec.volatile, attributes=attributes)
    with stage("mount", "/"):
        syscalls.move_mount(tree, scaffold, b"root")
    for name in names:
        _mount_host_directory(spec, scaffold, overlays, tree, name, stubs)
    return Root(tree, stubs)


def _empty(scaffold: int, name: bytes) -> int:
    with stage("make an empty directory", name):
        os.mkdir(name, 0o755, dir_fd=scaffold)
        return os.open(name, _DIRECTORY, dir_fd=scaffold)


def _make_skeleton(skeleton: int, path: bytes, directory: bool) -> None:
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if not parts or b".." in parts or (parts[0] in _KERNEL and len(parts) > 1):
        return  # made when the mount is attached
    here = b""
    for position, part in enumerate(parts):
        here = here + b"/" + part if here else part
        try:
            if directory or position < len(parts) - 1:
                os.mkdir(here, 0o755, dir_fd=skeleton)
            else:
                os.close(os.open(here, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644, dir_fd=skeleton))
        except (FileExistsError, IsADirectoryError):
            continue
        except NotADirectoryError:
            return


def _work_directory(spec: RootFilesystem, name: bytes) -> int:
    work = open_directory(spec.work, "the work directory")
    try:
        with stage("make a directory in", spec.work):
            os.mkdir(name, 0o700, dir_fd=work)
            return os.open(name, _DIRECTORY, dir_fd=work)
    finally:
        os.close(work)


def _make_fresh(scaffold: int) -> int:
    """A layer of opaque empty directories over a host root's private ones."""
    with stage("make the layer over", "this machine's root"):
        os.mkdir(b"fresh", 0o755, dir_fd=scaffold)
        fresh = os.open(b"fresh", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=scaffold)
        for name, mode in _FRESH.items():
            os.mkdir(name, mode, dir_fd=fresh)
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fresh)
            os.fchmod(fd, mode)
            os.setxattr(fd, "trusted.overlay.opaque", b"y")
            os.close(fd)
    return fresh


def _copy_top_level(skeleton: int) -> list[bytes]:
    """Put the names of / into the skeleton; the directories of which an overlay is to be mounted.

    In a user namespace the kernel refuses / itself as a lower directory, since
    mounts on it are locked. A directory with mounts below it is refused for the
    same reason and left empty.
    """
    with stage("read", "/proc/self/mountinfo"):
        fd = os.open(b"/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        data = b""
        while chunk := os.read(fd, 1 << 16):
            data += chunk
        os.close(fd)
    mounted = {line.split(b" ")[4].split(b"/")[1] for line in data.splitlines()}
    names = []
    with stage("read", "/"):
        for entry in os.scandir(b"/"):
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), entry.name, dir_fd=skeleton)
            elif entry.is_dir() and entry.name not in _KERNEL:
                mode = _FRESH.get(entry.name, entry.stat().st_mode & 0o7777)
                try:
                    os.mkdir(entry.name, mode, dir_fd=skeleton)
                except FileExistsError:
                    pass  # holds a mount point already
                os.chmod(entry.name, mode, dir_fd=skeleton)
                if entry.name in mounted and entry.name in _NEEDED:
                    raise SetupFailure(
                        "use this machine's root: something is mounted below a directory that it needs "
                        "(as an ordinary user; root can)",
                        0,
                        entry.path.decode(),
                    )
                if entry.name not in _FRESH and entry.name not in mounted and os.access(entry.path, os.R_OK):
                    names.append(entry.name)
    return sorted(names)


def _mount_host_directory(
    spec: RootFilesystem, scaffold: int, overlays: Overlays, root: int, name: bytes, stubs: list[Stub]
) -> None:
    lowers = [open_directory("/" + os.fsdecode(name), "this machine's directory")]
    status = os.fstat(lowers[0])
    if any(encode(layer).startswith(b"/" + name + b"/") for layer in spec.layers):
        lowers = [overlays.group([_empty(scaffold, b"under-" + name), *lowers])]
    for layer in unique(spec.layers):
        try:
            lowers.append(os.open(encode(layer) + b"/" + name, _DIRECTORY | os.O_NOFOLLOW))
        except (FileNotFoundError, NotADirectoryError):
            continue
    upper = work = -1
    if spec.upper:
        path = encode(spec.upper) + b"/" + name
        with stage("make the directory", path):
            try:
                os.mkdir(path, 0o755)
                os.chmod(path, status.st_mode & 0o7777)
                stubs.append(("copied", name, status.st_mode, os.geteuid(), os.getegid()))
            except FileExistsError:
                pass
            upper = os.open(path, _DIRECTORY | os.O_NOFOLLOW)
        work = _work_directory(spec, b"dir-" + name)
    elif len(lowers) == 1:
        lowers.insert(0, _empty(scaffold, b"below-" + name))
    attributes = NODEV if spec.upper else NODEV | RDONLY
    tree = overlays.mount(lowers, upper=upper, work=work, volatile=spec.volatile, attributes=attributes)
    with stage("mount", name):
        syscalls.move_mount(tree, root, name)
    os.close(tree)
