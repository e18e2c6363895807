"""Tests of targets through both doors: which they are, what they are made of, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.errors import BuildfileError, PybuildError, UsageError
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.convert.convert import convert
from buildkit_py.frontend.python.load import load
from buildkit_py.frontend.python.lower import call
from buildkit_py.frontend.target import Options, Target
from buildkit_py.graph.op import Run
from tests.frontend.buildfile.lowering import BASE, Lowered
from tests.frontend.fakes import FakeResolver, SeenInputs

TEXT = """\
FROM base AS build
RUN make
TEST --name=unit --timeout=10m make check
FROM base AS tools
TEST lint
FROM base AS unused
TEST never
FROM build AS app
ARG V=1
RUN install
TEST ["smoke", "a b"]
COPY --from=tools /t /t
FOR p IN 1 2
TEST --name=port-$p curl $p
END
RUN last
"""


def named(target: Target) -> list[tuple[str, str]]:
    return [(test.stage, test.name) for test in target.tests]


def test_a_target_has_the_tests_of_all_that_it_is_made_of() -> None:
    found = Lowered(TEXT, "app", testing=True)
    assert named(found.target) == [
        ("build", "unit"),
        ("app", "smoke a b"),
        ("app", "port-1"),
        ("app", "port-2"),
        ("tools", "lint"),
    ]
    unit, smoke, port = (found.target.tests[number].step for number in (0, 1, 3))
    assert isinstance(unit.op, Run)
    assert unit.op.test
    assert unit.op.policy.timeout == 600_000
    assert unit.name == "[build] TEST --name=unit --timeout=10m make check"
    assert str(unit.position) == "Buildfile:3:1"
    assert isinstance(smoke.op, Run)
    assert smoke.op.argv == ("smoke", "a b")
    assert smoke.base is not None
    assert smoke.base.name == "[app 1/3] RUN install"
    assert isinstance(port.op, Run)
    assert dict(port.op.env)["p"] == "2"


def test_all_targets_of_a_file() -> None:
    found = Lowered(TEXT, testing=True, everything=True)
    assert [target.name for target in found.targets] == ["build", "tools", "unused", "app"]
    assert len({test for target in found.targets for test in target.tests}) == 6


def test_a_build_is_the_same_with_tests_and_without() -> None:
    without = "".join([line + "\n" for line in TEXT.splitlines() if not line.startswith("TEST")])
    plain, tested, bare = Lowered(TEXT, "app"), Lowered(TEXT, "app", testing=True), Lowered(without, "app")
    assert plain.target.tests == ()
    for other in (tested, bare):
        assert [step.op for step in plain.steps] == [step.op for step in other.steps]
        assert [step.name for step in plain.steps] == [step.name for step in other.steps]
        assert (plain.config, plain.history) == (other.config, other.history)


def test_what_only_tests_need_is_not_looked_at_without_them() -> None:
    text = "FROM other AS tools\nFROM base\nTEST --mount=from=tools,target=/t /t/run"
    assert Lowered(text).resolver.asked == [("base", "linux/amd64")]
    assert len(Lowered(text, testing=True).resolver.asked) == 2


def test_tests_of_another_files_target(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/Buildfile").write_text("FROM base AS t\nTEST of-lib")
    text = "FROM base AS app\nCOPY --from=./lib+t /a /b\nTEST own"
    found = Lowered(text, file=str(tmp_path / "Buildfile"), context=str(tmp_path), testing=True)
    assert named(found.target) == [("app", "own"), ("t", "of-lib")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM base\nARG N\nTEST --name=$N x", "Buildfile:3:6: --name comes to nothing"),
        ("FROM base\nTEST --timeout=x y", "Buildfile:2:6: --timeout: `x` is no length of time"),
        ("FROM base\nTEST --mount=from=gone,target=/x y", "Buildfile:2:6: there is no image `gone`"),
        ("FROM base\nTEST --security=insecure y", "Buildfile:2:6: "),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(PybuildError) as caught:
        Lowered(text, testing=True)
    assert str(caught.value).startswith(message), str(caught.value)


def test_it_is_not_converted() -> None:
    text = "FROM base\nTEST x\n"
    with pytest.raises(BuildfileError, match="2:1: TEST has no equivalent"):
        convert(parse_text(text, "Buildfile"), text)


# The Python door

CHECKS = """\
from buildkit_py import Image, check, scratch, target

