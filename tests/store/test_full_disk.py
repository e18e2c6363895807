"""A disk that is full at every moment of a build: a tmpfs of one megabyte in a mount namespace of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import need

SCRIPT = """
import os, subprocess, sys
from pathlib import Path
from buildkit_py.errors import DiskFull
from buildkit_py.store.gc import prune
from buildkit_py.store.store import Store
from buildkit_py.store.verify import verify
from tests.store.samples import add_image, add_layer, add_record

disk = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
root = disk + "/store"
full = done = 0


def build():
    store = Store.open(root)
    with store.hold():
        layer = add_layer(store, "layer", unpacked=False)
        record = add_record(store, "step", layer.id)
        add_image(store, "image", layer)
        with store.blobs.writer() as writer:
            writer.write(b"x" * 20_000)
            writer.commit()
        store.mounts.acquire("cache").release()
    store.mark_synced()


# Leave one page less each time, until the build fits: every write of it meets the full disk once.
for pages in range(0, 64):
    ballast = os.open(disk + "/ballast", os.O_RDWR | os.O_CREAT)
    free = os.statvfs(disk)
    keep = pages * free.f_bsize
    if (size := free.f_bavail * free.f_bsize - keep) > 0:
        os.posix_fallocate(ballast, 0, size)
    os.close(ballast)
    try:
        build()
        done += 1
    except DiskFull as problem:
        full += 1
        assert problem.at == root, problem.at
        assert "pybuild cache prune" in problem.hint
    os.unlink(disk + "/ballast")
    if os.path.exists(root):
        store = Store.open(root)
        assert verify(store) == (), (pages, verify(store))
        assert Store.open(root).images.all() == [] or store.layers.any_blob(next(store.layers.all()).id)
        scratch = os.path.dirname(store.work.scratch_name())
        prune(store, all=True)
        subprocess.run(["rm", "-rf", root], check=True)
build()
assert verify(Store.open(root)) == ()
assert full >= 5 and done >= 5, (full, done)
print("good")
"""


@pytest.mark.attack("K4")
def test_every_write_meets_a_full_disk_once(tmp_path: Path) -> None:
    need("unshare", "mount")
    command = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run(
        [*command, sys.executable, "-c", SCRIPT, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == "good\n", ran.stderr
