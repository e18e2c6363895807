"""TEST and checks from outside: `pybuild test`, what it remembers, its report, and that a push waits for it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.behaviour.world import World
from tests.needs import need
from tests.registry_server import COMMAND, registry_server


@pytest.fixture
def project(world: World, base_layout: Path) -> World:
    world.env["BASE"] = f"oci-layout://{base_layout}"
    return world


def buildfile(world: World, text: str) -> None:
    world.write({"Buildfile": text.replace("BASE", world.env["BASE"])})


TEXT = """\
FROM BASE AS app
COPY answer /answer
RUN touch /made
TEST --name=unit echo looking; test "$(cat /answer)" = 42 && touch /left
TEST test ! -e /left
FROM BASE AS web
TEST --name="is made" ls /made
FROM app
COPY --from=web /etc /etc
RUN ls / > /listing
OUTPUT /listing ./
"""


def lines(output: str) -> list[list[str]]:
    """The summary without times."""
    return [line.split("  ")[:2] for line in output.splitlines()[:-1]]


def test_tests_pass_are_remembered_and_fail(project: World) -> None:
    buildfile(project, TEXT.replace("ls /made", "true"))
    project.write({"answer": "42\n"})
    first = project.run("test", "--progress=plain")
    assert lines(first.stdout) == [["PASS", "app: unit"], ["PASS", "app: test ! -e /left"], ["PASS", "web: is made"]]
    assert "3 passed in" in first.stdout
    assert "cached" not in first.stdout
    again = project.run("test", "--progress=plain")
    assert again.stdout.count("cached") == 4
    assert project.ran(again) == []
    project.write({"answer": "41\n"})
    for _ in range(2):
        failed = project.run("test", "--progress=plain", ok=False)
        assert failed.returncode == 1
        assert lines(failed.stdout)[0] == ["FAIL", "app: unit"]
        assert "1 failed" in failed.stdout
        assert "Buildfile:4:1: `[app] TEST --name=unit" in failed.stderr
        assert "\nlooking\n" in failed.stderr
        assert any("--name=unit" in name for name in project.ran(failed)) is False, "a failure is no DONE"
    project.write({"answer": "42\n"})
    assert project.ran(project.run("test", "--progress=plain")) == []


def test_a_test_leaves_nothing_and_a_build_runs_none(project: World) -> None:
    buildfile(project, TEXT)
    project.write({"answer": "1\n"})
    done = project.run(".", "--progress=plain")
    assert "TEST" not in done.stderr
    listing = (project.project / "listing").read_text().split()
    assert "made" in listing
    assert "left" not in listing


def test_targets_are_named_with_a_file_or_without(project: World) -> None:
    buildfile(project, TEXT)
    project.write({"answer": "42\n"})
    assert lines(project.run("test", "app").stdout) == [["PASS", "app: unit"], ["PASS", "app: test ! -e /left"]]
    for argv in (("web",), (".", "web"), ("Buildfile", "web"), ("-f", "Buildfile", ".", "web")):
        done = project.run("test", *argv, ok=False)
        assert (done.returncode, lines(done.stdout)) == (1, [["FAIL", "web: is made"]])
    last = project.run("test", ".", "default", ok=False)
    assert len(lines(last.stdout)) == 3
    gone = project.run("test", "wbe", ok=False)
    assert gone.returncode == 2
    assert "did you mean `web`?" in gone.stderr


def test_what_could_not_run(project: World) -> None:
    buildfile(project, "FROM BASE AS a\nRUN exit 3\nTEST true\nFROM BASE AS b\nTEST true\n")
    done = project.run("test", "--junit=out/report.xml", "--progress=plain", ok=False)
    assert done.returncode == 1
    assert lines(done.stdout) == [["SKIP", "a: true"], ["PASS", "b: true"]]
    assert "`[a 2/2] RUN exit 3` ended with exit code 3" in done.stderr
    root = ElementTree.parse(project.project / "out/report.xml").getroot()
    assert (root.get("tests"), root.get("skipped"), root.get("failures")) == ("2", "1", "0")


def test_they_run_side_by_side(project: World) -> None:
    """Each waits for what the other one does."""
    meet = "TEST --timeout=1m --mount=type=cache,target=/c touch /c/{}; until [ -e /c/{} ]; do sleep 0.05; done\n"
    buildfile(project, "FROM BASE AS a\n" + meet.format("1", "2") + "FROM BASE AS b\n" + meet.format("2", "1"))
    assert "2 passed" in project.run("test", "-j2").stdout


def test_progress_as_json_is_nothing_else(project: World) -> None:
    buildfile(project, "FROM BASE AS a\nTEST exit 3\n")
    done = project.run("test", "--progress=json", ok=False)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert any(event["event"] == "step-finished" and event["state"] == "FAILED" for event in events)
    assert lines(done.stdout) == [["FAIL", "a: exit 3"]]


def test_no_tests(project: World) -> None:
    buildfile(project, "FROM BASE\n")
    assert project.run("test").stdout == "there are no tests\n"


CHECKS = """\
from buildkit_py import Image, check, context, target

