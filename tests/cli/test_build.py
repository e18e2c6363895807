"""`pybuild FILE` and `pybuild build`: the whole process, from the command line to what is printed."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from tests.cli.busybox import put_busybox
from tests.cli.process import COMMAND, environment, pybuild

BUILDFILE = """\
# The application.
FROM box AS app
ARG GREETING=hello
WORKDIR /w
RUN echo $GREETING > greeting && cat greeting

# It does not build.
FROM app AS bad
RUN echo out; echo last words >&2; exit 3
"""


@pytest.fixture
def project(tmp_path):
    put_busybox(tmp_path)
    (tmp_path / "Buildfile").write_text(BUILDFILE)
    return tmp_path


def test_plain_progress_of_a_build(project):
    first = pybuild(project, "Buildfile", "app", "--progress=plain")
    assert (first.returncode, first.stdout) == (0, "")
    lines = first.stderr.splitlines()
    (header,) = [line for line in lines if line.endswith("RUN echo $GREETING > greeting && cat greeting")]
    number = header.split()[0]
    assert any(line.startswith(f"{number} ") and line.endswith(" hello") for line in lines)
    assert any(line.startswith(f"{number} DONE ") for line in lines)


def test_a_parameter_is_an_arg(project):
    done = pybuild(project, ".", "app", "--GREETING=salut")
    assert done.returncode == 0
    assert " salut\n" in done.stderr


def test_a_parameter_is_of_the_target_before_it(project):
    (project / "Buildfile").write_text(
        "ARG V=0\nFROM scratch AS a\nARG V\nLABEL v=a$V\nFROM scratch AS b\nARG V\nLABEL v=b$V$W\n"
    )

    def digests(*argv):
        done = pybuild(project, "Buildfile", *argv, "-q")
        assert done.returncode == 0
        return done.stdout.splitlines()

    a1, a2, b1, b2 = [digests(name, f"--V={value}")[0] for name in "ab" for value in (1, 2)]
    assert len({a1, a2, b1, b2}) == 4
    assert digests("a", "--V=1", "b", "--V=2") == [a1, b2]
    assert digests("b", "--V=2", "a", "--V=1") == [b2, a1]
    assert digests("--V=1", "a", "b", "--V=2") == [a1, b2]
    assert digests("a", "b", "--V=2") == [*digests("a"), b2]
    told = pybuild(project, "Buildfile", "a", "--V=1", "b", "--V=2", "--build-arg", "U=1").stderr
    assert told.count("the build arg `U` is declared nowhere") == 1
    assert told.count("UndefinedVar") == 1


def test_a_parameter_that_is_a_list_takes_all_that_it_is_given(tmp_path):
    (tmp_path / "Buildfile.py").write_text(
        "from buildkit_py import *\n@target\n"
        "def app(names: list[str] = [], ports: tuple[int, ...] = (), one: str = ''):\n"
        "    return scratch().label(v=repr((names, ports, one)))\n"
    )

    def made(*argv):
        done = pybuild(tmp_path, "Buildfile.py", "app", *argv, "-t", "app:1")
        assert done.returncode == 0, done.stderr
        return json.loads(pybuild(tmp_path, "inspect", "app:1").stdout)[0]["Config"]["Labels"]["v"]

    assert made("--names=a", "--ports=1", "--names=b", "--ports=2") == "(['a', 'b'], (1, 2), '')"
    args = [
        word
        for text in ("NAMES=a", "ports=1", "names=b", "ONE=1", "PORTS=2", "one=2")
        for word in ("--build-arg", text)
    ]
    assert made(*args) == "(['a', 'b'], (1, 2), '2')"
    assert made(*args, "--names=c") == "(['c'], (1, 2), '2')"
    for argv, said in (
        (("--one=1", "--one=2"), "`--one` of `app` is given 2 times, it takes one value"),
        (("--ports=1", "--ports=x"), "`--ports` of `app` must be tuple[int, ...], got `x`"),
    ):
        done = pybuild(tmp_path, "Buildfile.py", "app", *argv)
        assert (done.returncode, said in done.stderr) == (2, True)


def test_a_parameter_with_the_name_of_an_option_is_told(tmp_path):
    (tmp_path / "Buildfile.py").write_text(
        "from buildkit_py import *\n@target\n"
        "def app(tag: str = 'dev', dry_run: bool = False, with_docs: bool = False):\n"
        "    return scratch().label(v=repr((tag, dry_run, with_docs)))\n"
    )
    told = "`--{}` is an option of the command and not the parameter of the target `app`"

    def built(*argv):
        return pybuild(tmp_path, "Buildfile.py", "app", *argv, "--with-docs=true").stderr

    assert told.format("tag") in built("--tag=app:1")
    assert "hint: `--build-arg tag=…` gives that\n" in built("--tag=app:1")
    assert told.format("dry-run") in built("--dry-run=true")
    for argv in (
        ("-t", "app:1"),
        ("--tag", "app:1"),
        ("--tag=app:1", "--build-arg", "TAG=prod"),
        ("--progress=plain",),
    ):
        assert "is an option" not in built(*argv)
    assert "\"('prod', False, True)\"" in pybuild(tmp_path, "inspect", "app:1").stdout
    listed = pybuild(tmp_path, "Buildfile.py", "--list").stdout
    assert "      --build-arg tag=str (default dev)\n      --build-arg dry_run=bool (default False)\n" in listed
    assert "      --with-docs=bool (default False)\n" in listed


def test_parameters_of_tests_need_a_target(tmp_path):
    (tmp_path / "Buildfile.py").write_text(
        "from buildkit_py import *\n@target\ndef app(p: str = ''):\n    return scratch()\n"
        "@check\ndef works():\n    return app().run(['/none'])\n"
    )
    for argv, said in (
        (("--p=1",), "`--p` is for a target, and none is named"),
        (("Buildfile.py", "--bogus=1"), "`--bogus` is for a target, and none is named"),
        (("works", "--bogus=1"), "the check `works` has no parameter `--bogus`"),
        (("app", "--bogus=1"), "the target `app` has no parameter `--bogus`"),
    ):
        done = pybuild(tmp_path, "test", *argv)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_failed_step_is_told_with_its_last_lines_and_its_place(project):
    done = pybuild(project, "build", "--target", "bad", ".")
    assert (done.returncode, done.stdout) == (1, "")
    end = done.stderr[done.stderr.index("------\n > ") :]
    assert "RUN echo out; echo last words >&2; exit 3:\nout\nlast words\n------\n" in end
    assert "error: Buildfile:9:1: " in end
    assert "ended with exit code 3\n  RUN echo out; echo last words >&2; exit 3\n  ^^^\n" in end


def test_quiet_prints_the_digest_alone(project):
    done = pybuild(project, "build", "-q", "-t", "app:1", "--target", "app", ".")
    assert (done.returncode, done.stderr) == (0, "")
    (image,) = [
        one for one in json.loads(pybuild(project, "images", "--json").stdout) if one["name"].endswith("/app:1")
    ]
    assert done.stdout == image["digest"] + "\n"
    # Once more: whichever way it is answered, the answer is the same.
    again = pybuild(project, "build", "-q", "-t", "app:1", "--target", "app", ".")
    assert (again.returncode, again.stdout, again.stderr) == (0, done.stdout, "")


def test_json_progress_is_json(project):
    done = pybuild(project, "Buildfile", "--progress=json")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert events[0]["event"] == "build-started"
    assert events[-1]["event"] == "error"
    assert (events[-1]["exit_code"], events[-1]["code"], events[-1]["tail"]) == (1, 3, ["out", "last words"])


def test_list_and_dry_run(project):
    listed = pybuild(project, "Buildfile", "--list")
    assert listed.returncode == 0
    first, *_, last = listed.stdout.splitlines()
    assert first.split(maxsplit=1) == ["app", "The application."]
    assert last.split(maxsplit=2) == ["*", "bad", "It does not build."]
    planned = pybuild(project, "Buildfile", "app", "-n")
    assert planned.returncode == 0
    (line,) = [line for line in planned.stdout.splitlines() if "cat greeting" in line]
    assert line.split()[0] in ("RUN", "UNKNOWN")
    assert pybuild(project, "Buildfile", "app").returncode == 0
    again = pybuild(project, "Buildfile", "app", "--dry-run").stdout.splitlines()
    assert all(line.startswith("CACHED") for line in again[:-1])
    assert again[-1] == f"all {len(again) - 1} steps are cached"


def test_a_buildfile_on_standard_input(project):
    done = pybuild(project, "build", "--progress=plain", "-", stdin="FROM box\nRUN echo from stdin\n")
    assert done.returncode == 0
    assert " from stdin\n" in done.stderr


@pytest.mark.attack("H6")
def test_step_output_is_shown_and_not_obeyed(project):
    (project / "Evil").write_text("FROM box\nRUN printf '\\033[2J\\033]0;owned\\007#1 DONE 0.1s\\n'\n")
    done = pybuild(project, "Evil", "--progress=plain")
    assert "\x1b" not in done.stderr
    assert "\\x1b[2J\\x1b]0;owned\\a#1 DONE" in done.stderr


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("FORM box\n", 3, "did you mean"),
        ("FROM gone-stage-and-image:1.2.3@sha256:zz\n", 4, "zz"),
        ("FROM box\nCOPY gone .\n", 4, "gone"),
        ("FROM 127.0.0.1:1/x\nRUN true\n", 4, "127.0.0.1:1"),
    ],
)
def test_bad_input_has_its_code_and_its_place(project, text, code, message):
    (project / "Buildfile").write_text(text)
    done = pybuild(project, "Buildfile")
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "error: Buildfile:" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_the_steps_and_leaves_nothing(project):
    (project / "Slow").write_text("FROM box\nRUN echo started && sleep 1000\n")
    child = subprocess.Popen(
        (*COMMAND, "Slow", "--progress=plain"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=project,
        env=environment(project),
    )
    assert child.stderr is not None
    for line in child.stderr:
        if line.endswith(" started\n"):
            break
    child.send_signal(signal.SIGINT)
    # Ends when the last process that writes to it is gone, the step's included.
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in err
    left = [name for name in os.listdir(project / "store/work") if not name.startswith("scratch")]
    assert left == []
