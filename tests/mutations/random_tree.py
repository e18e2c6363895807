"""A directory tree to which anything may happen that can happen to a context, by chance."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from buildkit_py.store.scan import TICK
from tests.mutations.filesystems import as_user

PATHS = ("a", "b.o", "l", "d", "d/a", "d/b.o", "d/e", "d/e/a", "d/e/ä")
BYTES = (b"", b"1", b"2", b"3", b"44")
# In such a part of the steps nothing changes.
_RESTS = 0.15


def populate(top: Path) -> None:
    """The tree that each run of the machine begins with."""
    (top / "d" / "e").mkdir(parents=True)
    for path in ("a", "b.o", "d/a", "d/b.o", "d/e/a"):
        (top / path).write_bytes(b"1")
    (top / "l").symlink_to("d/a")


class RandomTree:
    """The tree at `top`, which `user` changes. `random` decides what happens, `look` is called after each change.

    `done` tells what happened to this tree, `counted` how often what happened to all.
    """

    def __init__(self, top: Path, user: str, random: Random, counted: Counter[str]) -> None:
        self.top = top
        self.user = user
        self.random = random
        self.counted = counted
        self.done: list[str] = []

    def look(self) -> None:
        """See what became of the tree."""
        raise NotImplementedError

    def step(self) -> None:
        """Change something, if that can be done, and look; or let all rest, so that the next scan is believed."""
        if self.random.random() < _RESTS:
            time.sleep(1.5 * TICK / 1e9)
            self.done.append("nothing")
            self.look()
            return
        kind = self.random.choice(tuple(KINDS_OF_CHANGE))
        try:
            with as_user(self.user):
                what = KINDS_OF_CHANGE[kind](self)
        except OSError as problem:
            if problem.errno in (errno.EIO, errno.ENOSPC, errno.EROFS):
                raise
            return  # there is no such thing to change, or this user may not
        self.done.append(f"{kind}: {what}")
        self.counted["changes"] += 1
        self.counted[kind] += 1
        self.look()

    # -- changes; each says what it changed

    def place(self) -> Path:
        return self.top / self.random.choice(PATHS)

    def aside(self) -> Path:
        """A free name; what an exchange that failed halfway left there is removed."""
        aside = self.top / ".aside"
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside)
        aside.unlink(missing_ok=True)
        return aside

    def write(self) -> str:
        place, data = self.place(), self.random.choice(BYTES)
        _write(place, data)
        return f"{place} = {data!r}"

    def write_with_old_time(self) -> str:
        place, data = self.place(), self.random.choice(BYTES)
        before = place.stat()
        _write(place, data)
        os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
        return f"{place} = {data!r}"

    def write_aside(self) -> str:
        place, aside = self.place(), self.aside()
        aside.write_bytes(self.random.choice(BYTES))
        try:
            aside.rename(place)
        except OSError:
            aside.unlink()
            raise
        return str(place)

    def chmod(self) -> str:
        place, mode = self.place(), self.random.choice((0o644, 0o600, 0o755, 0o700, 0o4711, 0o1777, 0o000))
        place.chmod(mode)
        return f"{place} {mode:o}"

    def chown(self) -> str:
        place = self.place()
        os.chown(place, 123, 456, follow_symlinks=False)
        return str(place)

    def attribute(self) -> str:
        place = self.place()
        if (value := self.random.choice((b"", b"1", b"2", None))) is None:
            os.removexattr(place, "user.note")
        else:
            os.setxattr(place, "user.note", value)
        return f"{place} {value!r}"

    def mkdir(self) -> str:
        place = self.place()
        place.mkdir()
        return str(place)

    def remove(self) -> str:
        place = self.place()
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink()
        return str(place)

    def rename(self) -> str:
        old, new = self.place(), self.place()
        old.rename(new)
        return f"{old} {new}"

    def exchange(self) -> str:
        one, two, aside = self.place(), self.place(), self.aside()
        one.rename(aside)
        try:
            two.rename(one)
        finally:
            aside.rename(one if two.exists() else two)
        return f"{one} {two}"

    def link(self) -> str:
        place, leads_to = self.place(), self.random.choice((*PATHS, "/d", "d/..", "none"))
        if place.is_symlink():
            place.unlink()
        place.symlink_to(leads_to)
        return f"{place} -> {leads_to}"

    def hard_link(self) -> str:
        old, new = self.place(), self.place()
        os.link(old, new, follow_symlinks=False)
        return f"{old} {new}"

    def break_hard_link(self) -> str:
        place, aside = self.place(), self.aside()
        shutil.copyfile(place, aside, follow_symlinks=False)
        aside.rename(place)
        return str(place)

    def fifo(self) -> str:
        place = self.place()
        os.mkfifo(place)
        return str(place)

    def times(self) -> str:
        place, when = self.place(), self.random.choice((0, 10**18, 10**18 + 1, time.time_ns()))
        os.utime(place, ns=(when, when), follow_symlinks=False)
        return str(place)


def _write(place: Path, data: bytes) -> None:
    # Nobody reads from a fifo, and that must not be waited for.
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, 0o644)
    os.write(fd, data)
    os.close(fd)


KINDS_OF_CHANGE: dict[str, Callable[[RandomTree], str]] = {
    "bytes": RandomTree.write,
    "bytes with the time restored": RandomTree.write_with_old_time,
    "a file renamed over": RandomTree.write_aside,
    "mode": RandomTree.chmod,
    "owner": RandomTree.chown,
    "xattr": RandomTree.attribute,
    "new directory": RandomTree.mkdir,
    "removed": RandomTree.remove,
    "renamed": RandomTree.rename,
    "exchanged": RandomTree.exchange,
    "symbolic link": RandomTree.link,
    "hard link": RandomTree.hard_link,
    "hard link broken": RandomTree.break_hard_link,
    "fifo": RandomTree.fifo,
    "times": RandomTree.times,
}
