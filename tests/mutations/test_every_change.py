"""Every kind of change of every kind of input, through the command line: the answer is that of a build from nothing.

One Buildfile has a target for each way in which files come into a build, each
with a directory of its own that holds the same things. A change is made to one
directory, which the first tier, the graph that the last build left, and the
keys must all see, and then to the others (with `PYBUILD_MUTATIONS` set: to one
after the other, with a build after each). The changed targets' images, and no
others, may become others; at the end all are what an empty store gives. Times
are clamped, so that equal answers are equal digests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.behaviour.world import World

SHOW = "find {0} | sort | while read -r p; do stat -c '%F %a %N' $p; [ ! -f $p ] || cat $p; done > /seen"
# By the directory that is changed, how a target takes what is in it.
INPUTS = {
    "file": "FROM scratch\nCOPY file/f /x/",
    "directory": "FROM scratch\nCOPY directory /x",
    "wildcard": "FROM scratch\nCOPY wild[c]ard/* /x/",
    "parents": "FROM scratch\nCOPY --parents parents/**/h parents/f /x/",
    "exclude": "FROM scratch\nCOPY --exclude=g --exclude=d/* exclude /x",
    "attributes": "FROM scratch\nCOPY --chmod=640 --chown=1:2 attributes /x",
    "archive": "FROM scratch\nADD archive.tar /x",
    "mount": "FROM busybox\nRUN --mount=type=bind,source=mount,target=/in " + SHOW.format("/in"),
    "inputs": "FROM busybox\nCOPY inputs /in\nRUN --inputs=/in/d --inputs=/in/[ef] " + SHOW.format("/in"),
    "stage": "FROM busybox AS taken\nCOPY stage /all\nRUN cat /all/g > /g\n"
    "FROM scratch AS stage\nCOPY --from=taken /all/f /all/d /x/",
    "stage-mount": "FROM scratch AS mounted\nCOPY stage-mount /all\n"
    "FROM busybox AS stage-mount\nRUN --mount=from=mounted,source=/all,target=/in " + SHOW.format("/in"),
    "named": "FROM scratch\nCOPY --from=other . /x",
    "ignored": "FROM scratch\nCOPY ignored /x",
}
TARGETS = tuple(INPUTS)


def dockerfile() -> str:
    """All targets; where a target is of one stage, that has the target's name."""
    parts = []
    for name, text in INPUTS.items():
        first, _, rest = text.partition("\n")
        parts.append(text if " AS " in text else f"{first} AS {name}\n{rest}")
    return "\n".join(parts) + "\n"


def populate(top: Path) -> None:
    """What is in the directory of each input."""
    for directory in (top / "d", top / "e"):
        directory.mkdir(parents=True)
    for name in ("f", "g", "d/h", "p"):
        (top / name).write_text("1\n")
    (top / "l").symlink_to("f")
    os.link(top / "p", top / "q")


def with_times_kept(path: Path, change: Callable[[], object]) -> None:
    before = path.stat()
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path, text: str) -> None:
    """Another file in its place, of the same size and times."""
    aside = path.with_name(".aside")
    shutil.copy2(path, aside)
    with_times_kept(aside, lambda: aside.write_text(text))
    aside.rename(path)


def exchange(one: Path, two: Path) -> None:
    aside = one.with_name(".aside")
    one.rename(aside)
    two.rename(one)
    aside.rename(two)


def become(path: Path, make: Callable[[], object]) -> None:
    """Something else of that name."""
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    make()


# What is done to the directory, and whether a COPY of all of it makes another layer.
CHANGES: dict[str, tuple[Callable[[Path], object], bool]] = {
    "bytes": (lambda top: [(top / name).write_text("22\n") for name in ("f", "g", "d/h")], True),
    "bytes, size and time restored": (
        lambda top: [with_times_kept(p := top / name, lambda: p.write_text("2\n")) for name in ("f", "g", "d/h")],
        True,
    ),
    "bytes, by another file of the same size and time": (lambda top: replace(top / "f", "2\n"), True),
    "mode of a file": (lambda top: [(top / name).chmod(0o640) for name in ("f", "d/h")], True),
    "mode of a directory": (lambda top: (top / "d").chmod(0o750), True),
    "set-uid bit": (lambda top: (top / "f").chmod(0o4755), True),
    "owner": (lambda top: os.chown(top / "g", 12, 34), False),
    "xattr of a file": (lambda top: os.setxattr(top / "f", "user.note", b"x"), True),
    "xattr of a directory": (lambda top: os.setxattr(top / "d", "user.note", b"x"), True),
    "new file": (lambda top: (top / "d" / "new").write_text("1\n"), True),
    "new empty directory": (lambda top: (top / "d" / "new").mkdir(), True),
    "empty directory removed": (lambda top: (top / "e").rmdir(), True),
    "file removed": (lambda top: (top / "d" / "h").unlink(), True),
    "file renamed": (lambda top: (top / "d" / "h").rename(top / "d" / "i"), True),
    "directory renamed": (lambda top: (top / "e").rename(top / "ee"), True),
    "two files exchanged": (
        lambda top: ((top / "g").chmod(0o600), (top / "g").write_text("2\n"), exchange(top / "f", top / "g")),
        True,
    ),
    "file to directory": (lambda top: become(top / "f", (top / "f").mkdir), True),
    "file to link": (lambda top: become(top / "f", lambda: (top / "f").symlink_to("g")), True),
    "directory to file": (lambda top: become(top / "d", lambda: (top / "d").write_text("1\n")), True),
    "link to file": (lambda top: become(top / "l", lambda: (top / "l").write_text("1\n")), True),
    "link led elsewhere": (lambda top: become(top / "l", lambda: (top / "l").symlink_to("g")), True),
    "hard link made": (lambda top: become(top / "g", lambda: os.link(top / "f", top / "g")), True),
    "hard link broken": (lambda top: become(top / "q", lambda: (top / "q").write_text("1\n")), True),
    "hard link to another file": (lambda top: become(top / "q", lambda: os.link(top / "g", top / "q")), True),
    "only times": (lambda top: [os.utime(top / name, (1, 1)) for name in ("f", "d", "d/h")], False),
}


