"""Removing a directory tree, whatever a build step left in it.

Never follows a symbolic link, opens no path with more than one component,
needs two file descriptors for a tree of any depth, and gets past directories
that their owner may not read. Each subdirectory is first moved up next to the
root of the tree and then emptied there, so there is nothing to recurse into.
"""

from __future__ import annotations

import errno
import os

_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DENIED = (errno.EACCES, errno.EPERM)


def remove_tree(path: str) -> None:
    """Remove a file, a link or a whole directory; nothing there is fine.

    The directory that holds `path` must be the caller's own: subdirectories
    pass through it under random names. Raises `OSError` for what cannot be
    removed (an immutable file, a mount point, an owner outside this user
    namespace); what was removed by then stays removed.
    """
    parent, name = os.path.split(path)
    try:
        top = os.open(parent or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        pending = [name]
        while pending:
            _remove(top, pending.pop(), pending)
    except OSError as problem:
        if problem.filename is not None:  # a name relative to a descriptor tells a person nothing
            problem.filename = path
        raise
    finally:
        os.close(top)


def _remove(top: int, name: str, pending: list[str]) -> None:
    fd = _open(top, name)
    if fd < 0:
        return
    try:
        while True:
            progress = False
            with os.scandir(fd) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if _is_removed(fd, entry.name):
                            progress = True
                            continue
                        moved = os.urandom(8).hex()
                        _move(fd, entry.name, top, moved)
                        pending.append(moved)
                    else:
                        _unlink(fd, entry.name)
                    progress = True
            try:
                os.rmdir(name, dir_fd=top)
                return
            except FileNotFoundError:
                return
            except OSError as problem:
                # Some filesystems skip entries when a directory shrinks while it is read: look again.
                if problem.errno != errno.ENOTEMPTY or not progress:
                    raise
    finally:
        os.close(fd)


def _is_removed(parent: int, name: str) -> bool:
    """Whether a directory was empty, and is gone."""
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError:
        return False
    return True


def _open(top: int, name: str) -> int:
    """A descriptor for the directory, or -1 if it was no directory (then it is removed) or is gone."""
    for attempt in (1, 2):
        try:
            return os.open(name, _OPEN_DIR, dir_fd=top)
        except FileNotFoundError:
            return -1
        except OSError as problem:
            if problem.errno in (errno.ENOTDIR, errno.ELOOP):
                _unlink(top, name)
                return -1
            if problem.errno not in _DENIED or attempt == 2:
                raise
            _make_ours(top, name)
    raise AssertionError("unreachable")


def _unlink(parent: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except OSError as problem:
        if problem.errno not in _DENIED:
            raise
        os.fchmod(parent, 0o700)
        os.unlink(name, dir_fd=parent)


def _move(parent: int, name: str, top: int, new: str) -> None:
    try:
        os.rename(name, new, src_dir_fd=parent, dst_dir_fd=top)
    except OSError as problem:
        if problem.errno not in _DENIED:
            raise
        # The directory must be writable itself, because its `..` changes (rename(2), EACCES).
        os.fchmod(parent, 0o700)
        _make_ours(parent, name)
        os.rename(name, new, src_dir_fd=parent, dst_dir_fd=top)


def _make_ours(parent: int, name: str) -> None:
    """Mode 0700 for a directory that cannot be opened, without following a link that took its place."""
    fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{fd}", 0o700)  # fchmod(2) refuses O_PATH descriptors
    finally:
        os.close(fd)
