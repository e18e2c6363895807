"""Random changes of a context, each followed by a build: its image, or its failure, is that of a build from nothing.

With `PYBUILD_MUTATIONS` set, a thirtieth of so many changes are made, for root
and for an ordinary user; 6 without.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.behaviour.conftest import USER
from tests.behaviour.world import World
from tests.mutations.filesystems import as_user
from tests.mutations.random_tree import RandomTree, populate

CHANGES = int(os.environ.get("PYBUILD_MUTATIONS", "180")) // 30
_CHANGES_A_TREE = 25
_TARGETS = ("all", "some", "mounted")
DOCKERFILE = """\
FROM scratch AS all
COPY context /x
FROM scratch AS some
COPY --exclude=**/a --chmod=644 context/* context/d* /x/
FROM busybox AS mounted
RUN --mount=type=bind,source=context,target=/in find /in | sort | while read -r p; do \\
    stat -c '%F %a %N' "$p"; [ ! -f "$p" ] || cat "$p"; done > /seen
"""


class Builds(RandomTree):
    """The context of a world's project, which is built after each change."""

    def __init__(self, world: World, base_layout: Path, chosen: Random, counted: Counter[str]) -> None:
        user = USER if world.mode == "user" and os.geteuid() == 0 else ""
        super().__init__(world.project / "context", user, chosen, counted)
        self.world = world
        self.named = f"busybox=oci-layout://{base_layout}"
        with as_user(user):
            populate(self.top)
        world.write({"Dockerfile": DOCKERFILE, ".dockerignore": "**/*.o\n"})
        world.env["SOURCE_DATE_EPOCH"] = "0"
        self.look()

    def look(self) -> None:
        answer = self.build()
        kept, self.world.store = self.world.store, self.world.top / "empty"
        try:
            assert answer == self.build(), "not the answer of a build from nothing"
        finally:
            if self.world.mode == "user":
                self.world.run("cache", "prune", "--all")
            shutil.rmtree(self.world.store, ignore_errors=True)
            self.world.store = kept

    def build(self) -> str:
        """The images of the targets, or "failed"; nothing else may become of it."""
        argv = ("-q", "--iidfile", "../iid", "--build-context", self.named)
        done = self.world.run("build", *argv, ".", *_TARGETS, ok=False)
        if done.returncode:
            assert done.returncode == 4, done.stderr  # a file that is not there, or may not be read
            self.counted["failed"] += 1
            return "failed"
        self.counted["built"] += 1
        return (self.world.top / "iid").read_text()


@pytest.mark.timeout(7200)
def test_no_image_is_stale(world: World, base_layout: Path) -> None:
    seed = random.SystemRandom().randrange(2**32) if "PYBUILD_MUTATIONS" in os.environ else 1
    counted: Counter[str] = Counter()
    chosen = Random(seed)
    while counted["changes"] < CHANGES:
        builds = Builds(world, base_layout, chosen, counted)
        until = min(CHANGES, counted["changes"] + _CHANGES_A_TREE)
        try:
            while counted["changes"] < until:
                builds.step()
        except Exception as problem:
            problem.add_note(f"seed {seed}, after\n" + "\n".join(builds.done))
            raise
        shutil.rmtree(builds.top)
    print(dict(counted))  # pytest -rP shows it
    assert counted["built"]
