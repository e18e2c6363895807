"""`--call` and `--check`: answers in the place of a build."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from pathlib import Path

import pytest

from tests.cli.process import pybuild

FILE = """\
# GLOBAL the global one
ARG GLOBAL=g
ARG UNUSED=u
ARG DEP=${GLOBAL}-x
ARG IMAGE=scratch
# base what all start from
FROM $IMAGE AS base
# INBASE in base
ARG INBASE=1
ARG GLOBAL
RUN --mount=type=cache,target=/c --mount=type=secret,id=s1,required echo $INBASE $GLOBAL

FROM scratch AS other
ARG OTHER=$INBASE
ARG TARGETARCH
COPY --from=base / /
RUN --mount=type=secret,target=/x/s2 x
# web the shop
# and more of it
FROM base AS web
ARG A
ARG B=2
ARG DEP
COPY --from=other / /
FROM web
ARG A=5
CMD x
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(FILE)
    return tmp_path


def test_outline(project: Path) -> None:
    done = pybuild(project, "build", "--call=outline", ".")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "BUILD ARG   VALUE     DESCRIPTION\n"
        "GLOBAL      g         the global one\n"
        "DEP         g-x       \n"
        "IMAGE       scratch   \n"
        "INBASE      1         in base\n"
        "OTHER                 \n"
        "B           2         \n"
        "A           5         \n"
        "\n"
        "SECRET   REQUIRED\n"
        "s1       true\n"
        "s2       \n"
        "\n"
    )
    assert not (project / "store").exists()


def test_outline_of_a_target(project: Path) -> None:
    done = pybuild(project, "build", "--call=outline", "--target=web", "--build-arg=GLOBAL=2", ".")
    assert done.stdout.startswith(
        "TARGET:      web\nDESCRIPTION: the shop\n\nBUILD ARG   VALUE     DESCRIPTION\n"
        "GLOBAL      2         the global one\nDEP         2-x       \n"
    )
    assert pybuild(project, "Dockerfile", "web", "--GLOBAL=2", "--call=outline").stdout == done.stdout
    done = pybuild(project, "build", "--call=outline,format=json", "--target=base", ".")
    document = json.loads(done.stdout)
    assert b64decode(document.pop("sources")[0]).decode() == FILE

    def at(line: int) -> dict[str, object]:
        return {"ranges": [{"start": {"line": line}, "end": {"line": line}}]}

    assert document == {
        "name": "base",
        "description": "what all start from",
        "args": [
            {"name": "GLOBAL", "description": "the global one", "value": "g", "location": at(2)},
            {"name": "IMAGE", "value": "scratch", "location": at(5)},
            {"name": "INBASE", "description": "in base", "value": "1", "location": at(9)},
        ],
        "secrets": [{"name": "s1", "required": True, "location": at(11)}],
    }
    done = pybuild(project, "build", "--call=outline", "--target=nope", ".")
    assert (done.returncode, "there is no target `nope`" in done.stderr) == (2, True)


def test_a_stage_called_default_is_not_the_last_one(project: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch AS default\nARG A=1\nFROM scratch\nARG B=2\n")
    assert "B           2" in pybuild(project, "build", "--call=outline", ".").stdout
    assert "A           1" in pybuild(project, "build", "--call=outline", "--target=default", ".").stdout


def test_what_decides_blocks_around_stages_is_asked_for(project: Path) -> None:
    (project / "Dockerfile").write_text(
        'ARG A=1\nARG B=2 C D=d\nARG E=$D\nFOR v IN $A\nFROM scratch AS s$v\nEND\nIF $B == "2" and not defined C\n'
        "FROM scratch AS $E\nARG F=1\nIF $F == 1\nENV X=1\nEND\nEND\n"
    )
    done = pybuild(project, "build", "--call=outline,format=json", ".")
    assert [arg["name"] for arg in json.loads(done.stdout)["args"]] == ["A", "B", "C", "D", "E", "F"], done.stderr


def test_targets(project: Path) -> None:
    done = pybuild(project, "build", "--call=targets", ".")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "TARGET    DESCRIPTION\nbase      what all start from\nother     \nweb       the shop\n(default) \n"
    )
    listed = json.loads(pybuild(project, "build", "--call=targets,format=json", ".").stdout)["targets"]
    assert [one.get("base") for one in listed] == ["$IMAGE", "scratch", "base", "web"]
    assert [one.get("default") for one in listed] == [None, None, None, True]
    assert listed[2]["location"] == {"ranges": [{"start": {"line": 20}, "end": {"line": 20}}]}


