"""`--normalize`: what git tracks of a context has git's modes, so another umask changes neither keys nor the image."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.behaviour.world import World
from tests.git_server import Repository
from tests.needs import need

DOCKERFILE = """\
FROM busybox
COPY . /app
COPY script.sh /script.sh
RUN --mount=type=bind,source=dir,target=/in cat /in/file > /all
RUN find /app | sort | xargs stat -c '%n %a' > /modes
"""
FILES = {
    "Dockerfile": DOCKERFILE,
    ".dockerignore": ".git\n.dockerignore\nout\niid\ncache\nBuildfile.py\n",
    "dir/file": "file\n",
    "dir/deep/ö": "ö\n",
    "script.sh": "#!/bin/sh\n",
}
CHECKED_OUT = {
    "/app": "755",
    "/app/Dockerfile": "644",
    "/app/dir": "755",
    "/app/dir/deep": "755",
    "/app/dir/deep/ö": "644",
    "/app/dir/file": "644",
    "/app/script.sh": "755",
}
PYTHON = """\
from buildkit_py import Image, context, target

@target(default=True)
def app():
    return Image("busybox").copy(context("."), "/app").run("find /app | sort | xargs stat -c '%n %a' > /modes")
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    need("git")
    made = Repository(tmp_path, "source")
    (made.tree / "script.sh").write_text("")
    (made.tree / "script.sh").chmod(0o755)
    made.commit(FILES)
    return made


def check_out(world: World, repository: Repository, umask: int, name: str = "project") -> Path:
    """A clone that was made with this umask, owned by who builds."""
    place = world.top / name
    shutil.rmtree(place, ignore_errors=True)
    done = subprocess.run(["git", "clone", "-q", repository.bare, place], umask=umask, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    if world.mode == "user" and os.geteuid() == 0:
        owner = world.top.stat()
        subprocess.run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", place], check=True)
    world.project = place
    return place


def build(world: World, base_layout: Path, *argv: str) -> tuple[str, list[str]]:
    """The image's digest, and the steps that ran."""
    named = ("--build-context", f"busybox=oci-layout://{base_layout}")
    done = world.build(*named, "--reproducible", "-t", "x", "--iidfile", "iid", *argv)
    return (world.project / "iid").read_text(), world.ran(done)


def modes(world: World, base_layout: Path, *argv: str) -> dict[str, str]:
    """What the image's /modes says."""
    named = ("--build-context", f"busybox=oci-layout://{base_layout}")
    text = (world.out(*named, *argv) / "modes").read_text()
    shutil.rmtree(world.project / "out")
    return dict(line.split(" ") for line in text.splitlines())


def test_two_checkouts_with_other_umasks_are_one_image(world: World, base_layout: Path, repository: Repository) -> None:
    cache = world.top / "cache"
    check_out(world, repository, 0o022, "one")
    first, ran = build(world, base_layout, "--normalize", "--cache-to", f"type=local,dest={cache}")
    assert len(ran) == 5
    world.store = world.top / "empty"
    check_out(world, repository, 0o077, "two")
    second, ran = build(world, base_layout, "--normalize", "--cache-from", f"type=local,src={cache}")
    assert (second, ran) == (first, [])
    third, ran = build(world, base_layout)
    assert third != first, "without it the umask decides"


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o077])
def test_the_modes_are_those_of_git(world: World, base_layout: Path, repository: Repository, umask: int) -> None:
    check_out(world, repository, umask)
    assert modes(world, base_layout, "--normalize") == CHECKED_OUT


def test_the_configuration_says_it_for_all_builds(world: World, base_layout: Path, repository: Repository) -> None:
    config = world.top / "config"
    (config / "pybuild").mkdir(parents=True)
    (config / "pybuild/config.toml").write_text("[build]\nnormalize = true\n")
    world.env["XDG_CONFIG_HOME"] = str(config)
    check_out(world, repository, 0o077)
    assert modes(world, base_layout) == CHECKED_OUT
    (config / "pybuild/config.toml").write_text('[build]\nnormalize = "yes"\n')
    done = world.build(ok=False)
    assert done.returncode == 2
    assert "build.normalize must be true or false" in done.stderr


def test_contexts_of_a_buildfile_py_and_named_ones(world: World, base_layout: Path, repository: Repository) -> None:
    check_out(world, repository, 0o077)
    world.write({"Buildfile.py": PYTHON})
    found = modes(world, base_layout, "-f", "Buildfile.py", "--normalize")
    assert found == CHECKED_OUT
    other = check_out(world, repository, 0o077, "other")
    world.project = world.top / "project"
    text = "FROM busybox\nCOPY --from=other dir /app\nRUN find /app | sort | xargs stat -c '%n %a' > /modes\n"
    world.write({"Dockerfile": text})
    found = modes(world, base_layout, "-f", "Dockerfile", "--build-context", f"other={other}", "--normalize")
    assert found == {"/app": "755", "/app/deep": "755", "/app/deep/ö": "644", "/app/file": "644"}


