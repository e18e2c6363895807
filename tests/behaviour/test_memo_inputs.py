"""What else decides a build besides its files is noticed by the first tier: links, configuration, outputs, texts."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.behaviour.world import World
from tests.fake_registry import fake_registry
from tests.images import index_of, sample

SCRATCH = "FROM scratch\nCOPY f /f\n"


def settled(world: World, *argv: str) -> str:
    """Build until the first tier answers; what a quiet build prints."""
    for _ in range(4):
        time.sleep(0.05)
        done = world.run(*argv, "--progress=plain")
        if "up to date" in done.stderr:
            time.sleep(0.05)
            return world.run(*argv, "-q").stdout + world.run(*argv, "-q").stdout
    raise AssertionError("the first tier never answers")


def test_a_link_to_the_context_leads_elsewhere(world: World) -> None:
    world.write({"a/f": "a\n", "b/f": "b\n", "Dockerfile": SCRATCH})
    link = world.project / "link"
    link.symlink_to("a")
    argv = ("build", "-t", "x", "-f", "Dockerfile", "link")
    old = settled(world, *argv)
    link.unlink()
    link.symlink_to("b")
    assert world.run(*argv, "-q").stdout not in old


def test_one_name_for_two_platforms(world: World) -> None:
    """Neither takes the name from the other: the next build has nothing to do, and asks nobody."""
    images = [sample({"f": architecture.encode()}, architecture=architecture) for architecture in ("amd64", "arm64")]
    with fake_registry() as registry:
        for image in images:
            registry.add(image, image.digest)
        registry.put("latest", index_of(*zip(images, ("amd64", "arm64"), strict=True)))
        stages = [f"FROM --platform=linux/{name} {registry.address}/app AS {name}\n" for name in ("amd64", "arm64")]
        copies = [f"COPY --from={name} /f /{name}\n" for name in ("amd64", "arm64")]
        world.write({"Dockerfile": "".join((*stages, "FROM scratch\n", *copies))})
        old = settled(world, "build", "-t", "x", ".")
        asked = len(registry.requests)
        assert world.build("-t", "x", "--no-cache", "-q").stdout in old
        assert len(registry.requests) == asked


def test_the_configuration_changes(world: World) -> None:
    world.write({"f": "f\n", "Dockerfile": SCRATCH})
    old = settled(world, "build", "-t", "x", ".")
    config = world.top / "home" / ".config" / "pybuild"
    config.mkdir(parents=True)
    (config / "config.toml").write_text('[build]\ncompression = "gzip"\n')
    config.parent.parent.chmod(0o755)
    assert world.run("build", "-t", "x", ".", "-q").stdout not in old


PLACES = """\
from buildkit_py import context, scratch, target

@target(default=True)
def files():
    return scratch().copy(context("src"), "/o").output("/o", "dist")
"""


def test_what_was_put_into_the_project_is_put_there_again(world: World) -> None:
    world.write({"Buildfile.py": PLACES, "src/a": "a\n", "src/b/c": "c\n"})
    settled(world, "Buildfile.py")
    for damage in (lambda path: path.unlink(), lambda path: path.write_text("x\n")):
        damage(world.project / "dist/b/c")
        world.run("Buildfile.py", "--progress=plain")
        assert (world.project / "dist/b/c").read_text() == "c\n"


def test_an_image_layout_in_a_directory_is_written_again(world: World) -> None:
    world.write({"src/f": "f\n", "Dockerfile": "FROM scratch\nCOPY src /\n"})
    argv = ("-o", "type=oci,tar=false,dest=layout")
    for _ in range(3):
        time.sleep(0.05)
        world.build(*argv)
    blobs = sorted((world.project / "layout/blobs/sha256").iterdir())
    blobs[0].unlink()
    world.build(*argv)
    assert blobs[0].exists()


TEXT = """\
from buildkit_py import Image, context, fmt, target

@target(default=True)
def app():
    version = Image("busybox").copy(context("src"), "/v").run("cat /v/version").stdout
    return Image("busybox").run(["sh", "-c", fmt("echo {} > /version", version)])
"""


def test_a_text_that_was_made_of_files(world: World, base_layout: Path) -> None:
    world.write({"Buildfile.py": TEXT, "src/version": "1\n"})
    argv = ("Buildfile.py", "--build-context", "busybox=docker-image://box", "-t", "x", "-q")
    world.write({"base/Dockerfile": f"FROM oci-layout://{base_layout}\n"})
    world.run("build", "-q", "-t", "box", "base")
    seen = set()
    for version in "1", "1", "1", "2":
        time.sleep(0.05)
        world.write({"src/version": f"{version}\n"}) if version == "2" else None
        seen.add(world.run(*argv).stdout)
    assert len(seen) == 2


IMPORTING = """import os, sys
sys.path[:0] = [f"{os.path.dirname(os.path.abspath(__file__))}/{name}" for name in ("none", "lib")]
try:
    from pybuild_optional import V
except ImportError:
    V = "no module"
from buildkit_py import scratch, target

@target
def app():
    return scratch().label(v=V)
"""


def test_a_module_that_appears_where_it_was_looked_for(world: World) -> None:
    world.write({"Buildfile.py": IMPORTING, "lib/other": ""})
    argv = ("Buildfile.py", "-t", "x")
    seen = [settled(world, *argv)]
    for path in "lib/pybuild_optional.py", "lib/pybuild_optional/__init__.py", "none/pybuild_optional.py":
        world.write({path: f"V = {path!r}\n"})
        new = world.run(*argv, "-q").stdout
        assert all(new not in old for old in seen), path
        seen.append(settled(world, *argv))


def test_steps_of_texts_have_numbers_of_their_own(world: World, base_layout: Path) -> None:
    world.write({"Buildfile.py": TEXT, "src/version": "1\n"})
    done = world.run("Buildfile.py", "--build-context", f"busybox=oci-layout://{base_layout}", "--progress=plain")
    numbers = [line.split()[0] for line in done.stderr.splitlines() if line.startswith("#") and " [" in line]
    assert numbers == ["#1", "#2", "#3", "#4", "#5"]
    assert "3 ran" in done.stderr


@pytest.mark.parametrize("argv", [("build", "."), ("--list", "."), (".",)])
def test_the_working_directory_is_gone(world: World, argv: tuple[str, ...]) -> None:
    lost = world.project / "lost"
    lost.mkdir(mode=0o777)
    os.chmod(lost, 0o777)
    script = 'cd "$1"; rmdir "$1"; shift; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", str(lost), *world.command(*argv)],
        env=world.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "the working directory was removed" in done.stderr
    assert done.returncode not in (0, 70)


def test_a_run_of_what_was_pruned_and_built_again(world: World, base_layout: Path) -> None:
    """What an image runs is remembered under its digest, which is the same again; its layers' ids are not."""
    world.write({"Dockerfile": f"FROM oci-layout://{base_layout}\nCOPY f /f\nRUN cat /f > /m\n"})
    for text in ("1", "2"):
        world.write({"f": text})
        world.build("-t", "one")
        assert world.run("run", "--rm", "one", "cat", "/m").stdout == text
    world.run("cache", "prune")
    world.write({"f": "1"})
    world.build("-t", "one")
    assert world.run("run", "--rm", "one", "cat", "/m").stdout == "1"
