"""File systems of each kind that a context may lie on, mounted for the tests, and the two users who build from them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.needs import need

# ramfs is the one whose times only move with the clock's tick (`inode_set_ctime_current`, `FS_MGTIME` in the kernel).
KINDS = ("ext4", "tmpfs", "overlay", "ramfs")
_IMAGE_BYTES = 48 << 20


@contextmanager
def as_user(name: str) -> Iterator[None]:
    """Be an ordinary user, all of this process, until the end of the block; "" is whoever runs the tests."""
    if not name or os.geteuid() != 0:
        yield
        return
    user = pwd.getpwnam(name)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


class Grounds:
    """A file system of one kind; `fresh` gives a new directory on it with what `populate` puts there.

    `beside` is a directory elsewhere, into which everybody may write.
    """

    def __init__(self, kind: str, top: Path, populate: Callable[[Path], None]) -> None:
        self._kind = kind
        self._populate = populate
        self._ground = top / "ground"
        self._place = top / "place"
        self._number = 0
        self.beside = top / "beside"
        for directory in (self._ground, self._place, self.beside):
            directory.mkdir()
        self.beside.chmod(0o777)
        self._mounted: list[Path] = []
        if kind == "ext4":
            need("mkfs.ext4", "mount")
            image = top / "image"
            with image.open("wb") as file:
                file.truncate(_IMAGE_BYTES)
            subprocess.run(["mkfs.ext4", "-q", image], check=True)
            self._mount(self._ground, "-o", "loop", str(image))
        else:
            need("mount")
            self._mount(self._ground, "-t", "ramfs" if kind == "ramfs" else "tmpfs", "none")
        self._ground.chmod(0o777)

    def fresh(self, user: str) -> Path:
        """A directory that nobody used before. What an overlay shows of it lies in its lower directory at first."""
        self._number += 1
        where = self._ground / str(self._number)
        if self._kind != "overlay":
            with as_user(user):
                where.mkdir()
                self._populate(where)
            return where
        with as_user(user):
            for part in ("lower/tree", "upper", "work"):
                (where / part).mkdir(parents=True)
            self._populate(where / "lower" / "tree")
        options = ",".join(f"{name}dir={where / name}" for name in ("lower", "upper", "work"))
        self._mount(self._place, "-t", "overlay", "overlay", "-o", options)
        return self._place / "tree"

    def forget(self) -> None:
        """Remove what `fresh` gave last."""
        if self._kind == "overlay":
            self._unmount()
        shutil.rmtree(self._ground / str(self._number))

    def close(self) -> None:
        while self._mounted:
            self._unmount()

    def _mount(self, at: Path, *argv: str) -> None:
        done = subprocess.run(["mount", *argv, at], capture_output=True, text=True, check=False)
        if done.returncode:
            self.close()
            pytest.skip(f"cannot mount {self._kind}: {done.stderr.strip()}")
        self._mounted.append(at)

    def _unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self._mounted.pop()], check=True)