@target
def deps():
    return Image("base").run("deps")

@target(default=True)
def app(mode: str = "x"):
    return deps().run("app")

@target
def other():
    return Image("base")

@check(timeout="10m")
def unit():
    "Unit tests."
    return app().run("pytest").run("pytest -q")

@check
def of_deps():
    return {"a": deps().run("a", timeout="1m"), "b": deps().run("b")}

@check
def alone():
    return Image("base").run("alone")
"""


def python(
    tmp_path: Path, text: str, *wanted: str | tuple[str, dict[str, str]], testing: bool = True
) -> tuple[Target, ...]:
    path = tmp_path / "Buildfile.py"
    path.write_text(text)
    options = Options(str(tmp_path), platform="linux/amd64")
    module = load(str(path), SeenInputs())
    asked = [(one, {}) if isinstance(one, str) else one for one in wanted]
    return call(module, asked, options, FakeResolver(base=BASE), SeenInputs(), testing=testing)


def test_checks_of_a_target(tmp_path: Path) -> None:
    (app,) = python(tmp_path, CHECKS, "")
    assert named(app) == [("Buildfile.py", "unit"), ("Buildfile.py", "of-deps.a"), ("Buildfile.py", "of-deps.b")]
    unit, first = app.tests[0].step, app.tests[1].step
    assert isinstance(unit.op, Run)
    assert unit.op.test
    assert unit.op.policy.timeout == 600_000
    assert unit.base is not None
    assert isinstance(unit.base.op, Run)
    assert not unit.base.op.test
    assert isinstance(first.op, Run)
    assert first.op.policy.timeout == 60_000
    (deps,) = python(tmp_path, CHECKS, "deps")
    assert [name for _, name in named(deps)] == ["of-deps.a", "of-deps.b"]
    (other,) = python(tmp_path, CHECKS, "other")
    assert other.tests == ()


ASKED = """\
from buildkit_py import Image, check, target

@target
def app(p: str = "good", q: str = "q"):
    return Image("base").run(p + q)

@check
def works():
    return app().run("first")

@check
def other():
    return app(q="own").run("second")
