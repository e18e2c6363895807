"""The store's size: builds hold it to a limit by themselves; `cache du --by`, `prune --dry-run`, `--cache-max`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.behaviour.world import World

DOCKERFILE = """\
FROM busybox AS base
RUN head -c 3000000 /dev/urandom > /big
FROM base AS last
RUN --mount=type=cache,target=/c echo x > /c/x; sleep 0.2; echo made > /made
"""


@pytest.fixture
def project(world: World, base_layout: Path) -> World:
    world.write({"Dockerfile": DOCKERFILE})
    world.env["BASE"] = f"oci-layout://{base_layout}"
    return world


def build(world: World, *argv: str, **env: str) -> list[str]:
    return world.ran(world.build("--build-context", f"busybox={world.env['BASE']}", *argv, **env))


def used(world: World) -> int:
    shares = json.loads(world.run("cache", "du", "--json").stdout)
    return sum(share["bytes"] for share in shares.values())


@pytest.mark.parametrize(("option", "variable"), [((), "4m"), (("--cache-max=4m",), "1g")], ids=["variable", "option"])
def test_builds_hold_the_store_to_its_limit(project: World, option: tuple[str, ...], variable: str) -> None:
    build(project)
    assert used(project) > 3_000_000
    project.write({"Dockerfile": DOCKERFILE.replace("3000000", "3000001")})
    build(project, *option, PYBUILD_CACHE_MAX=variable)
    for _ in range(200):
        if used(project) <= 4 << 20:
            break
        time.sleep(0.1)
    assert used(project) <= 4 << 20
    assert build(project)  # something is made again
    assert "nothing is damaged" in project.run("cache", "verify").stdout


def test_a_wrong_limit_is_refused(project: World) -> None:
    done = project.build("--build-context", f"busybox={project.env['BASE']}", "--cache-max=lots", ok=False)
    assert done.returncode == 2
    assert "--cache-max" in done.stderr


def test_pruning_to_a_size(project: World) -> None:
    build(project)
    said = json.loads(project.run("cache", "prune", "--cache-max=2m", "--json").stdout)
    assert said["layers"]["bytes"] > 3_000_000
    assert used(project) <= 2 << 20
    for wrong in ("--cache-max=lots", "--cache-max=1m --all"):
        assert project.run("cache", "prune", *wrong.split(), ok=False).returncode == 2


def test_a_dry_run_removes_nothing(project: World) -> None:
    build(project)
    before = used(project)
    would = json.loads(project.run("cache", "prune", "--all", "--dry-run", "--json").stdout)
    assert used(project) == before
    went = json.loads(project.run("cache", "prune", "--all", "--json").stdout)
    assert {kind: share["count"] for kind, share in would.items()} == {
        kind: share["count"] for kind, share in went.items() if kind != "work"
    }


def test_a_dry_run_with_a_limit_says_what_would_go(project: World) -> None:
    build(project)
    project.write({"Dockerfile": DOCKERFILE.replace("3000000", "3000001")})
    build(project)
    before = used(project)
    assert "WOULD GO" in project.run("cache", "prune", "--cache-max=6m", "-n").stdout
    would = json.loads(project.run("cache", "prune", "--cache-max=6m", "--dry-run", "--json").stdout)
    assert used(project) == before
    went = json.loads(project.run("cache", "prune", "--cache-max=6m", "--json").stdout)
    assert went == would
    assert used(project) == before - sum(share["bytes"] for share in would.values()) <= 6 << 20


def room(world: World, view: str) -> dict[str, dict[str, int]]:
    return {place["name"]: place for place in json.loads(world.run("cache", "du", f"--by={view}", "--json").stdout)}


def test_what_takes_how_much(project: World) -> None:
    build(project, "-t", "app:1", "--target=last")
    build(project, "-t", "app:2", "--target=base")
    steps = room(project, "step")
    big = next(iter(steps.values()))  # most first
    assert big["name"].endswith("RUN head -c 3000000 /dev/urandom > /big")
    assert big["bytes"] > 3_000_000
    last = next(place for name, place in steps.items() if "made" in name)
    assert last["milliseconds"] >= 200
    targets = room(project, "target")
    file = str(project.project / "Dockerfile")
    assert targets[f"{file}:last"]["shared"] >= big["bytes"]
    assert targets[f"{file}:last"]["milliseconds"] >= 200
    images = room(project, "image")
    assert set(images) >= {"docker.io/library/app:1", "docker.io/library/app:2"}
    assert images["docker.io/library/app:1"]["bytes"] >= big["bytes"]
    assert list(room(project, "mount")) == ["/c"]
    assert "ON DISK" in project.run("cache", "du", "--by", "step").stdout
    assert project.run("cache", "du", "--by=age", ok=False).returncode == 2


def test_a_blob_of_a_layer_that_has_two_ids_takes_room_once(project: World) -> None:
    """A layer is known by the id of its step, and by that of its tar once its image is a base of others."""
    build(project, "-t", "base:1", "--target=base")
    project.write({"Dockerfile": "FROM base:1\nLABEL a=b\n"})
    project.build("-t", "over:1")
    images = room(project, "image")
    names = {"docker.io/library/base:1", "docker.io/library/over:1"}
    assert set(images) >= names
    for name in names:
        assert 3_000_000 < images[name]["shared"] <= images[name]["bytes"] <= used(project)
