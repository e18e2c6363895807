"""`pybuild check`: formats, exit codes, mending."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from buildkit_py.frontend.buildfile.checks.registry import RULES
from tests.cli.process import pybuild

ODD = "FROM scratch as base\nENV a b\nCMD x\n"
TEXT = """\
warning: Dockerfile:1:14: FromAsCasing: 'as' and 'FROM' keywords' casing do not match
  FROM scratch as base
               ^^
hint: write `FROM` and `AS` in the same case (`pybuild check --fix` does it)
note: docs/reference/checks/FromAsCasing.md

warning: Dockerfile:2:1: LegacyKeyValueFormat: "ENV key=value" should be used instead of legacy "ENV key value" format
  ENV a b
  ^^^
hint: write `NAME=value` (`pybuild check --fix` does it)
note: docs/reference/checks/LegacyKeyValueFormat.md

warning: Dockerfile:3:1: JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
  CMD x
  ^^^
hint: write `["program", "argument"]`, or say with SHELL which shell is meant
note: docs/reference/checks/JSONArgsRecommended.md

Dockerfile: 3 warnings, 2 of which `pybuild check --fix` mends
"""  # noqa: E501


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(ODD)
    return tmp_path


def test_text(project: Path) -> None:
    for argv in (("check",), ("check", "."), ("check", "Dockerfile"), ("check", "-f", "Dockerfile", ".")):
        done = pybuild(project, *argv)
        assert (done.returncode, done.stdout, done.stderr) == (1, TEXT, "")
    assert not (project / "store").exists()


def test_nothing_found(project: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch\n")
    done = pybuild(project, "check")
    assert (done.returncode, done.stdout) == (0, "Dockerfile: nothing found\n")


def test_standard_input(project: Path) -> None:
    done = pybuild(project, "check", "-", stdin="FROM scratch as a\nCOPY . /\n")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("warning: <stdin>:1:14: FromAsCasing")
    done = pybuild(project, "check", "--fix", "-", stdin="FROM scratch as a\n")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: `--fix` needs a file to write to")


def test_a_file_that_is_wrong(project: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch as a\nEXPOSE x\n")
    done = pybuild(project, "check")
    assert done.returncode == 3
    assert done.stdout.startswith("warning: Dockerfile:1:14: FromAsCasing")
    assert done.stderr.startswith("error: Dockerfile:2:8: `x` is not a port")
    (project / "Dockerfile").write_text("FORM scratch\n")
    done = pybuild(project, "check", "--format=json")
    assert done.returncode == 3
    error = json.loads(done.stdout)["error"]
    assert (error["message"], error["line"], error["column"]) == ("unknown instruction `FORM`", 1, 1)
    done = pybuild(project, "check", "--format=sarif")
    (run,) = json.loads(done.stdout)["runs"]
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    assert invocation["toolExecutionNotifications"][0]["message"]["text"] == "unknown instruction `FORM`"


def test_python_is_not_checked(project: Path) -> None:
    (project / "Buildfile.py").write_text("")
    done = pybuild(project, "check", ".")
    assert (done.returncode, "is Python" in done.stderr) == (2, True)


def test_json(project: Path) -> None:
    document = json.loads(pybuild(project, "check", "--format=json").stdout)
    assert (document["version"], document["file"], document["error"]) == (1, "Dockerfile", None)
    assert [(one["rule"], one["line"], one["column"], one["fixable"]) for one in document["findings"]] == [
        ("FromAsCasing", 1, 14, True),
        ("LegacyKeyValueFormat", 2, 1, True),
        ("JSONArgsRecommended", 3, 1, False),
    ]
    page = Path(__file__).resolve().parents[2] / "docs" / "reference" / "checks" / "README.md"
    for name in (*document, *document["findings"][0]):
        assert f"`{name}`" in page.read_text(), name


def test_github(project: Path) -> None:
    (project / "a,b").mkdir()
    (project / "a,b" / "Dockerfile").write_text("FROM scratch AS A\n")
    done = pybuild(project, "check", "--format=github", "a,b")
    assert done.stdout == (
        "::warning file=a%2Cb/Dockerfile,line=1,col=17,endLine=1,title=StageNameCasing::"
        "Stage name 'A' should be lowercase: write the name in lower case\n"
    )


def test_sarif_has_what_its_schema_requires(project: Path) -> None:
    """Required members and types of sarif-schema-2.1.0: log, run, tool, component, rule, result, location, fix."""
    log = json.loads(pybuild(project, "check", "--format=sarif").stdout)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "pybuild"
    assert [rule["id"] for rule in driver["rules"]] == [rule.name for rule in RULES]
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"]
        assert rule["help"]["text"].endswith(".")
    assert run["invocations"] == [{"executionSuccessful": True}]
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    assert len(run["results"]) == 3
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        assert result["level"] in ("none", "note", "warning", "error")
        (location,) = result["locations"]
        region = location["physicalLocation"]["region"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == "Dockerfile"
        assert all(isinstance(number, int) and number >= 1 for number in region.values())
        for fix in result.get("fixes", ()):
            for change in fix["artifactChanges"]:
                assert change["artifactLocation"]["uri"] == "Dockerfile"
                assert change["replacements"]
                for replacement in change["replacements"]:
                    assert replacement["deletedRegion"]["startLine"] >= 1


def test_the_edits_in_sarif_are_those_of_fix(project: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch AS Ab\nRUN x \\\n\n y\n")
    log = json.loads(pybuild(project, "check", "--format=sarif").stdout)
    regions = [
        (one["deletedRegion"], one["insertedContent"]["text"])
        for result in log["runs"][0]["results"]
        for fix in result.get("fixes", ())
        for one in fix["artifactChanges"][0]["replacements"]
    ]
    assert regions == [
        ({"startLine": 1, "startColumn": 17, "endLine": 1, "endColumn": 19}, "ab"),
        ({"startLine": 3, "startColumn": 1, "endLine": 4, "endColumn": 1}, ""),
    ]


def test_fix(project: Path) -> None:
    file = project / "Dockerfile"
    file.chmod(0o640)
    (project / "link").symlink_to("Dockerfile")
    done = pybuild(project, "check", "--fix", "link")
    assert done.returncode == 1
    assert file.read_text() == "FROM scratch AS base\nENV a=b\nCMD x\n"
    assert (project / "link").is_symlink()
    assert os.stat(file).st_mode & 0o777 == 0o640
    assert done.stdout.endswith("link: 1 warning\n")
    before = os.stat(file)
    pybuild(project, "check", "--fix")
    assert os.stat(file) == before, "there was nothing to mend"
    assert sorted(os.listdir(project)) == ["Dockerfile", "link"]


def test_fix_leaves_a_file_that_is_wrong(project: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch as a\nEXPOSE x\n")
    assert pybuild(project, "check", "--fix").returncode == 3
    assert (project / "Dockerfile").read_text() == "FROM scratch as a\nEXPOSE x\n"


def test_a_target_and_build_args(project: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch AS a\nENV a b\nFROM scratch AS b\nENV a b\nFROM a\n")

    def found(*argv: str) -> list[tuple[str, int]]:
        findings = json.loads(pybuild(project, "check", "--format=json", *argv).stdout)["findings"]
        return [(one["rule"], one["line"]) for one in findings]

    assert found() == [("LegacyKeyValueFormat", 2), ("UnusedStage", 3), ("LegacyKeyValueFormat", 4)]
    assert found("--target=b") == [("UnusedStage", 3), ("LegacyKeyValueFormat", 4)]
    assert found("--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=UnusedStage,LegacyKeyValueFormat") == []
    done = pybuild(project, "check", "--target=nope")
    assert (done.returncode, "there is no target `nope`" in done.stderr) == (2, True)


def test_a_file_of_functions_for_others(project: Path) -> None:
    (project / "lib.Buildfile").write_text(
        "ARG MIRROR=m\n# tools installs what all need\nFUNCTION tools\nARG NAMES=curl UNUSED=1\n"
        "RUN apt-get update\nRUN fetch $MIRROR $NAMES $OF_THE_CALLER\nEND\n"
        "FUNCTION other\nARG OF\nDO tools --NAMES=$OF\nEND\n"
    )
    done = pybuild(project, "check", "--format=json", "lib.Buildfile")
    document = json.loads(done.stdout)
    assert (done.returncode, document["error"], done.stderr) == (1, None, "")
    assert [(one["rule"], one["line"]) for one in document["findings"]] == [("UnusedArg", 4), ("AptUpdateAlone", 5)]
    (project / "lib.Buildfile").write_text("FUNCTION a\nRUN make\nEND\n")
    assert pybuild(project, "check", "lib.Buildfile").stdout == "lib.Buildfile: nothing found\n"
    (project / "lib.Buildfile").write_text("FUNCTION a\nEXPOSE x\nEND\n")
    done = pybuild(project, "check", "lib.Buildfile")
    assert (done.returncode, done.stderr.startswith("error: lib.Buildfile:2")) == (3, True), done.stderr