def test_check(project: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch\nCOPY . /\nCMD x\n")
    done = pybuild(project, "build", "--call=check", ".")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == (
        "Check complete, 1 warning has been found!\n\n"
        "WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/\n"
        "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals\n"
        "Dockerfile:3\n--------------------\n"
        "   1 |     FROM scratch\n   2 |     COPY . /\n   3 | >>> CMD x\n   4 |     \n--------------------\n"
    )
    for argv in (("--check",), ("--call=lint",), ("--call", "check,format=text")):
        assert pybuild(project, "build", *argv, ".").stdout == done.stdout
    assert pybuild(project, "build", "--call=check,ignorestatus=true", ".").returncode == 0
    assert pybuild(project, "build", "--call=check,ignorestatus=false", ".").returncode == 1
    assert pybuild(project, "build", "--check", "-", stdin="FROM scratch\nCMD x\n").returncode == 1
    done = pybuild(project, "build", "--call=check,format=json,ignorestatus", ".")
    document = json.loads(done.stdout)
    (warning,) = document["warnings"]
    assert (warning["ruleName"], warning["location"]["ranges"][0]["start"]["line"]) == ("JSONArgsRecommended", 3)
    assert [source["filename"] for source in document["sources"]] == ["Dockerfile"]


def test_check_finds_nothing(project: Path) -> None:
    (project / "Dockerfile").write_text("# check=skip=all\nFROM scratch\nCMD x\n")
    done = pybuild(project, "build", "--check", ".")
    assert (done.returncode, done.stdout) == (0, "Check complete, no warnings found.\n")


def test_check_of_a_file_that_is_wrong(project: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch\nCMD x\nEXPOSE y\n")
    done = pybuild(project, "build", "--check", ".")
    assert done.returncode == 3
    assert "JSONArgsRecommended" in done.stdout
    assert done.stderr.startswith("error: Dockerfile:3:8:")
    document = json.loads(pybuild(project, "build", "--call=check,format=json", ".").stdout)
    assert document["buildError"]["location"]["ranges"][0]["start"] == {"line": 3}


def test_a_buildfile_in_python(project: Path) -> None:
    (project / "Buildfile.py").write_text(
        "from buildkit_py import Image, scratch, target\n\n\n"
        '@target\ndef a(v: str = "1") -> Image:\n    """First."""\n    return scratch()\n\n\n'
        "@target(default=True)\ndef b() -> Image:\n    return scratch()\n"
    )
    assert pybuild(project, "build", "--call=targets", ".").stdout == (
        "TARGET      DESCRIPTION\na           First.\nb (default) \n"
    )
    done = pybuild(project, "Buildfile.py", "a", "--call=outline")
    assert done.stdout.startswith("TARGET:      a\nDESCRIPTION: First.\n\nBUILD ARG   VALUE   DESCRIPTION\nv ")
    assert pybuild(project, "build", "--call=outline", ".").stdout == "TARGET: b\n\n"
    assert pybuild(project, "Buildfile.py", "c", "--call=outline").returncode == 2
    assert pybuild(project, "build", "--check", ".").returncode == 2


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--call=outlin", "."), "`--call=outlin` is not known"),
        (("--call=outline,format=xml", "."), "`format=xml` in `--call=outline,format=xml` is not known"),
        (("--call=check,ignorestatus=x", "."), "`ignorestatus=x`"),
        (("--call=outline", "--check", "."), "`--check` and `--call=outline` ask for different things"),
        (("--call=outline", "https://e.org/x.git"), "`--call` reads a Buildfile of this machine"),
    ],
)
def test_what_is_not_known(project: Path, argv: tuple[str, ...], said: str) -> None:
    done = pybuild(project, "build", *argv)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    done = pybuild(project, "Dockerfile", "base", "web", "--call=outline")
    assert (done.returncode, "`--call` is about one target" in done.stderr) == (2, True)


def test_call_build_is_a_build(project: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    done = pybuild(project, "build", "-q", "--call=build", ".")
    assert (done.returncode, done.stdout.startswith("sha256:")) == (0, True), done.stderr


def test_the_page_names_every_member(project: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "calls.md").read_text()
    for method in ("check", "outline", "targets"):
        text = pybuild(project, "build", f"--call={method},format=json", ".").stdout
        for name in set(re.findall(r'^ *"(\w+)":', text, re.MULTILINE)):
            assert f"`{name}`" in page, name


def test_the_example_of_the_page(project: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "calls.md").read_text()
    (shown,) = re.findall(r"^```\n\$ pybuild (.*?)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (project / "Dockerfile").write_text(
        "# PYTHON the interpreter's version\nARG PYTHON=3.12\n# The web shop.\nFROM python:$PYTHON AS web\n"
        "RUN --mount=type=secret,id=token,required x\n"
    )
    assert pybuild(project, *shown[0].split()).stdout == shown[1]
