"""A process that writes to the store is killed, at random moments and before every single change it would make.

After each kill nothing is wrong with what is there, and the same work done
again gives the same result. The killing is done in forks of one process that
has everything imported. Python's own audit events tell of each system call
that makes, renames, removes or locks, so the store's code has no hooks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = '''
import json, os, random, signal, sys, time
import blake3, hashlib, json.decoder, ctypes  # what a fork would else import, over and over
from pathlib import Path
from buildkit_py.store import blobs, boot, builds, cache_mounts, gc, images, layers, leases, locks, records, remove
from buildkit_py.store import recover, sealed, shards, snapshots, store as store_module, usage, work
from buildkit_py.store.layers import LayerBlob, LayerMeta
from buildkit_py.store.store import Store
from buildkit_py.store.verify import verify
from tests.store.samples import TAR, add_image, add_layer, add_record, age


def build(root):
    """What a build does to a store, from making it to naming an image; the same each time."""
    store = Store.open(root)
    with store.hold():
        base = add_layer(store, "base")
        top = add_layer(store, "top", packed=False)
        digest = store.blobs.put(b"packed later")
        store.layers.set_blob(top.id, "tar", LayerBlob(digest, digest, 12, TAR))
        bare = store.layers.add(LayerMeta("c" * 64, "c" * 64, origin=("registry",)))
        with store.work_dir("unpack") as work_dir:
            tree = Path(work_dir.path, "tree", "deep")
            tree.mkdir(parents=True)
            store.layers.add_tree(bare.id, str(tree.parent))
        first = add_record(store, "base", base.id)
        second = add_record(store, "top", top.id, first.snapshot)
        store.mounts.acquire("cache", "locked").release()
        add_image(store, "image", base)
        add_image(store, "image", base, top)
        store.builds.create()
    store.mark_synced()


def result(root):
    """What can be seen of the store after `build`."""
    store = Store.open(root)
    metas = sorted(store.layers.all(), key=lambda meta: meta.id)
    return (
        sorted(store.blobs.all()),
        [(meta.id, meta.diff_id, store.layers.any_blob(meta.id)) for meta in metas],
        [sorted(os.listdir(store.layers.tree(meta.id))) for meta in metas],
        sorted(store.records.all(), key=repr),
        sorted(store.snapshots.all()),
        [image[:2] for image in store.images.all()],
    )


def prune_everything(root):
    store = Store.open(root)
    gc.prune(store, all=True)


def prune_old(root):
    store = Store.open(root)
    gc.prune(store)


def filled(root):
    build(root)
    store = Store.open(root)
    add_record(store, "old", add_layer(store, "old").id)
    age(store)


def restarted(root):
    """A store full of what was not yet on disk when the machine went down."""
    build(root)
    store = Store.open(root)
    add_layer(store, "base")
    torn = Path(store.blobs.path(store.blobs.put(b"torn")))
    torn.write_bytes(b"")
    Path(root, "boot").write_bytes(boot.mark_bytes("another-boot", 0))


def opened(root):
    Store.open(root)


WORK = {
    "build": (None, build),
    "again": (build, build),
    "prune": (filled, prune_old),
    "prune all": (filled, prune_everything),
    "recover": (restarted, opened),
}


def child(act):
    """Run in a fork; its wait status."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
        os._exit(1)
    return os.waitpid(pid, 0)[1]


CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.utime", "os.chmod", "fcntl.flock"}


def counted(work, root, stop):
    """Do the work, but kill this process before its change number `stop` to the disk."""
    seen = 0

    def hook(event, arguments):
        nonlocal seen
        if event in CHANGES or (event == "open" and arguments[2] & (os.O_CREAT | os.O_RDWR | os.O_WRONLY)):
            seen += 1
            if seen == stop:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    work(root)


def check(root, what, at):
    """The invariants after a kill; what is broken, as text."""
    if not os.path.exists(root):
        return []
    broken = []
    store = Store.open(root)
    # A layer whose files were dropped because the machine went down may be left without any.
    for problem in verify(store):
        if not (what == "recover" and problem.message == "it has neither files nor a blob"):
            broken.append(f"{what} killed at {at}: {problem}")
    if verify(store):
        broken.append(f"{what} killed at {at}: verify had to be called twice")
    return broken


def at_every_change(what, home, step, offset):
    """Kill the work before every `step`th change from `offset`; (changes tried, what is broken)."""
    prepare, work = WORK[what]
    clean = os.path.join(home, "clean")
    build(clean)
    wanted = result(clean)
    broken, tried, stop = [], 0, 1 + offset
    while True:
        root = os.path.join(home, f"killed {stop}")
        if prepare is not None:
            child(lambda: prepare(root))
        status = child(lambda: counted(work, root, stop))
        if status == 0:
            return tried, broken
        if status != signal.SIGKILL:
            return tried, broken + [f"{what} ended with {status} and was not killed at {stop}"]
        tried += 1
        broken += check(root, what, stop)
        if child(lambda: build(root)):
            broken.append(f"{what} killed at {stop}: the next build fails")
        else:
            # What a prune that was cut short left over may be there besides.
            for part, (whole, found) in enumerate(zip(wanted, result(root), strict=True)):
                if (found != whole) if prepare in (None, build) else any(one not in found for one in whole):
                    broken.append(f"{what} killed at {stop}: the next build gives {found} as part {part}")
        if os.listdir(os.path.join(root, "work")) and Store.open(root).work.sweep()[0]:
            broken.append(f"{what} killed at {stop}: work of the dead was left")
        remove.remove_tree(root)
        stop += step


def at_random(home, times, seed):
    """Kill builds and prunes that go on and on; (kills, what is broken)."""
    root = os.path.join(home, "store")
    choose = random.Random(seed)
    broken = []

    def endlessly():
        while True:
            build(root)
            prune_everything(root) if choose.random() < 0.3 else None

    for number in range(times):
        pid = os.fork()
        if pid == 0:
            choose.seed(number)
            try:
                endlessly()
            finally:
                os._exit(1)
        time.sleep(choose.uniform(0.001, 0.06))
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        if status != signal.SIGKILL:
            broken.append(f"kill {number}: it had ended with {status} before")
        broken += check(root, "random", number)
    build(root)
    build(os.path.join(home, "clean"))
    if result(root) != result(os.path.join(home, "clean")):
        broken.append("the last build gives something else")
    return times, broken


mode, home, *arguments = sys.argv[1:]
if mode == "random":
    outcome = at_random(home, *map(int, arguments))
else:
    outcome = at_every_change(mode, home, *map(int, arguments))
print(json.dumps(outcome))
'''


def run(tmp_path: Path, *arguments: str) -> tuple[int, list[str]]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, arguments[0], str(tmp_path), *arguments[1:]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    tried, broken = json.loads(ran.stdout.splitlines()[-1])
    return tried, [*broken, *ran.stderr.splitlines()]


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory: every build flushes its filesystem, which on a disk shared with others takes long."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as path:
        yield Path(path)


@pytest.mark.parametrize(
    ("what", "least"), [("build", 100), ("again", 50), ("prune", 40), ("prune all", 80), ("recover", 20)]
)
def test_killed_before_every_change(memory: Path, what: str, least: int) -> None:
    tried, broken = run(memory, what, "1", "0")
    assert broken == []
    assert tried >= least


def test_killed_at_random_moments(memory: Path) -> None:
    tried, broken = run(memory, "random", "60", "7")
    assert broken == []
    assert tried == 60