class Project:
    """The project of one world, built until the first tier answers."""

    def __init__(self, world: World, base_layout: Path) -> None:
        self.world = world
        self.layout = base_layout
        self.places = {name: world.project / name for name in TARGETS}
        self.places["named"] = world.top / "named"
        self.places["ignored"] = world.project / "ignored" / "skipped"
        for place in self.places.values():
            populate(place)
        self.pack()
        world.write({"Dockerfile": dockerfile(), ".dockerignore": "*/skipped\narchive\n"})
        if world.mode == "user" and os.geteuid() == 0:
            owner = world.top.stat()
            subprocess.run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", world.top], check=True)
        world.env["SOURCE_DATE_EPOCH"] = "0"
        self.import_base()

    def pack(self) -> None:
        """Make the archive of its directory anew, in the same file and with the same time."""
        path = self.world.project / "archive.tar"
        before = path.stat().st_mtime_ns if path.exists() else 10**18
        with tarfile.open(path, "w") as archive:
            archive.add(self.places["archive"], ".")
        os.utime(path, ns=(before, before))

    def import_base(self) -> None:
        base = self.world.project.parent / "base"
        base.mkdir(exist_ok=True)
        (base / "Dockerfile").write_text(f"FROM oci-layout://{self.layout}\n")
        self.world.run("build", "-q", "-t", "docker.io/library/busybox:latest", str(base))

    def build(self) -> tuple[dict[str, str], bool]:
        """The image of each target, and whether the first tier answered."""
        named = ("--build-context", f"other={self.places['named']}")
        done = self.world.run("build", "--progress=plain", "--iidfile", "../iid", *named, ".", *TARGETS)
        digests = (self.world.top / "iid").read_text().split("\n")
        return dict(zip(TARGETS, digests, strict=True)), "up to date" in done.stderr

    def settle(self) -> dict[str, str]:
        for _ in range(4):
            time.sleep(0.05)
            digests, first = self.build()
            if first:
                return digests
        raise AssertionError("the first tier never answers")

    def from_nothing(self) -> dict[str, str]:
        kept, self.world.store = self.world.store, self.world.top / "empty"
        try:
            self.import_base()
            digests, first = self.build()
            assert not first
            return digests
        finally:
            if self.world.mode == "user":
                self.world.run("cache", "prune", "--all")
            shutil.rmtree(self.world.store, ignore_errors=True)
            self.world.store = kept


def groups(change: str) -> list[list[str]]:
    """The inputs that are changed together, in their order: one alone, a different one each time, and then the rest."""
    if "PYBUILD_MUTATIONS" in os.environ:
        return [[name] for name in TARGETS]
    alone = TARGETS[list(CHANGES).index(change) % len(TARGETS)]
    return [[alone], [name for name in TARGETS if name != alone]]


@pytest.mark.parametrize("change", CHANGES)
def test_each_input_sees_it(world: World, base_layout: Path, change: str) -> None:
    project = Project(world, base_layout)
    make, differs = CHANGES[change]
    before = now = project.settle()
    for group in groups(change):
        for name in group:
            try:
                make(project.places[name])
            except OSError as problem:
                pytest.skip(f"{problem.strerror}: not on this file system, or not by this user")
            if name == "archive":
                project.pack()
        then, now = now, project.build()[0]
        others = {other: now[other] for other in TARGETS if other not in group}
        assert others == {other: then[other] for other in others}, f"{group} changed, and others' images did"
    assert now == project.from_nothing()
    assert (now["directory"] != before["directory"]) == differs
    assert now["ignored"] == before["ignored"]


@pytest.mark.parametrize("name", ["file", "stage"])
def test_what_is_gone_is_missed(world: World, base_layout: Path, name: str) -> None:
    project = Project(world, base_layout)
    project.settle()
    (project.places[name] / "f").unlink()
    done = world.run("build", "--build-context", f"other={project.places['named']}", ".", *TARGETS, ok=False)
    assert done.returncode == 4
    assert "f` not found" in done.stderr