src = context(".")

@target
def app():
    return Image("BASE").copy(src["answer"], "/answer")

@check(timeout="1s")
def unit():
    return app().run("test $(cat /answer) = 42")

@check(timeout="1s")
def slow():
    return app().run("sleep 4247")
"""


def test_checks_of_a_buildfile_py(project: World) -> None:
    project.write({"Buildfile.py": CHECKS.replace("BASE", project.env["BASE"]), "answer": "42\n"})
    assert lines(project.run("test", "unit").stdout) == [["PASS", "Buildfile.py: unit"]]
    done = project.run("test", "--progress=plain", ok=False)
    assert lines(done.stdout) == [["PASS", "Buildfile.py: unit"], ["FAIL", "Buildfile.py: slow"]]
    assert "was ended after the 1s that its --timeout allows" in done.stderr
    refused = project.run(".", "unit", ok=False)
    assert refused.returncode == 2
    assert "`unit` is a check" in refused.stderr


def test_a_push_waits_for_tests(project: World, tmp_path: Path) -> None:
    need(COMMAND)
    with registry_server(tmp_path / "registry") as host:
        name = f"{host}/app:1"
        text = "FROM BASE AS base\nTEST test $(cat /etc/answer 2>/dev/null || echo 41) = 42\nFROM base\nRUN true\n"
        buildfile(project, text)
        refused = project.run(".", "-t", name, "--push", "--progress=plain", ok=False)
        assert refused.returncode == 1
        assert "[base] TEST test" in refused.stderr
        assert project.run("pull", name, ok=False).returncode == 4, "nothing was pushed"
        project.run(".", "-t", name, "--push", "--no-test")
        project.run("rmi", name)
        project.run("pull", name)
        buildfile(project, text.replace("echo 41", "echo 42"))
        pushed = project.run(".", "-t", f"{host}/app:2", "-o", "type=image,push=true", "--progress=plain")
        assert any("TEST" in step for step in project.ran(pushed))
        project.run("pull", f"{host}/app:2")


def test_a_push_goes_to_the_names_of_the_buildfile(project: World, tmp_path: Path) -> None:
    need(COMMAND)
    buildfile(project, "FROM BASE AS app\nRUN true\n")
    done = project.run(".", "--push", "--progress=plain", ok=False)
    assert done.returncode == 2
    assert "there is no name to push `app` under" in done.stderr
    assert project.ran(done) == []
    with registry_server(tmp_path / "registry") as host:
        buildfile(project, f"FROM BASE AS app\nTAG {host}/app:1 {host}/app:2\n")
        project.run(".", "--push")
        project.run("rmi", f"{host}/app:1", f"{host}/app:2")
        project.run("pull", f"{host}/app:2")
