"""Cache mounts of one build: each is had once by a step, by all steps in one order, and filled all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.behaviour.world import World

BOTH = "RUN --mount=type=cache,sharing=locked,id={},target=/a --mount=type=cache,sharing=locked,id={},target=/b {}\n"


def build(world: World, base_layout: Path, dockerfile: str) -> list[str]:
    world.write({"Dockerfile": dockerfile})
    return world.ran(world.build("--build-context", f"busybox=oci-layout://{base_layout}", "-j", "8"))


@pytest.mark.parametrize("sharing", [("locked", "locked"), ("shared", "locked"), ("locked", "private")])
def test_a_step_may_mount_one_cache_at_two_places(world: World, base_layout: Path, sharing: tuple[str, str]) -> None:
    mounts = [f"--mount=type=cache,id=z,target=/{n},sharing={kind}" for n, kind in enumerate(sharing)]
    build(world, base_layout, f"FROM busybox\nRUN {' '.join(mounts)} echo one > /0/file && cat /1/file\n")


def test_steps_that_want_two_caches_in_different_orders(world: World, base_layout: Path) -> None:
    stages = [
        f"FROM busybox AS s{number}\n" + BOTH.format(*ids, f"sleep 0.2; echo {number} > /made")
        for number, ids in enumerate([("x", "y"), ("y", "x")] * 3)
    ]
    last = "FROM busybox\n" + "".join(f"COPY --from=s{number} /made /{number}\n" for number in range(6))
    assert len(build(world, base_layout, "".join(stages) + last)) == 12


def test_a_cache_is_filled_once_for_steps_that_run_at_the_same_time(world: World, base_layout: Path) -> None:
    seed = "FROM busybox AS seed\nRUN mkdir -p /s/d && for n in $(seq 200); do echo $n > /s/d/$n; done\n"
    stages = [
        f"FROM busybox AS s{number}\nRUN --mount=type=cache,id=c,from=seed,source=/s,target=/c "
        f"ls /c/d | wc -l > /made; touch /c/{number}\n"
        for number in range(6)
    ]
    last = "FROM scratch\n" + "".join(f"COPY --from=s{number} /made /{number}\n" for number in range(6))
    world.write({"Dockerfile": seed + "".join(stages) + last})
    out = world.out("--build-context", f"busybox=oci-layout://{base_layout}", "-j", "8")
    assert [(out / str(number)).read_text() for number in range(6)] == ["200\n"] * 6