"""


def below(target: Target) -> list[str]:
    """For each test of a target, the command of the step that it stands on."""
    found = []
    for test in target.tests:
        assert test.step.base is not None
        assert isinstance(test.step.base.op, Run)
        found.append(test.step.base.op.argv[-1])
    return found


def test_a_check_tests_what_is_asked_for(tmp_path: Path) -> None:
    (app,) = python(tmp_path, ASKED, ("app", {"p": "bad"}))
    assert below(app) == ["badq", "badown"]
    assert app.tests[0].step.base is app.step
    one, two = python(tmp_path, ASKED, ("app", {"p": "one"}), ("app", {"q": "two"}))
    assert (below(one), below(two)) == (["oneq", "oneown"], ["goodtwo", "goodown"])
    check, app = python(tmp_path, ASKED, "works", ("app", {"p": "bad"}))
    assert (below(check), below(app)) == (["badq"], ["badq", "badown"])
    assert [below(target) for target in python(tmp_path, ASKED)] == [["goodq"], ["goodown"]]


def test_a_check_takes_no_arguments(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the check `works` has no parameter `--bogus`"):
        python(tmp_path, ASKED, ("works", {"bogus": "1"}))


def test_all_checks_and_single_ones(tmp_path: Path) -> None:
    found = python(tmp_path, CHECKS)
    assert [name for target in found for _, name in named(target)] == ["unit", "of-deps.a", "of-deps.b", "alone"]
    (unit,) = python(tmp_path, CHECKS, "unit")
    assert (named(unit), unit.step) == ([("Buildfile.py", "unit")], None)


def test_a_build_calls_no_check(tmp_path: Path) -> None:
    text = CHECKS + "\n@check\ndef never():\n    raise SystemError\n"
    (app,) = python(tmp_path, text, "", testing=False)
    assert app.tests == ()


def test_a_buildfiles_tests_come_along(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM base AS x\nTEST inner")
    text = (
        "from buildkit_py import *\n@target\ndef app():\n    lib = Image.from_buildfile('Dockerfile')\n"
        "    return scratch().copy(lib['/a'], '/b')\n"
    )
    (app,) = python(tmp_path, text, "")
    assert [name for _, name in named(app)] == ["inner"]


def test_tests_of_a_file_are_those_of_other_files_too(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM base AS x\nTEST inner")
    text = (
        "from buildkit_py import *\n@target\ndef app():\n    return Image.from_buildfile('Dockerfile')\n"
        "@target\ndef more(needed: str):\n    return app()\n@check\ndef own():\n    return app().run('own')\n"
    )
    found = python(tmp_path, text)
    assert [name for target in found for _, name in named(target)] == ["inner", "own"]
    found = python(tmp_path, text.partition("@check")[0])
    assert [(target.name, target.step, named(target)) for target in found] == [("app", None, [("x", "inner")])]


def test_checks_of_another_files_target(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/Buildfile.py").write_text(ASKED)
    text = "FROM ./a+app\nENV B=1\n"
    place = {"file": str(tmp_path / "Buildfile"), "context": str(tmp_path)}
    found = Lowered(text, **place, testing=True, build_args=(("p", "bad"),))
    assert [test.name for test in found.target.tests] == ["works", "other"]
    assert below(found.target) == ["badq", "badown"]
    assert Lowered(text, **place).target.tests == ()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("@check\ndef c():\n    return Image('base').run('x').env(A='1')", "the check c() does not end with a command"),
        ("@check\ndef c():\n    return 3", "the check c() returned int"),
        ("@check(timeout='soon')\ndef c():\n    return app().run('x')", "`timeout`: `soon` is no length of time"),
        ("@check\ndef c(a: int):\n    return app().run('x')", "the check c() has no default for `a`"),
        ("@check\ndef app():\n    return scratch()", "two targets are named `app`"),
    ],
)
def test_a_check_that_is_wrong(tmp_path: Path, code: str, message: str) -> None:
    head = "from buildkit_py import *\n@target(name='app')\ndef made():\n    return Image('base')\napp = made\n"
    text = f"{head}{code}\n"
    if "def app" in code:
        text = text.replace("app = made\n", "")
    with pytest.raises(BuildfileError) as caught:
        python(tmp_path, text)
    assert message in str(caught.value), str(caught.value)
    assert "Buildfile.py:" in str(caught.value)


def test_a_check_that_is_wrong_is_named_with_its_own_place(tmp_path: Path) -> None:
    text = "from buildkit_py import *\n@target\ndef app():\n    return Image('base').run('x')\n\n"
    text += "@check\ndef good():\n    return app().env(A='1').run('true')\n\n"
    text += "@check\ndef wrong():\n    return app().env(A='1')\n"
    with pytest.raises(BuildfileError, match=r"wrong\(\) does not end with a command") as caught:
        python(tmp_path, text)
    assert "Buildfile.py:10 " in f"{caught.value.at} " or "Buildfile.py:11 " in f"{caught.value.at} "


def test_a_check_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(PybuildError, match="`unit` is a check") as caught:
        python(tmp_path, CHECKS, "unit", testing=False)
    assert "pybuild test" in caught.value.hint
