"""The Buildfile's own words from outside: targets of loops, outputs and tags, and what the memo makes of them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.behaviour.test_memo_inputs import settled
from tests.behaviour.world import World


@pytest.fixture
def project(world: World, base_layout: Path) -> World:
    world.env["BASE"] = f"oci-layout://{base_layout}"
    return world


MATRIX = """\
ARG VERSIONS="1 2"
FUNCTION note
  ARG text
  RUN echo "$text" >> /notes
END
FOR v IN $VERSIONS
  FROM base AS app${v}
  WORKDIR /out
  DO note --text="version $v"
  ARG MODE=release
  IF $MODE == debug
    DO note --text="debug $(date)"
  END
  OUTPUT /no* notes$v/
  TAG app:$v
END
"""


def test_a_matrix(project: World) -> None:
    project.write({"Buildfile": MATRIX})
    base = ("--build-context", f"base={project.env['BASE']}")
    listed = project.run(".", "--list").stdout
    assert [line.strip(" *").split()[0] for line in listed.splitlines() if "app" in line] == ["app1", "app2"]
    done = project.run(".", "app1", "app2", "--progress=plain", *base)
    assert "[app2 3/3] RUN echo" in done.stderr
    assert (project.project / "notes2/notes").read_text() == "version 2\n"
    assert {"app:1", "app:2"} <= set(project.run("images").stdout.replace("docker.io/library/", "").split())
    project.run(".", "app3", "--VERSIONS=3", *base)
    assert (project.project / "notes3/notes").read_text() == "version 3\n"
    debug = project.run(".", "app1", "--MODE=debug", "--progress=plain", *base)
    assert len(project.ran(debug)) == 1
    assert (project.project / "notes1/notes").read_text().startswith("version 1\ndebug ")


def test_a_failure_in_a_function_shows_both_lines(project: World) -> None:
    text = f"FUNCTION f\nARG code\nRUN exit $code\nEND\nFROM {project.env['BASE']}\nIF 1 == 1\nDO f --code=7\nEND\n"
    project.write({"Buildfile": text})
    done = project.run(".", "--progress=plain", ok=False)
    assert done.returncode == 1
    assert "Buildfile:3 in f(), from Buildfile:7:1: `[2/2] RUN exit $code` ended with exit code 7" in done.stderr


def test_an_output_is_written_again_when_it_was_changed(project: World) -> None:
    project.write({"src": "1\n", "Buildfile": "FROM scratch\nCOPY src /made\nOUTPUT /made dist/\n"})
    settled(project, ".")
    placed = project.project / "dist/made"
    for damage in (placed.unlink, lambda: placed.write_text("x\n")):
        damage()
        project.run(".", "--progress=plain")
        assert placed.read_text() == "1\n"
    time.sleep(0.05)
    project.write({"src": "2\n"})
    project.run(".", "--progress=plain")
    assert placed.read_text() == "2\n"


def test_an_output_goes_nowhere_else(project: World) -> None:
    outside = project.top / "outside"
    outside.mkdir(mode=0o777)
    (project.project / "link").symlink_to(outside)
    project.write({"f": "f\n", "Buildfile": "FROM scratch\nCOPY f /f\nOUTPUT /f link/\n"})
    done = project.run(".", ok=False)
    assert done.returncode == 7
    assert "error: Buildfile:3:8: `link/` leads out of the project directory\n  OUTPUT /f link/\n" in done.stderr
    project.write({"Buildfile": "FROM scratch\nCOPY f /f\nOUTPUT /g* out/\n"})
    done = project.run(".", ok=False)
    assert done.returncode == 7
    assert "error: Buildfile:3:8: nothing matches `/g*`" in done.stderr
    project.write({"Buildfile": "FUNCTION f\nOUTPUT gone out/\nEND\nFROM scratch\nCOPY f /f\nDO f\n"})
    done = project.run(".", ok=False)
    assert done.returncode == 7
    assert "error: Buildfile:2 in f(), from Buildfile:6:1: there is no `/gone` to put into `out/`" in done.stderr
    assert list(outside.iterdir()) == []


LIB = "FUNCTION put\nARG path\nCOPY f /notes/$path\nEND\n"


def test_a_changed_include_is_noticed(project: World) -> None:
    text = "INCLUDE lib/put\nARG MORE\nIF defined MORE\nINCLUDE lib/more\nEND\nFROM scratch\nDO put --path=x\n"
    project.write({"Buildfile": text, "lib/put": LIB, "f": "f\n"})
    argv = (".", "-t", "x")
    old = settled(project, *argv)
    time.sleep(0.05)
    project.write({"lib/put": LIB.replace("/notes", "/other")})
    assert project.run(*argv, "-q").stdout not in old
    time.sleep(0.05)
    (project.project / "lib/put").unlink()
    done = project.run(*argv, ok=False)
    assert done.returncode == 3
    assert "Buildfile:1:9: the file `lib/put` does not exist" in done.stderr


def test_an_include_that_leads_elsewhere_is_noticed(project: World) -> None:
    project.write({"a": LIB, "b": LIB.replace("/notes", "/other"), "f": "f\n"})
    project.write({"Buildfile": "INCLUDE link\nFROM scratch\nDO put --path=x\n"})
    link = project.project / "link"
    link.symlink_to("a")
    argv = (".", "-t", "x")
    old = settled(project, *argv)
    link.unlink()
    link.symlink_to("b")
    assert project.run(*argv, "-q").stdout not in old


def test_check_and_call_read_what_is_included(project: World) -> None:
    project.write(
        {"lib": "FROM scratch AS base\nCOPY f /f\n", "f": "", "Buildfile": "INCLUDE lib --as l\nFROM l.base\n"}
    )
    assert project.run("check", ".").returncode == 0
    listed = project.run("build", "--call=targets", ".").stdout
    assert "l.base" in listed


def test_other_files_are_built_and_their_changes_noticed(project: World) -> None:
    lib = "FROM scratch AS dist\nCOPY src /dist\n"
    python = 'from buildkit_py import *\n\n@target\ndef dist():\n    return scratch().copy(context("src"), "/dist")\n'
    project.write({"lib/Dockerfile": lib, "lib/src/f": "1\n", "py/Buildfile.py": python, "py/src/g": "1\n"})
    project.write({"Buildfile": "FROM ./lib+dist\nCOPY --from=./py+dist /dist /py\nOUTPUT / out/\n"})
    argv = (".", "-t", "x")
    seen = settled(project, *argv)
    assert (project.project / "out/dist/f").read_text() == "1\n"
    assert (project.project / "out/py/g").read_text() == "1\n"
    for name, text in (
        ("lib/src/f", "2\n"),
        ("lib/Dockerfile", lib.replace("/dist", "/dist2")),
        ("lib/.dockerignore", "src/f\n"),
        ("lib/src/more", "m\n"),
        ("py/src/g", "2\n"),
        ("py/Buildfile.py", python.replace('"/dist"', '"/dist/deep"')),
        ("lib/Buildfile", lib.replace("/dist", "/dist3")),
    ):
        time.sleep(0.05)
        project.write({name: text})
        made = project.run(*argv, "-q").stdout
        assert made not in seen, f"a change of {name} was not noticed"
        seen += settled(project, *argv)


def test_a_failure_in_another_file_shows_its_place(project: World) -> None:
    project.write({"lib/Buildfile": f"FROM {project.env['BASE']} AS t\nRUN exit 3\n", "Buildfile": "FROM ./lib+t\n"})
    done = project.run(".", "--progress=plain", ok=False)
    assert done.returncode == 1
    assert "lib/Buildfile:2:1: `[2/2] RUN exit 3` ended with exit code 3" in done.stderr


LET = """\
FROM {base} AS app
COPY version /version
LET v = $(cat /version; touch /not-here)
RUN echo "version $v" > /made; ls / >> /made
OUTPUT /made ./
TAG app:$v
"""


def test_a_command_gives_a_variable(project: World) -> None:
    project.write({"version": "1.0\n", "Buildfile": LET.format(base=project.env["BASE"])})
    done = project.run(".", "--progress=plain")
    assert "[app] LET v = $(cat /version; touch /not-here)" in done.stderr
    made = (project.project / "made").read_text().splitlines()
    assert made[0] == "version 1.0"
    assert "not-here" not in made
    assert project.ran(project.run(".", "--progress=plain")) == []
    for version in "2.0", "3.0", "2.0":
        time.sleep(0.05)
        project.write({"version": f"{version}\n"})
        project.run(".", "--progress=plain")
        assert (project.project / "made").read_text().startswith(f"version {version}\n")
        assert f"app:{version}" in project.run("images").stdout


def test_a_command_of_let_fails(project: World) -> None:
    project.write({"Buildfile": f"FROM {project.env['BASE']}\nLET v = $(echo oh no; exit 4)\n"})
    done = project.run(".", "--progress=plain", ok=False)
    assert done.returncode == 1
    assert "Buildfile:2:11: `[stage-0] LET v = $(echo oh no; exit 4)` ended with exit code 4" in done.stderr
    assert "oh no" in done.stderr


CONDITION = """\
ARG MODE
FROM base AS app
ARG MODE
IF $MODE == debug or $KIND == special
COPY f /debug
ELSE
COPY f /release
END
"""


def test_what_decides_a_condition_is_noticed(project: World) -> None:
    """A build arg of the environment, and a variable of the base image."""
    project.write({"f": "f\n", "Buildfile": CONDITION, "base/Dockerfile": "FROM scratch\nENV KIND=plain\n"})
    project.run("base", "-t", "base")
    argv = (".", "-t", "x", "--build-arg", "MODE")
    old = settled(project, *argv)
    assert project.run(*argv, "-q", MODE="debug").stdout not in old
    assert project.run(*argv, "-q", MODE="other").stdout in old, "another value, and the same branch"
    assert project.run(*argv, "-q").stdout in old
    project.write({"base/Dockerfile": "FROM scratch\nENV KIND=special\n"})
    project.run("base", "-t", "base")
    special = project.run(*argv, "-q", "-o", "out").stdout
    assert special not in old
    assert (project.project / "out/debug").exists()
    assert not (project.project / "out/release").exists()


def test_why_tells_of_functions_and_not_of_tests(project: World) -> None:
    text = f"FUNCTION f\nARG n\nRUN echo $n > /n\nEND\nFROM {project.env['BASE']} AS app\nDO f --n=1\nTEST true\n"
    project.write({"Buildfile": text})
    project.run(".")
    project.run("test")
    project.write({"Buildfile": text.replace("--n=1", "--n=2")})
    project.run(".")
    told = project.run("why").stdout
    assert "Buildfile:3 in f(), from Buildfile:6:1" in told
    assert "n" in told
    assert "TEST" not in told
