"""The first tier gives exactly the answer of the full path: every kind of input is changed, and both are asked.

The full path's answer is taken from a build into an empty store. Times are
clamped (`SOURCE_DATE_EPOCH`), so that equal answers are equal digests.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.behaviour.world import World

DOCKERFILE = """\
INCLUDE lib/put
FROM busybox
ARG VERSION=1
ENV VERSION=$VERSION
COPY src /src
COPY one.txt /one.txt
RUN find /src | sort | xargs stat -c '%N %A' > /listing; cat /one.txt > /copy; echo $VERSION >> /copy
DO put
COPY --from=./other+made / /
"""
LIBRARY = "INCLUDE more\nFUNCTION put\n    RUN echo 1 > /put\n    DO more\nEND\n"
MORE = "FUNCTION more\n    RUN echo 1 > /more\nEND\n"
OTHER = "FROM scratch AS made\nCOPY . /other1\n"
FILES = {
    "Dockerfile": DOCKERFILE,
    "lib/put": LIBRARY,
    "lib/more": MORE,
    "other/Dockerfile": OTHER,
    "other/g": "g\n",
    "src/a.txt": "aaaa\n",
    "src/sub/b.txt": "bbbb\n",
    "src/ignored.o": "object\n",
    "one.txt": "1111\n",
    ".dockerignore": "**/*.o\n",
}


class Case:
    """A project that was built twice, so that the first tier answers."""

    def __init__(self, world: World, base_layout: Path) -> None:
        self.world = world
        self.layout = base_layout
        world.write(FILES)
        world.env["SOURCE_DATE_EPOCH"] = "0"
        (world.project / "src" / "link").symlink_to("a.txt")
        self.import_base(base_layout)
        time.sleep(0.05)
        self.arguments = ["build", "--progress=plain", "-t", "x:1", "--iidfile", "iid", "."]

    def import_base(self, layout: Path) -> None:
        """Give the store an image of the name `busybox`: what a pull would have left."""
        self.world.write({"base/Dockerfile": f"FROM oci-layout://{layout}\n"})
        self.world.run("build", "-q", "-t", "docker.io/library/busybox:latest", "base")
        shutil.rmtree(self.world.project / "base")

    def build(self, **env: str) -> tuple[str, bool]:
        """The image's digest, and whether the first tier answered."""
        done = self.world.run(*self.arguments, **env)
        return (self.world.project / "iid").read_text(), "up to date" in done.stderr

    def settle(self) -> str:
        """Build until the first tier answers; the digest."""
        for _ in range(3):
            time.sleep(0.05)
            digest, first = self.build()
            if first:
                return digest
        raise AssertionError("the first tier never answers")

    def from_nothing(self, **env: str) -> str:
        """What a build into an empty store gives."""
        kept = self.world.store
        self.world.store = self.world.top / "empty"
        try:
            self.import_base(self.layout)
            digest, first = self.build(**env)
            assert not first
            return digest
        finally:
            if self.world.mode == "user":
                self.world.run("cache", "prune", "--all")
            shutil.rmtree(self.world.store, ignore_errors=True)
            self.world.store = kept


@pytest.fixture
def case(world: World, base_layout: Path) -> Case:
    return Case(world, base_layout)