def test_what_git_does_not_track_keeps_its_mode(world: World, base_layout: Path, repository: Repository) -> None:
    check_out(world, repository, 0o022)
    world.write({"new": "n", "dir/new": "n", "fresh/new": "n"})
    for path in ("new", "dir/new", "fresh", "fresh/new", "dir/file", "dir"):
        (world.project / path).chmod(0o701)
    wanted = {"/app/new": "701", "/app/dir/new": "701", "/app/fresh": "701", "/app/fresh/new": "701"}
    # Whether its owner may execute it is all that git knows of a file's mode, also of one that was not committed yet.
    assert modes(world, base_layout, "--normalize") == {**CHECKED_OUT, **wanted, "/app/dir/file": "755"}
    subprocess.run(["git", "-c", "safe.directory=*", "config", "core.fileMode", "false"], cwd=world.project, check=True)
    assert modes(world, base_layout, "--normalize") == {**CHECKED_OUT, **wanted}


def test_each_change_is_noticed(world: World, base_layout: Path, repository: Repository) -> None:
    """Also where the first tier, or the graph that the last build left, would answer."""
    project = check_out(world, repository, 0o022)
    world.write({"new": "n", "Dockerfile": "FROM scratch\nCOPY . /app\n"})
    (project / "new").chmod(0o640)

    def settled() -> str:
        time.sleep(0.05)
        return build(world, base_layout, "--normalize")[0]

    def git(*argv: str) -> None:
        subprocess.run(["git", "-c", "safe.directory=*", *argv], cwd=project, check=True)

    seen = [settled()]
    for change in (
        lambda: (project / "dir/file").chmod(0o755),
        lambda: git("add", "new"),
        lambda: git("rm", "-q", "--cached", "script.sh"),
        lambda: (project / "script.sh").chmod(0o640),
        lambda: shutil.rmtree(project / ".git"),
        lambda: (project / "dir").chmod(0o700),
    ):
        change()
        digest, _ = build(world, base_layout, "--normalize")
        kept, world.store = world.store, world.top / "empty"
        assert build(world, base_layout, "--normalize")[0] == digest
        if world.mode == "user":
            world.run("cache", "prune", "--all")
        shutil.rmtree(world.store, ignore_errors=True)
        world.store = kept
        seen.append(settled())
        assert seen[-1] == digest
    # That git does not know a file any more changes nothing where it has the mode that git gave it.
    assert len(set(seen)) == len(seen) - 1, seen
    (project / "dir/file").chmod(0o600)
    assert build(world, base_layout, "--normalize")[0] not in seen


def test_a_damaged_index_is_an_error(world: World, repository: Repository) -> None:
    project = check_out(world, repository, 0o022)
    world.write({"Dockerfile": "FROM scratch\nCOPY . /\n"})
    (project / ".git/index").write_bytes(b"DIRC")
    done = world.build("--normalize", ok=False)
    assert done.returncode == 4
    assert "cannot read git's index: it is cut short" in done.stderr
    assert "build without normalizing modes" in done.stderr
    world.build()


def test_a_split_index_is_read_with_its_other_part(world: World, base_layout: Path, repository: Repository) -> None:
    project = check_out(world, repository, 0o077)

    def git(*argv: str) -> None:
        subprocess.run(["git", "-c", "safe.directory=*", *argv], cwd=project, check=True)

    git("config", "splitIndex.maxPercentChange", "100")
    git("update-index", "--split-index")
    owner = world.top.stat()
    for path in project.glob(".git/*index*"):
        os.chown(path, owner.st_uid, owner.st_gid)
    world.write({"new": "n"})
    (project / "new").chmod(0o701)
    assert modes(world, base_layout, "--normalize") == {**CHECKED_OUT, "/app/new": "701"}
    git("add", "new")
    git("rm", "-q", "--cached", "script.sh")
    (project / "script.sh").chmod(0o701)
    assert modes(world, base_layout, "--normalize") == {**CHECKED_OUT, "/app/new": "755", "/app/script.sh": "701"}
    for path in project.glob(".git/sharedindex.*"):
        path.unlink()
    world.write({"Dockerfile": "FROM scratch\nCOPY . /\n"})
    done = world.build("--normalize", ok=False)
    assert done.returncode == 4
    assert "cannot read git's index: its other part, sharedindex." in done.stderr
    assert ": No such file or directory" in done.stderr
