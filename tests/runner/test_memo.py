"""What is remembered of an image comes back whole, or not at all."""

from __future__ import annotations

import pytest

from buildkit_py.image.config import Healthcheck, ImageConfig
from buildkit_py.runner.memo import Runnable, recall, remember
from buildkit_py.store.store import Store

DIGEST = "sha256:" + "a" * 64
RUNNABLE = Runnable(
    ("1" * 64, "2" * 64),
    ImageConfig(
        env=(("A", "ö\udcff"), ("B", "")),
        cmd=(),
        entrypoint=None,
        working_dir="/w",
        user="alice:staff",
        labels=(("a", "b"),),
        ports=("80/tcp", "53/udp"),
        volumes=("/data",),
        stop_signal="SIGINT",
        shell=("/bin/bash", "-c"),
        healthcheck=Healthcheck(("CMD", "check"), 1, 2, 3, 4, 5),
        on_build=("RUN true",),
        args_escaped=True,
        extra=(("Memory", 5), ("Of", {"others": [1, 2.5, None, "x"]})),
    ),
)


@pytest.fixture
def store(tmp_path):
    return Store.open(str(tmp_path / "store"))


def test_round_trip(store):
    bare = ImageConfig()
    same = [name for name in bare.__fields__ if getattr(RUNNABLE.config, name) == getattr(bare, name)]
    assert same == ["entrypoint"]  # of all else the sample says something
    assert recall(store, DIGEST) is None
    remember(store, DIGEST, RUNNABLE)
    assert recall(store, DIGEST) == RUNNABLE


def test_what_an_image_does_not_say(store):
    bare = Runnable((), ImageConfig())
    remember(store, DIGEST, bare)
    assert recall(store, DIGEST) == bare


@pytest.mark.parametrize("damage", [b"", b"x", None])
def test_damage_counts_as_absent(store, damage):
    remember(store, DIGEST, RUNNABLE)
    path = store.path("memo", "run-" + "a" * 64)
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(data[:-1] + b"?" if damage is None else damage)
    assert recall(store, DIGEST) is None
