"""What is run again, and what is not."""

from __future__ import annotations

import os
import tarfile
import time
from pathlib import Path

import pytest

from tests.behaviour.world import World

DOCKERFILE = """\
FROM busybox AS build
RUN echo one > /one
WORKDIR /src
COPY src .
RUN cat a.txt /one > /made
FROM busybox
COPY --from=build /made /made
RUN test -s /made
"""


@pytest.fixture
def project(world: World, base_layout: Path) -> World:
    world.write({"Dockerfile": DOCKERFILE, "src/a.txt": "a\n", "src/sub/b.txt": "b\n"})
    world.env["PYBUILD_TEST"] = "1"
    return world


def build(world: World, base_layout: Path, *argv: str) -> list[str]:
    return world.ran(world.build("--build-context", f"busybox=oci-layout://{base_layout}", *argv))


def test_a_rebuild_runs_nothing(project: World, base_layout: Path) -> None:
    assert len(build(project, base_layout)) == 6
    assert build(project, base_layout) == []


def test_a_changed_file_reruns_what_stands_on_it(project: World, base_layout: Path) -> None:
    build(project, base_layout)
    project.write({"src/a.txt": "changed\n"})
    ran = build(project, base_layout)
    assert [name.partition("] ")[2] for name in ran] == [
        "COPY src .",
        "RUN cat a.txt /one > /made",
        "COPY --from=build /made /made",
        "RUN test -s /made",
    ]


def test_a_file_that_the_result_does_not_show_stops_early(project: World, base_layout: Path) -> None:
    build(project, base_layout)
    project.write({"src/sub/b.txt": "changed\n"})
    ran = build(project, base_layout)
    assert [name.partition("] ")[2] for name in ran] == ["COPY src .", "RUN cat a.txt /one > /made"]


def test_an_old_state_is_still_known(project: World, base_layout: Path) -> None:
    build(project, base_layout)
    project.write({"src/a.txt": "changed\n"})
    build(project, base_layout)
    project.write({"src/a.txt": "a\n"})
    assert build(project, base_layout) == []


def test_a_stage_is_read_through_a_linked_copy_in_it(world: World) -> None:
    world.write(
        {
            "Dockerfile": "FROM scratch AS a\nCOPY below /below\nCOPY --link above /above\n"
            "FROM scratch\nCOPY --from=a /below /copied\n",
            "below": "old",
            "above": "above",
        }
    )
    world.out()
    world.write({"below": "new"})
    assert (world.out() / "copied").read_text() == "new"


def test_a_stage_that_was_made_anew_for_itself_is_read_again(world: World, base_layout: Path) -> None:
    world.write(
        {
            "Dockerfile": f"FROM oci-layout://{base_layout} AS a\nRUN cat /proc/sys/kernel/random/uuid > /id\n"
            "FROM scratch\nCOPY --from=a /id /id\n"
        }
    )
    first = (world.out() / "id").read_text()
    world.build("--no-cache", "--target", "a", "-o", "stage")
    second = (world.project / "stage/id").read_text()
    assert second != first
    assert (world.out() / "id").read_text() == second


def test_the_memo_of_a_step_that_was_made_anew_does_not_answer(world: World, base_layout: Path) -> None:
    world.write(
        {
            "Dockerfile": f"FROM oci-layout://{base_layout} AS a\nRUN cat /proc/sys/kernel/random/uuid > /id\n"
            "FROM a\nRUN true\n"
        }
    )

    def image(*options: str) -> str:
        return world.run("build", "-q", "-t", "x", *options, ".").stdout

    first = image()
    assert image() == first
    world.build("--no-cache", "--target", "a")
    second = image()
    assert second != first
    assert image() == second


def test_no_cache_runs_all_and_keeps_the_image(project: World, base_layout: Path) -> None:
    build(project, base_layout, "-t", "x", "--iidfile", "first")
    ran = build(project, base_layout, "-t", "x", "--iidfile", "second", "--no-cache")
    assert [name for name in ran if "RUN" in name], ran
    assert (project.project / "first").read_text() == (project.project / "second").read_text()


# a store in its own context


def test_a_store_inside_the_context_is_no_part_of_it(world: World, base_layout: Path) -> None:
    inside = world.project / "cache/pybuild"
    world.env["PYBUILD_HOME"] = str(inside)
    base = f"oci-layout://{base_layout}"
    world.write(
        {
            "Dockerfile": f"FROM {base}\nCOPY . /all\nRUN find /all | sort > /list\n",
            "cache/other": "other",
            "cache/pybuild-too": "too",
            "a": "a",
            ".dockerignore": "*\n!**/*\n.git\n",
        }
    )
    out = world.top / "out"
    world.build("-o", str(out))
    assert (inside / "format").exists()
    found = ["/all", "/all/.dockerignore", "/all/Dockerfile", "/all/a", "/all/cache", "/all/cache/other"]
    assert (out / "list").read_text().split() == [*found, "/all/cache/pybuild-too"]
    assert world.ran(world.build()) == []
    world.write({"a": "changed"})
    assert len(world.ran(world.build())) == 2
    world.write({"Dockerfile": "FROM scratch\nCOPY . /all\n"})
    for _ in range(3):
        time.sleep(0.05)
        done = world.build("-t", "x")
    assert "up to date" in done.stderr, "what builds leave in it changes nothing"


