"""Cache mounts: which are one and which are apart, as in BuildKit; each is had once by a step."""

from __future__ import annotations

import signal
import subprocess
from functools import partial
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


def test_waiting_for_a_locked_cache_is_said_and_can_be_interrupted(world: World, base_layout: Path) -> None:
    world.write(
        {"Dockerfile": "FROM busybox\nRUN --mount=type=cache,target=/c,sharing=locked echo $((3+4)); sleep 6\n"}
    )
    world.write({"Other": "FROM busybox\nRUN --mount=type=cache,target=/c,sharing=locked echo other\n"})
    argv = ("build", "--progress=plain", "--build-context", f"busybox=oci-layout://{base_layout}")
    start = partial(subprocess.Popen, cwd=world.project, env=world.environment(), stderr=subprocess.PIPE, text=True)
    with start(world.command(*argv, ".")) as first:
        assert first.stderr is not None
        assert any("7" in line.split() for line in first.stderr)
        with start(world.command(*argv, "-f", "Other", ".")) as second:
            assert second.stderr is not None
            assert any(f"in use by another build, process {first.pid}: waiting" in line for line in second.stderr)
            second.send_signal(signal.SIGINT)
            second.stderr.read()
        assert (second.returncode, first.poll()) == (130, None)
        first.stderr.read()
    assert first.returncode == 0


SEEDED = "FROM busybox AS seed\nRUN mkdir /s && chmod 711 /s && echo {0} > /s/{0}\nFROM busybox\n"


def seen(world: World, base_layout: Path, dockerfile: str, *options: str) -> list[str]:
    """What the build's steps appended to /seen."""
    world.write({"Dockerfile": dockerfile})
    out = world.out("--build-context", f"busybox=oci-layout://{base_layout}", *options)
    return (out / "seen").read_text().split()


def test_an_id_with_another_owner_or_mode_is_another_cache(world: World, base_layout: Path) -> None:
    run = "RUN --mount=type=cache,target=/c{} (stat -c %a:%u:%g /c; ls /c) >> /seen; touch /c/{}\n"
    steps = [("", "plain"), (",uid=7,gid=8", "owned"), (",mode=0700", "mode"), (",id=/c", "id"), (",mode=0755", "same")]
    text = "FROM busybox\n" + "".join(run.format(*step) for step in steps)
    assert seen(world, base_layout, text) == [
        "755:0:0",
        "755:7:8",
        "700:0:0",
        "755:0:0",
        "plain",
        "755:0:0",
        "id",
        "plain",
    ]


def test_a_relative_target_is_its_own_id(world: World, base_layout: Path) -> None:
    text = (
        "FROM busybox\nWORKDIR /one\nRUN --mount=type=cache,target=c touch c/x; : > /seen\nWORKDIR /two\n"
        "RUN --mount=type=cache,target=./c/ ls c >> /seen\nRUN --mount=type=cache,target=/one/c ls /one/c >> /seen\n"
    )
    assert seen(world, base_layout, text) == ["x"]


def test_a_cache_that_begins_with_other_files_is_another_one(world: World, base_layout: Path) -> None:
    run = "RUN --mount=type=cache,id=c,target=/c,from=seed,source=/s (stat -c %a /c; ls /c) > /seen; touch /c/{}\n"
    assert seen(world, base_layout, SEEDED.format("one") + run.format("a")) == ["711", "one"]
    assert seen(world, base_layout, SEEDED.format("two") + run.format("b")) == ["711", "two"]
    assert seen(world, base_layout, SEEDED.format("one") + run.format("c")) == ["711", "a", "one"]


@pytest.mark.parametrize("mount", ["target=/c", "target=/c,mode=0711", "id=c,target=/c,from=seed,source=/s"])
def test_no_cache_begins_each_cache_anew_once(world: World, base_layout: Path, mount: str) -> None:
    run = "RUN --mount=type=cache," + mount + " ls /c >> /seen; touch /c/{}\n"
    head = SEEDED.format("one")
    has = ["one"] * ("seed" in mount)
    assert seen(world, base_layout, head + run.format("a")) == has
    twice = head + run.format("b1") + run.format("b2")
    assert seen(world, base_layout, twice, "--no-cache") == [*has, "b1", *has]
    # The new one is the cache from then on.
    assert seen(world, base_layout, head + run.format("d")) == ["b1", "b2", *has]


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ("source=/s", "begins empty, so it has no `source=/s`"),
        ("from=seed,source=/none", "source `/none` is not there"),
        ("from=seed,source=/s/one", "source `/s/one` is no directory"),
    ],
)
def test_a_cache_that_cannot_begin(world: World, base_layout: Path, mount: str, words: str) -> None:
    world.write({"Dockerfile": SEEDED.format("one") + f"RUN --mount=type=cache,target=/c,{mount} true\n"})
    done = world.build("--build-context", f"busybox=oci-layout://{base_layout}", ok=False)
    assert done.returncode == 3
    assert "Dockerfile:4:" in done.stderr
    assert words in done.stderr
