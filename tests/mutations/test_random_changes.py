"""Ten thousand random changes of a context: what is remembered never gives another answer than looking from nothing.

Every step changes something, or nothing, and looks at the context twice: with
all that the last look left in the store, and with an empty memory. The keys of
several COPYs and the entries of their layers must be the same both times; the
first tier may only believe a scan while nothing that a COPY takes has changed;
and equal digests must mean equal trees, which `tree_state` says.

    PYBUILD_MUTATIONS=10000 pytest tests/mutations/test_random_changes.py

makes so many changes for each file system and user; 60 is what it makes without.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from buildkit_py.errors import PybuildError
from buildkit_py.executor.context_tree import ContextTree
from buildkit_py.executor.contexts import Contexts
from buildkit_py.executor.copy_plan import plan, source_digest
from buildkit_py.executor.inventory import inventory_of
from buildkit_py.graph.op import Copy, CopyPath, LocalSource
from buildkit_py.image.entry import FILE, Entry
from buildkit_py.image.pack import pack
from buildkit_py.solver.keys import definition_key, op_parts
from buildkit_py.store.scan import TICK, Scan
from buildkit_py.store.store import Store
from tests.behaviour.conftest import USER, make_user
from tests.mutations.filesystems import KINDS, Grounds, as_user
from tests.mutations.tree_state import state

_ORDINARY = 60
MUTATIONS = int(os.environ.get("PYBUILD_MUTATIONS", _ORDINARY))
# After so many steps a new tree is begun; in such a part of them nothing changes.
_STEPS = 40
_RESTS = 0.15

PATHS = ("a", "b.o", "l", "d", "d/a", "d/b.o", "d/e", "d/e/a", "d/e/ä")
BYTES = (b"", b"1", b"2", b"3", b"44")
IGNORES: tuple[tuple[str, ...], ...] = ((), ("**/*.o", "d/e", "!d/e/a"))
ALL = Copy((CopyPath("."),), "/x/")
COPIES = (
    ALL,
    Copy((CopyPath("d"),), "/x/"),
    Copy((CopyPath("a"),), "/x"),
    Copy((CopyPath("*"), CopyPath("d/?")), "/x/"),
    Copy((CopyPath("d"),), "/x/", mode="0644"),
    Copy((CopyPath("."),), "/x/", exclude=("**/a",)),
    Copy((CopyPath("d/*/a"),), "/x/", parents=True),
)


def populate(top: Path) -> None:
    """The tree that each run of the machine begins with."""
    (top / "d" / "e").mkdir(parents=True)
    for path in ("a", "b.o", "d/a", "d/b.o", "d/e/a"):
        (top / path).write_bytes(b"1")
    (top / "l").symlink_to("d/a")


class Changes:
    """A tree, the memory that builds have of it, and what can become of it. `random` decides what happens."""

    def __init__(self, grounds: Grounds, store: Store, user: str, random: Random, counted: Counter[str]) -> None:
        self.store = store
        self.user = user
        self.random = random
        self.counted = counted
        self.top = grounds.fresh(user)
        self.done: list[str] = []
        self.scans: list[Scan] = []
        self.keys: list[list[str]] = []
        self.entries: list[list[Entry]] = []
        self.trees: dict[str, str] = {}  # by their keys
        self.digests: dict[str, str] = {}  # by what the trees are
        self.look(copies=False)

    def step(self) -> None:
        """Change something, if that can be done, and look; or let all rest, so that the next scan is believed."""
        if self.random.random() < _RESTS:
            time.sleep(1.5 * TICK / 1e9)
            self.done.append("nothing")
            self.look(copies=False)
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
        self.look(copies=self.random.random() < 0.5)

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

    # -- looking

    def look(self, *, copies: bool) -> None:
        """Look with the memory and without; `copies`: digests come from copying, as in a build that runs the COPY."""
        with as_user(self.user):
            held = [scan.holds() for scan in self.scans]
            contexts = Contexts(self.store)
            remembered = self._seen(contexts.tree, copies)
            self.scans = [_loaded(scan) for _, _, scan in contexts.write()]
            fresh = self._seen(lambda op: ContextTree(op.root, op.ignore), False)
        assert remembered[0] == fresh[0], "a key that is not that of a build from nothing"
        assert remembered[1] == fresh[1], "a layer that is not that of a build from nothing"
        for number, believed in enumerate(held):
            self.counted["scans that held" if believed else "scans that did not hold"] += 1
            assert not believed or fresh[0][number] == self.keys[number], "the first tier believed an old answer"
        for entries, before in zip(fresh[1], self.entries, strict=False):
            _check_inventory(before, entries)
        self.keys, self.entries = fresh
        if (key := self.keys[0][0]) == "error":
            self.counted["errors"] += 1
            return
        now = state(self.top)
        assert self.trees.setdefault(key, now) == now, "one key for two trees"
        assert self.digests.setdefault(now, key) == key, "two keys for one tree"

    def _seen(
        self, tree_of: Callable[[LocalSource], ContextTree], copies: bool
    ) -> tuple[list[list[str]], list[list[Entry]]]:
        """For each set of ignore rules the keys of the copies, and the layer of the whole context."""
        keys, layers = [], []
        for ignore in IGNORES:
            tree = tree_of(LocalSource("context", str(self.top), ignore))
            if copies:
                with suppress(PybuildError):
                    _copy_all(tree)
            tree.hash_files = True
            entries: list[Entry] = []
            with suppress(PybuildError):
                entries = plan(ALL, [tree], None)
            layers.append(entries)
            keys.append([_key(op, tree) for op in COPIES])
        return keys, layers


def _copy_all(tree: ContextTree) -> None:
    """What a COPY that runs does with a tree, which learns the digests from it."""
    digests = bytearray()
    entries = plan(ALL, [tree], None)
    pack(entries, lambda _: None, hash_files=True, digests=digests)
    tree.learn([entry.source for entry in entries if entry.kind == FILE], digests)
    tree.take_up()


def _loaded(data: bytes) -> Scan:
    scan = Scan.load(data)
    assert scan is not None
    return scan


def _write(place: Path, data: bytes) -> None:
    # Nobody reads from a fifo, and that must not be waited for.
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, 0o644)
    os.write(fd, data)
    os.close(fd)


KINDS_OF_CHANGE: dict[str, Callable[[Changes], str]] = {
    "bytes": Changes.write,
    "bytes with the time restored": Changes.write_with_old_time,
    "a file renamed over": Changes.write_aside,
    "mode": Changes.chmod,
    "owner": Changes.chown,
    "xattr": Changes.attribute,
    "new directory": Changes.mkdir,
    "removed": Changes.remove,
    "renamed": Changes.rename,
    "exchanged": Changes.exchange,
    "symbolic link": Changes.link,
    "hard link": Changes.hard_link,
    "hard link broken": Changes.break_hard_link,
    "fifo": Changes.fifo,
    "times": Changes.times,
}


def _key(op: Copy, tree: ContextTree) -> str:
    try:
        return definition_key(op_parts(op), "", (("content", source_digest(op, 0, tree, [], tree.digest)),))
    except PybuildError:  # there is no such file, or this user may not read it; which one is said depends on the order
        return "error"


def _check_inventory(before: list[Entry], after: list[Entry]) -> None:
    """What two inventories say of a change is what the entries themselves say."""
    old, new = inventory_of(before), inventory_of(after)
    if old is None or new is None:
        return
    changes = old.changes_to(new)
    known = {entry.path: entry for entry in before}
    assert changes.places == [place for place, entry in enumerate(after) if known.get(entry.path) != entry]
    assert changes.lost == [entry.path for entry in before if entry.path not in {entry.path for entry in after}]


@pytest.fixture(params=KINDS)
def grounds(request: pytest.FixtureRequest, shared: Path) -> Iterator[Grounds]:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    top = Path(tempfile.mkdtemp(prefix="grounds-", dir=shared))
    top.chmod(0o755)
    made = Grounds(request.param, top, populate)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("user", ["", USER], ids=["root", "user"])
def test_no_answer_is_stale(grounds: Grounds, user: str, shared: Path) -> None:
    if user:
        make_user(shared)
    counted: Counter[str] = Counter()
    seed = random.SystemRandom().randrange(2**32) if MUTATIONS > _ORDINARY else 0
    chosen = random.Random(seed)
    with as_user(user):
        store = Store.open(str(grounds.beside / "store"))
    while counted["changes"] < MUTATIONS:
        changes = Changes(grounds, store, user, chosen, counted)
        try:
            for _ in range(_STEPS):
                changes.step()
        except Exception as problem:
            problem.add_note(f"seed {seed}, after\n" + "\n".join(changes.done))
            raise
        grounds.forget()
    print(dict(counted))  # pytest -rP shows it
    assert counted["scans that held"]
    assert counted["scans that did not hold"]
