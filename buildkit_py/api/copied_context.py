"""A copied context: the same names, bytes and modes in another directory, made in another order, at another time."""

from __future__ import annotations

import os
import shutil
import stat

from buildkit_py.errors import ContextError
from buildkit_py.executor.look import xattrs_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

# git refuses to look into a repository of another user.
_STAYS = ".git"


def copy_context(source: str, target: str, *, skip: Collection[str] = (), owner: int | None = None) -> None:
    """Copy a directory to where nothing is, but for the directories of `skip`, sockets and devices.

    With an `owner` all but the directory itself and a repository of git in it is given to that user and group. Files
    of one inode stay so. Raises `ContextError` for what cannot be read or copied.
    """
    source = os.path.realpath(source)
    skip = {os.path.realpath(place) for place in skip}
    links: dict[tuple[int, int], str] = {}
    waiting = [("", owner)]
    modes: list[tuple[str, int]] = []
    try:
        os.mkdir(target, 0o700)
        while waiting:
            inside, given = waiting.pop()
            for name in sorted(os.listdir(source + inside), reverse=True):
                path = f"{inside}/{name}"
                owned = None if path == f"/{_STAYS}" else given
                if source + path in skip:
                    continue
                status = os.lstat(source + path)
                if stat.S_ISDIR(status.st_mode):
                    os.mkdir(target + path, 0o700)
                    waiting.append((path, owned))
                    modes.append((path, stat.S_IMODE(status.st_mode)))
                    if owned is not None:
                        os.chown(target + path, owned, owned)
                else:
                    _copy(source + path, target + path, status, owned, links)
    except OSError as problem:
        raise ContextError(
            f"the context cannot be copied: {problem.strerror}", at=problem.filename, hint="see --same=directory"
        ) from problem
    for path, mode in reversed(modes):
        os.chmod(target + path, mode)
        _set_xattrs(source + path, target + path)


def _copy(
    source: str, target: str, status: os.stat_result, owner: int | None, links: dict[tuple[int, int], str]
) -> None:
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), target)
    elif stat.S_ISREG(status.st_mode):
        if status.st_nlink > 1:
            first = links.setdefault((status.st_dev, status.st_ino), target)
            if first != target:
                os.link(first, target)
                return
        shutil.copyfile(source, target)
    elif stat.S_ISFIFO(status.st_mode):
        os.mkfifo(target)
    else:
        return
    if owner is not None:
        os.lchown(target, owner, owner)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))  # after the owner: a change of that takes set-uid bits away
        _set_xattrs(source, target)


def _set_xattrs(source: str, target: str) -> None:
    for name, value in xattrs_of(source):
        try:
            os.setxattr(target, name, value)
        except OSError:
            continue  # another filesystem may have none; a step that lacks one shows it
