"""User ids that are not there: a store filled with others is refused, and what cannot be kept is said."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.behaviour.world import World
from tests.needs import need

LOST = "files of other owners belong to root in this build"


def _with_one_id(world: World, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run pybuild in a user namespace in which only id 0 exists."""
    command = world.command(*argv)
    at = command.index("--clear-groups") + 1 if "--clear-groups" in command else 0
    done = subprocess.run(
        [*command[:at], "unshare", "--map-root-user", *command[at:]],
        cwd=world.project,
        env=world.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(autouse=True)
def _programs() -> None:
    need("unshare")


def test_one_id_and_a_range_share_no_results(world: World, base_layout: Path) -> None:
    world.write({"Dockerfile": "FROM busybox\nRUN touch /x; chown 7:7 /x; stat -c %u /x > /owner\n"})
    argv = ("build", "--build-context", f"busybox=oci-layout://{base_layout}", ".")
    world.run(*argv)
    done = _with_one_id(world, *argv)
    assert "made with other user ids" in done.stderr
    assert done.returncode not in (0, 70)


def test_what_has_no_owners_does_not_travel_to_who_has_ids(world: World, base_layout: Path) -> None:
    """Under equal keys their files are others; who has no more ids takes it, and what it took goes on saying so."""
    world.write({"Dockerfile": "FROM busybox\nCOPY --chown=7:8 a /\nRUN cp -a /a /b\n", "a": "a"})
    argv = ("build", "--progress=plain", "--build-context", f"busybox=oci-layout://{base_layout}", ".")
    to, source = "--cache-to=type=local,dest=cache{}", "--cache-from=type=local,src=cache{}"

    def machine(name: str) -> None:
        world.env["PYBUILD_HOME"] = str(world.top / f"machine-{name}")

    machine("one")
    first = _with_one_id(world, *argv, to.format(1))
    assert first.returncode == 0, first.stderr
    machine("two")
    second = _with_one_id(world, *argv, source.format(1), to.format(2))
    assert (second.returncode, world.ran(second)) == (0, []), second.stderr
    for number in (1, 2):
        machine(f"three-{number}")
        third = world.run(*argv, source.format(number), "-o", f"type=tar,dest={number}.tar")
        assert len(world.ran(third)) == 2
        assert "2 of 2 records are not used: who made them has a single user id" in third.stderr
        with tarfile.open(world.project / f"{number}.tar") as files:
            assert {name: (files.getmember(name).uid, files.getmember(name).gid) for name in "ab"} == {
                "a": (7, 8),
                "b": (7, 8),
            }
    # The other way they are taken.
    world.run(*argv, to.format(3))
    machine("four")
    fourth = _with_one_id(world, *argv, source.format(3))
    assert (fourth.returncode, world.ran(fourth)) == (0, []), fourth.stderr


def test_lost_owners_are_said_once_and_the_image_keeps_them(world: World, base_layout: Path) -> None:
    text = "FROM busybox\nCOPY --chown=7:8 a b /\nRUN stat -c %u:%g /a /b > /owners\n"
    world.write({"Dockerfile": text, "a": "a", "b": "b"})
    argv = ("build", "--progress=plain", "--build-context", f"busybox=oci-layout://{base_layout}")
    argv += ("--compression=gzip", "-o", "type=oci,dest=image.tar", ".")
    first = _with_one_id(world, *argv)
    assert first.returncode == 0, first.stderr
    assert first.stderr.count(LOST) == 1, first.stderr
    owners = {}
    with tarfile.open(world.project / "image.tar") as image:
        for blob in image:
            stream = image.extractfile(blob) if blob.name.startswith("blobs/") else None
            try:
                layer = tarfile.open(fileobj=stream) if stream else None
            except tarfile.ReadError:
                continue  # a document
            for member in layer or ():
                owners[member.name] = (member.uid, member.gid)
    assert owners == owners | {"a": (7, 8), "b": (7, 8)}

    again = _with_one_id(world, *argv)
    assert (again.returncode, LOST in again.stderr) == (0, False), again.stderr
    # The directory that lacks the owners is in the store by now, and is used again.
    world.write({"Dockerfile": text + "RUN true\n"})
    more = _with_one_id(world, *argv)
    assert more.stderr.count(LOST) == 1, more.stderr


def test_a_rebuild_that_uses_what_lost_its_owners_says_so_again(world: World, base_layout: Path) -> None:
    text = "FROM busybox\nCOPY --chown=7:8 a /\nRUN stat -c %u:%g /a > /owners\n"
    world.write({"Dockerfile": text, "a": "a"})
    argv = ("build", "--build-context", f"busybox=oci-layout://{base_layout}", "-o", "type=tar,dest=files.tar", ".")
    for _ in range(3):
        done = _with_one_id(world, *argv)
        assert (done.returncode, done.stderr.count(LOST)) == (0, 1), done.stderr


def test_with_a_range_nothing_is_lost(world: World, base_layout: Path) -> None:
    world.write({"Dockerfile": "FROM busybox\nCOPY --chown=7:8 a /\nRUN stat -c %u:%g /a > /owners\n", "a": "a"})
    done = world.build("--build-context", f"busybox=oci-layout://{base_layout}", "-o", "out")
    assert LOST not in done.stderr
    assert (world.project / "out/owners").read_text() == "7:8\n"


def test_a_run_that_builds_its_target_first_is_one_user(world: World, base_layout: Path) -> None:
    world.write({"Buildfile": f"FROM oci-layout://{base_layout} AS one\nRUN echo made > /x\n"})
    assert world.run("run", "Buildfile:one", "--", "cat", "/x").stdout == "made\n"