def restoring_times(path: Path, change: Callable[[], object]) -> None:
    before = path.stat()
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# What changes besides the files of a context, which tests/mutations has, and whether the image does.
MUTATIONS: dict[str, tuple[Callable[[Path], object], bool]] = {
    "bytes of a file copied alone": (lambda top: (top / "one.txt").write_text("2222\n"), True),
    "ignore file": (lambda top: (top / ".dockerignore").write_text("**/*.o\nsrc/sub\n"), True),
    "ignore file, size and time restored": (
        lambda top: restoring_times(top / ".dockerignore", lambda: (top / ".dockerignore").write_text("**/*.p\n")),
        True,
    ),
    "ignore file removed": (lambda top: (top / ".dockerignore").unlink(), True),
    "ignore file of the Buildfile appears": (lambda top: (top / "Dockerfile.dockerignore").write_text(""), True),
    "Buildfile": (lambda top: (top / "Dockerfile").write_text(DOCKERFILE + "RUN true\n"), True),
    "Buildfile, size and time restored": (
        lambda top: restoring_times(
            top / "Dockerfile", lambda: (top / "Dockerfile").write_text(DOCKERFILE.replace("VERSION=1", "VERSION=2"))
        ),
        True,
    ),
    "a Buildfile that is looked for first appears": (
        lambda top: (top / "Buildfile").write_text("FROM busybox\n"),
        True,
    ),
    "an included file, size and time restored": (
        lambda top: restoring_times(top / "lib/put", lambda: (top / "lib/put").write_text(LIBRARY.replace("1", "2"))),
        True,
    ),
    "a file that an included file includes": (lambda top: (top / "lib/more").write_text(MORE.replace("1", "2")), True),
    "another file's target": (lambda top: (top / "other/Dockerfile").write_text(OTHER.replace("1", "2")), True),
    "its ignore file": (lambda top: (top / "other/.dockerignore").write_text("g\n"), True),
    "its context": (lambda top: (top / "other/g").chmod(0o600), True),
    "an ignored file": (lambda top: (top / "src/ignored.o").write_text("other\n"), False),
    "a new ignored file": (lambda top: (top / "src/more.o").write_text("other\n"), False),
    "a file that no step takes": (lambda top: (top / "unrelated").write_text("x"), False),
    "only the time": (lambda top: os.utime(top / "src/a.txt"), False),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_changed_project(case: Case, name: str) -> None:
    before = case.settle()
    change, differs = MUTATIONS[name]
    change(case.world.project)
    after, _ = case.build()
    assert after == case.from_nothing()
    assert (after != before) == differs
    assert case.build()[0] == after


def test_it_answers_right_after_a_build_that_ran(case: Case) -> None:
    assert not case.build()[1]
    assert case.build()[1]
    case.world.write({"Dockerfile": DOCKERFILE + "RUN sleep 1\n", "src/a.txt": "changed\n"})
    # As if it was written while the build looked at it.
    fresh = time.time_ns() + 400_000_000
    os.utime(case.world.project / "src/a.txt", ns=(fresh, fresh))
    assert not case.build()[1]
    assert case.build()[1]


def test_environment_and_build_arguments(case: Case) -> None:
    before = case.settle()
    assert case.build(SOURCE_DATE_EPOCH="1") != (before, True)
    case.arguments[-1:] = ["--build-arg", "VERSION", "."]
    one, first = case.build(VERSION="7")
    assert not first
    assert one == case.from_nothing(VERSION="7")
    two, first = case.build(VERSION="8")
    assert not first
    assert two not in (one, before)


def test_another_base_image_under_the_same_name(case: Case) -> None:
    before = case.settle()
    case.world.write({"base/Dockerfile": f"FROM oci-layout://{case.layout}\nRUN echo new > /new\n"})
    case.world.run("build", "-q", "-t", "docker.io/library/busybox:latest", "base")
    shutil.rmtree(case.world.project / "base")
    after, first = case.build()
    assert not first
    assert after != before


def test_the_image_was_removed(case: Case) -> None:
    before = case.settle()
    case.world.run("rmi", "x:1")
    assert case.build() == (before, False)
    assert "x:1" in case.world.run("images").stdout


def test_the_name_was_given_to_another_image(case: Case) -> None:
    before = case.settle()
    case.world.run("tag", "busybox", "x:1")
    assert case.build() == (before, False)
    assert before in case.world.run("inspect", "x:1").stdout


@pytest.mark.parametrize("part", ["blobs/sha256", "layers", "records", "snapshots", "images"])
def test_parts_of_the_store_are_gone(case: Case, part: str) -> None:
    before = case.settle()
    directory = case.world.store / part
    if part in ("images",):
        case.import_base(case.layout)
    victims = [path for path in sorted(directory.iterdir()) if not (part == "images" and "busybox" in path.name)]
    for path in victims:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if part in ("blobs/sha256", "layers"):
        case.import_base(case.layout)
    after, _ = case.build()
    assert after == before
    case.world.run("cache", "verify", ok=False)  # names what is missing, and drops what stood on it
    case.world.run("cache", "verify")
    assert case.build()[0] == before


@pytest.mark.attack("K5")
def test_a_damaged_memo_answers_nothing(case: Case) -> None:
    case.arguments[1:1] = ["-q"]
    time.sleep(0.05)
    digest = case.world.run(*case.arguments).stdout
    case.world.run(*case.arguments)
    changed = 0
    for path in (case.world.store / "memo").iterdir():
        data = path.read_bytes()
        at = data.rfind(digest.strip().encode())
        if len(path.name) == 32 and at >= 0:
            with path.open("r+b") as file:  # in place: what is copied is not believed as it is
                file.seek(at + 20)
                file.write(b"0" if data[at + 20 : at + 21] != b"0" else b"1")
            changed += 1
    assert changed
    assert case.world.run(*case.arguments).stdout == digest


@pytest.mark.attack("K5")
def test_damaged_notes_of_a_context_are_in_no_image(case: Case) -> None:
    os.setxattr(case.world.project / "src/a.txt", "user.k", b"A" * 32)
    case.settle()
    (notes,) = (path for path in (case.world.store / "scans").iterdir() if b"A" * 32 in path.read_bytes())
    with notes.open("r+b") as file:
        file.seek(notes.read_bytes().index(b"A" * 32) + 8)
        file.write(b"C")
    (case.world.project / "src/sub/b.txt").write_text("other")
    after, _ = case.build()
    assert after == case.from_nothing()


def test_an_output_file_was_changed(case: Case) -> None:
    case.arguments[-1:] = ["-o", "type=oci,dest=x.tar", "."]
    case.settle()
    archive = case.world.project / "x.tar"
    whole = archive.read_bytes()
    archive.write_bytes(b"")
    case.build()
    assert archive.read_bytes() == whole
    archive.unlink()
    case.build()
    assert archive.read_bytes() == whole


def test_the_first_tier_answers_quietly_and_from_any_terminal(case: Case) -> None:
    case.arguments[1:1] = ["-q"]
    time.sleep(0.05)
    first = case.world.run(*case.arguments)
    second = case.world.run(*case.arguments)
    assert first.stdout == second.stdout
    assert first.stdout.startswith("sha256:")
    assert second.stderr == ""
