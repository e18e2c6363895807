"""Ten thousand random changes of a context: what is remembered never gives another answer than looking from nothing.

Every step changes something, or nothing, and looks at the context twice: with
all that the last look left in the store, and with an empty memory. The keys of
several COPYs and the entries of their layers must be the same both times; the
first tier may only believe a scan while nothing that a COPY takes has changed;
and equal digests must mean equal trees, which `tree_state` says.

    PYBUILD_MUTATIONS=10000 pytest -o faulthandler_timeout=0 tests/mutations/test_random_changes.py

makes so many changes for each file system and user; 60 is what it makes without.
"""

from __future__ import annotations

import os
import random
import tempfile
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
from buildkit_py.graph.step_key import definition_key
from buildkit_py.image.entry import FILE, Entry
from buildkit_py.image.pack import pack
from buildkit_py.solver.keys import op_parts
from buildkit_py.store.scan import Scan
from buildkit_py.store.store import Store
from tests.behaviour.conftest import USER, make_user
from tests.mutations.filesystems import KINDS, Grounds, as_user
from tests.mutations.random_tree import RandomTree, populate
from tests.mutations.tree_state import state

_ORDINARY = 60
MUTATIONS = int(os.environ.get("PYBUILD_MUTATIONS", _ORDINARY))
# After so many steps a new tree is begun.
_STEPS = 40

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


class Changes(RandomTree):
    """A tree, and the memory that builds have of it in `store`."""

    def __init__(self, grounds: Grounds, store: Store, user: str, random: Random, counted: Counter[str]) -> None:
        super().__init__(grounds.fresh(user), user, random, counted)
        self.store = store
        self.scans: list[Scan] = []
        self.keys: list[list[str]] = []
        self.entries: list[list[Entry]] = []
        self.trees: dict[str, str] = {}  # by their keys
        self.digests: dict[str, str] = {}  # by what the trees are
        self.look()

    def look(self) -> None:
        """Look with the memory and without."""
        copies = self.random.random() < 0.5  # digests come from copying, as in a build that runs the COPY
        with as_user(self.user):
            held = [scan.holds() for scan in self.scans]
            contexts = Contexts(self.store)
            remembered = self._seen(contexts.tree, copies)
            self.scans = [_loaded(seen.scan) for seen in contexts.write()]
            fresh = self._seen(lambda op: ContextTree(op.root, op.ignore), False)
        assert remembered[0] == fresh[0], "a key that is not that of a build from nothing"
        assert remembered[1] == fresh[1], "a layer that is not that of a build from nothing"
        for number, believed in enumerate(held):
            self.counted["scans that held" if believed else "scans that did not hold"] += 1
            # A build that fails leaves nothing for the first tier, and its scan is of no more than it came to see.
            if believed and "error" not in self.keys[number]:
                assert fresh[0][number] == self.keys[number], "the first tier believed an old answer"
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
