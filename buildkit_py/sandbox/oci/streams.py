"""Whose the standard streams are: runtimes give them to the container's user, and pybuild leaves or puts them back.

/dev/null they give away too, and crun opens it anew in the container for that.
So what is this machine's is swapped for the container's, which is its own.
"""

from __future__ import annotations

import os

from buildkit_py.sandbox.failure import stage

_FILE = "owners"
_CHARACTER_DEVICE = 0o020000
_NULL = os.makedev(1, 3)


def nothing_to_read() -> int:
    """A standard input that is at its end."""
    reader, writer = os.pipe()
    os.close(writer)
    return reader


def keep_owners(bundle: str, null: str) -> None:
    """Note whose standard input, output and error are, in the directory `bundle`, and swap those that are /dev/null
    for the one at `null`.
    """
    lines = []
    for number in range(3):
        status = os.fstat(number)
        if status.st_mode & 0o170000 == _CHARACTER_DEVICE and status.st_rdev == _NULL:
            with stage("open the device", null):
                os.dup2(os.open(null, os.O_RDWR | os.O_CLOEXEC), number)
        else:
            lines.append(f"{number} {status.st_dev} {status.st_ino} {status.st_uid} {status.st_gid}\n")
    with stage("write the bundle", bundle), open(f"{bundle}/{_FILE}", "w", encoding="ascii") as file:
        file.write("".join(lines))


def give_back(bundle: str) -> None:
    """Make the standard streams of this process belong to whom `keep_owners` noted, where they are the same."""
    try:
        with open(f"{bundle}/{_FILE}", encoding="ascii") as file:
            noted = [[int(word) for word in line.split()] for line in file]
    except OSError:
        return  # it was never handed over
    for number, device, inode, user, group in noted:
        try:
            status = os.fstat(number)
            if (status.st_dev, status.st_ino) == (device, inode) and (status.st_uid, status.st_gid) != (user, group):
                os.fchown(number, user, group)
        except OSError:
            pass  # closed, or not ours to give back
