"""A COPY of many files of which few changed gives what a clean build gives, whatever changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.behaviour.world import World

# With the times of the directories that COPY finds there: they are in its layer.
NOTHING_ABOVE = """\
FROM busybox
RUN mkdir -p /app/old && echo base > /app/old/kept && touch -d @1000000000 /app/old/kept /app/old /app
COPY src /app
"""
RUN_ABOVE = NOTHING_ABOVE + "RUN cat /app/old/* > /all\n"
FILES = 520


def shows(root: Path) -> dict[str, tuple[int, int, str]]:
    """What is below a directory: mode, time and content."""
    found = {}
    for path in sorted(root.rglob("*")):
        seen = path.lstat()
        if path.is_symlink():
            text = os.readlink(path)
        else:
            text = "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(root))] = (seen.st_mode, int(seen.st_mtime), text)
    return found


def built(world: World, base_layout: Path) -> tuple[str, dict[str, tuple[int, int, str]]]:
    """The digest of COPY's layer, and what the filesystem shows below /app."""
    for name in ("layout", "out"):
        shutil.rmtree(world.project / name, ignore_errors=True)
    outputs = ("-o", "type=oci,tar=false,dest=layout", "-o", "out")
    world.build("--build-context", f"busybox=oci-layout://{base_layout}", *outputs)
    layout = world.project / "layout"
    manifest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    image = json.loads((layout / "blobs/sha256" / manifest.removeprefix("sha256:")).read_text())
    return image["layers"][2]["digest"], shows(world.project / "out" / "app")


def patches(world: World) -> list[str]:
    return [name for name in os.listdir(world.store / "layers") if (world.store / "layers" / name / "patch").exists()]


def edit(source: Path) -> None:
    (source / "d1" / "f101").write_text("changed\n")


def add(source: Path) -> None:
    (source / "new").mkdir()
    (source / "new" / "file").write_text("new\n")
    (source / "d1" / "a").write_text("new\n")


def remove(source: Path) -> None:
    (source / "d2" / "f201").unlink()
    shutil.rmtree(source / "d5")


def remove_what_the_base_has(source: Path) -> None:
    (source / "old" / "kept").unlink()


def attributes(source: Path) -> None:
    (source / "d1" / "f101").chmod(0o751)
    (source / "d3").chmod(0o700)
    os.utime(source / "d2" / "f201", (10**9, 10**9))


def links(source: Path) -> None:
    (source / "link").unlink()
    (source / "link").symlink_to("d1/f102")
    (source / "d1" / "f101").unlink()
    (source / "d1" / "f101").symlink_to("f102")


def hard_link(source: Path) -> None:
    (source / "d1" / "f101").unlink()
    os.link(source / "d1" / "f102", source / "d1" / "f101")


def turn(source: Path) -> None:
    (source / "d1" / "f101").unlink()
    (source / "d1" / "f101").mkdir()
    (source / "d1" / "f101" / "in").write_text("in\n")


def nearly_all(source: Path) -> None:
    for path in source.rglob("f*"):
        path.write_text("changed\n")


# What an overlay can say, and what it cannot: then the layer is made from the start.
PATCHED = (edit, add, remove, attributes, links)
WHOLE = (remove_what_the_base_has, hard_link, turn, nearly_all)


@pytest.fixture
def project(world: World) -> World:
    files = {f"src/d{number // 100}/f{number}": f"file {number}\n" for number in range(FILES)}
    world.write(
        {**files, "src/old/kept": "of the context\n", "src/old/other": "other\n", ".dockerignore": "out\nlayout\n"}
    )
    (world.project / "src" / "link").symlink_to("d1/f101")
    # Of its owner alone, so that who builds decides nothing.
    for path in (world.project / "src").rglob("*"):
        os.utime(path, (10**9 + 7, 10**9 + 7), follow_symlinks=False)
    return world


CASES = [(change, RUN_ABOVE) for change in PATCHED + WHOLE] + [(change, NOTHING_ABOVE) for change in PATCHED]


@pytest.mark.parametrize(("change", "dockerfile"), CASES)
def test_it_is_what_a_clean_build_gives(
    project: World, base_layout: Path, change: Callable[[Path], None], dockerfile: str
) -> None:
    project.write({"Dockerfile": dockerfile})
    first, before = built(project, base_layout)
    change(project.project / "src")
    again, after = built(project, base_layout)
    assert len(patches(project)) == (dockerfile == RUN_ABOVE and change in PATCHED)
    assert (first, before) != (again, after)
    shutil.move(project.store, project.top / "older")
    assert built(project, base_layout) == (again, after)


def test_patches_are_of_the_first_layer_and_none_is_lost(project: World, base_layout: Path) -> None:
    project.write({"Dockerfile": RUN_ABOVE})
    states = [built(project, base_layout)]
    for number in range(3):
        (project.project / "src" / "d1" / f"f10{number}").write_text(f"edit {number}\n")
        states.append(built(project, base_layout))
    assert len(patches(project)) == 3
    under = {(project.store / "layers" / name / "patch" / "under").read_bytes() for name in patches(project)}
    assert len(under) == 1
    assert project.run("cache", "verify").returncode == 0
    project.run("cache", "prune")
    assert len(patches(project)) == 3
    assert built(project, base_layout) == states[-1]
    # Without the tree that they lie on, they are made anew.
    for tree in (project.store / "layers").glob("*/diff/app/d1"):
        shutil.rmtree(tree.parent.parent)
    assert built(project, base_layout) == states[-1]
