"""Places: where a path of a copy leads, on this machine or in a container, as descriptors and never as a path again.

A path in a container is resolved by the kernel below the container's root,
which it cannot leave, and no magic link of /proc is followed (openat2(2),
RESOLVE_IN_ROOT). One of this machine leads where it always does.
"""

from __future__ import annotations

import os
import posixpath
import stat

from buildkit_py.errors import UsageError
from buildkit_py.record import Record
from buildkit_py.sandbox.paths import open_inside

_MOST_LINKS = 40
_LEAF = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Root(Record):
    """A root that paths are resolved below: its descriptor, and whether it is a container's. `called` is for people."""

    fd: int
    container: bool
    called: str

    def open(self, path: str, flags: int = os.O_PATH) -> int:
        """Open a path, links followed. Raises `OSError`."""
        if not self.container:
            return os.open(path.lstrip("/") or ".", flags | os.O_CLOEXEC, dir_fd=self.fd)
        return open_inside(self.fd, os.fsencode(path), flags)

    def name(self, path: str) -> str:
        """A path as a person wrote it, with the container's name."""
        return f"{self.called}:{path}" if self.called else path

    def problem(self, problem: OSError, path: str) -> UsageError:
        """The error for a path that leads nowhere."""
        if isinstance(problem, FileNotFoundError):
            return UsageError(f"there is no `{self.name(path)}`")
        return UsageError(f"`{self.name(path)}` cannot be reached: {(problem.strerror or str(problem)).lower()}")


class Given(Record):
    """What is to be copied: its O_PATH descriptor, the name that it keeps, and whether only its contents are meant."""

    fd: int
    name: str
    contents: bool


class Destination(Record):
    """Where to: the directory `fd`, in which the thing is called `name`; "" for its own name.

    `directory`: a directory is there already, and it is `fd`.
    """

    fd: int
    name: str
    directory: bool


def given(root: Root, path: str, *, follow: bool) -> Given:
    """What an absolute path names. Raises `UsageError` where there is nothing.

    With `follow` a link stands for what it leads to. A path that ends in a slash is a directory's, and one
    that ends in `/.` means what is in it, as for docker.
    """
    parent, name, directory = _split(path)
    contents = path.rstrip("/").rpartition("/")[2] in (".", "")
    try:
        if directory:
            fd = root.open(path, os.O_PATH | os.O_DIRECTORY)
        else:
            above = root.open(parent, os.O_PATH | os.O_DIRECTORY)
            try:
                fd = os.open(name, _LEAF, dir_fd=above)
            finally:
                os.close(above)
            if follow and stat.S_ISLNK(os.fstat(fd).st_mode):
                os.close(fd)
                fd = root.open(path)
    except OSError as problem:
        raise root.problem(problem, path) from problem
    return Given(fd, posixpath.basename(posixpath.normpath(path)), contents)


def destination(root: Root, path: str, *, tree: bool) -> Destination:
    """Where an absolute path leads to, as a place for a directory (`tree`) or for anything else, by docker's rules.

    Raises `UsageError` where it cannot be a place for that.
    """
    shown, links = path, 0
    while True:
        parent, name, directory = _split(path)
        try:
            above = root.open(parent, os.O_PATH | os.O_DIRECTORY)
        except OSError as problem:
            raise root.problem(problem, parent) from problem
        try:
            fd = os.open(name or ".", _LEAF, dir_fd=above) if name not in ("", ".", "..") else root.open(path)
        except FileNotFoundError:
            if directory and not tree:
                os.close(above)
                raise UsageError(
                    f"there is no directory `{root.name(shown)}`", hint="make it first, or leave the last slash out"
                ) from None
            return Destination(above, name, False)
        except OSError as problem:
            os.close(above)
            raise root.problem(problem, path) from problem
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            os.close(above)
            return Destination(fd, "", True)
        if stat.S_ISLNK(mode):
            target = os.readlink("", dir_fd=fd)
            links += 1
            os.close(fd)
            os.close(above)
            if links > _MOST_LINKS:
                raise UsageError(f"`{root.name(shown)}` goes through more than {_MOST_LINKS} links")
            path = posixpath.join(parent, target) + ("/" if directory else "")
            continue
        os.close(fd)
        if tree or directory:
            os.close(above)
            what = ", over which no directory can be copied" if tree else " and no directory"
            raise UsageError(f"`{root.name(shown)}` is a file{what}")
        if not stat.S_ISREG(mode):
            os.close(above)
            raise UsageError(
                f"`{root.name(shown)}` is neither a file nor a directory", hint="`-` is standard output, as a tar"
            )
        return Destination(above, name, False)


def _split(path: str) -> tuple[str, str, bool]:
    """The path of the directory that the last name of a path is in, that name, and whether it must be a directory's.

    The name is "", "." or ".." where the path has no other at its end.
    """
    bare = path.rstrip("/")
    while bare.endswith("/."):
        bare = bare[:-2].rstrip("/")
    parent, slash, name = bare.rpartition("/")
    return parent + slash or "/", name, bare != path or name in ("", ".", "..")
