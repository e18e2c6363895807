"""Archives beside those of `tests/behaviour/test_hostile_archives.py`: as images that are run, zip, what is kept."""

from __future__ import annotations

import ast
import io
import os
import zipfile
from pathlib import Path

import pytest

import buildkit_py
from tests.attacks.doors import Door
from tests.attacks.images import link, member
from tests.behaviour.test_hostile_archives import tricks
from tests.behaviour.world import World
from tests.image.tars import END, PIPE

PACKAGE = Path(buildkit_py.__file__).parent
NOT_STARTED = 125


@pytest.mark.slow
@pytest.mark.attack(
    "T1", "T2", "T3", "T4", "T5", "T6", "T7", "T9", "T10", "T11", "T12", "T13", "T14", "T15", by="run"
)  # fmt: skip
@pytest.mark.parametrize("door", ["run"], indirect=True)
def test_tricks_of_an_image_that_is_run(door: Door) -> None:
    """The build that names it unpacks nothing; the run does, and refuses it or shows what is inside."""
    for name, trick in tricks(os.fsencode(door.canary.directory)).items():
        door.image(trick.data.removesuffix(END))
        seen = door.sh(f"{door.canary.get_at_it()}; echo; echo runs")
        assert door.canary.text not in seen.said, name
        if trick.base:
            assert seen.code == NOT_STARTED, (name, seen)
            assert not seen.out
        else:
            assert seen.out[-1:] == ["runs"], (name, seen)


@pytest.mark.attack("T8")
def test_set_user_id_files_are_not_to_be_reached(door: Door) -> None:
    """The layers of the store are for its owner alone, so nobody on the machine runs such a file."""
    door.image(member(b"suid", data=b"#!/bin/sh\n", mode=0o6755), member(b"open/", b"5", mode=0o1777))
    assert door.sh("stat -c %a /suid /open").out == ["6755", "1777"]
    found = [path for path in door.world.store.rglob("suid") if path.is_file()]
    for path in found:
        inner = [one for one in path.parents if door.world.store in (one, *one.parents)]
        assert any(one.stat().st_mode & 0o077 == 0 for one in inner), path
    assert found


@pytest.mark.attack("T16", by="both")
def test_a_zip_is_a_file(world: World) -> None:
    """ADD unpacks none, as docker does not, so nothing in one does harm; nor is it a layer of an image."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("../../../../tmp/pybuild-zip", "evil")
        archive.writestr("/tmp/pybuild-zip", "evil")
    world.write({"Dockerfile": "FROM scratch\nADD evil.zip /d/\n", "evil.zip": data.getvalue()})
    out = world.out()
    assert (out / "d/evil.zip").read_bytes() == data.getvalue()
    assert os.listdir(out / "d") == ["evil.zip"]
    assert not Path("/tmp/pybuild-zip").exists()


@pytest.mark.attack("T17", by="both")
def test_nothing_is_unpacked_by_pythons_own_means() -> None:
    """CVE-2007-4559, CVE-2025-4517: `tarfile` reads headers at most, and writes no files here."""
    writing = {"extractall", "extract", "unpack_archive", "_extract_member"}
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in writing:
                found.append(f"{path}:{node.lineno}: {node.attr}")
    assert found == []


@pytest.mark.attack("T18")
def test_an_archive_that_meets_links_of_what_it_is_laid_over(door: Door) -> None:
    """Files of an upper layer whose directories are links in a lower one, to outside, up, and through /proc."""
    out = str(door.canary.directory)
    door.image(
        link("a", out), member(b"a/secret", data=b"evil"),
        link("b", "../" * 30 + out[1:]), member(b"b/secret", data=b"evil"), member(b"b/new", data=b"evil"),
        link("c", "/proc/self/root" + out), member(b"c/secret", data=b"evil"),
        link("e", "/proc/self/fd"), member(b"e/3", data=b"evil"), member(b"e/pipe", PIPE),
    )  # fmt: skip
    seen = door.sh(f"{door.canary.get_at_it()}; cat {out}/secret; :")
    assert door.canary.text not in seen.said