def test_a_store_inside_the_context_cannot_be_named(world: World) -> None:
    world.env["PYBUILD_HOME"] = str(world.project / "kept")
    world.write({"Dockerfile": "FROM scratch\nCOPY kept/format /x\n"})
    done = world.build(ok=False)
    assert done.returncode == 4
    assert "`kept/format` not found" in done.stderr
    assert "hint: `kept` is pybuild's own store or cache, which is part of no context" in done.stderr
    world.write({"Dockerfile": "FROM scratch\nCOPY link/format k* /x/\n"})
    (world.project / "link").symlink_to("kept")
    assert "not found" in world.build(ok=False).stderr


def test_what_a_stage_has_of_large_files_is_read_once(world: World, base_layout: Path) -> None:
    """And is another one where the stage made it anew, of the same size."""
    text = (
        "FROM busybox AS build\nRUN yes {} | head -c 400000 > /large\nCOPY a /a\n"
        "FROM busybox\nCOPY --from=build /large /copy\n"
    )
    named = f"--build-context=busybox=oci-layout://{base_layout}"

    def build(word: str, a: str) -> tuple[str, list[str]]:
        world.write({"Dockerfile": text.format(word), "a": a, ".dockerignore": "out\n"})
        done = world.build("-o", "out", named)
        return (world.project / "out/copy").read_text()[:4], world.ran(done)

    assert build("one", "1")[0] == "one\n"
    time.sleep(2.1)  # until the files are no longer as fresh as that one cannot say whether they changed
    for a in ("2", "3"):
        copied, ran = build("one", a)
        assert copied == "one\n"
        assert not any("COPY --from" in name for name in ran)
        assert len(list(world.store.glob("layers/*/note-digests"))) == 1
    copied, ran = build("two", "3")
    assert copied == "two\n"
    assert any("COPY --from" in name for name in ran)


def test_a_step_that_gives_its_files_other_times_has_them(project: World, base_layout: Path) -> None:
    """Times are in no key. But what a step was told to write is what it wrote, not what an earlier one did."""
    text = """FROM busybox
RUN echo hi > /f && echo ho > /g
RUN touch -d '{}-01-01 00:00:00' /f && echo again > /h
"""

    def made(year: int, *argv: str) -> tuple[str, set[int]]:
        project.write({"Dockerfile": text.format(year)})
        build(project, base_layout, "-t", "x", "--iidfile", "id", "-o", "type=tar,dest=out.tar", *argv)
        with tarfile.open(project.project / "out.tar") as files:
            times = {time.gmtime(files.getmember(name).mtime).tm_year for name in ("f",)}
        return (project.project / "id").read_text(), times

    first, times = made(2001)
    assert times == {2001}
    other, times = made(2003)
    assert (other != first, times) == (True, {2003})
    # A time of its own is no reason to be another image: the same again is the same, whenever it ran.
    time.sleep(1.1)
    assert made(2003, "--no-cache") == (other, {2003})
    assert made(2001, "--no-cache") == (first, {2001})
    assert made(2003) == (other, {2003})


def test_the_times_that_a_step_gave_travel(project: World, base_layout: Path) -> None:
    project.write({"Dockerfile": "FROM busybox\nRUN echo hi > /f && touch -d '2001-01-01 00:00:00' /f\nRUN true\n"})
    made = project.build("--build-context", f"busybox=oci-layout://{base_layout}", "-q", "--cache-to=type=local,dest=c")
    project.env["PYBUILD_HOME"] = str(project.top / "another")
    got = build(project, base_layout, "--cache-from=type=local,src=c", "--iidfile", "id")
    assert (got, (project.project / "id").read_text()) == ([], made.stdout.strip())


@pytest.mark.parametrize("files", [3, 600])
def test_times_that_few_clocks_reach(world: World, files: int) -> None:
    """After 2262 and before 1677 the nanoseconds since 1970 need more than 64 bits."""
    world.write(
        {f"d/f{number}": f"{number}\n" for number in range(files)} | {"Dockerfile": "FROM scratch\nCOPY d /d\n"}
    )
    for name, seconds in (("f0", 12_000_000_000), ("f1", -12_000_000_000)):
        os.utime(world.project / "d" / name, (seconds, seconds))
    first = world.build("-t", "x", "-q").stdout
    assert world.build("-t", "x", "-q").stdout == first
    (world.project / "d/f2").write_text("other\n")
    other = world.build("-t", "x", "-q").stdout
    assert other != first
    assert world.build("-t", "x", "-q", "--no-cache").stdout == other
