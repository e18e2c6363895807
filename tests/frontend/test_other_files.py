"""Targets of other files through both doors: what they are lowered with, how often, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile.facts import Facts
from buildkit_py.frontend.buildfile.lower import survey
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.python.load import load
from buildkit_py.frontend.python.lower import call
from buildkit_py.frontend.target import Options, Target
from buildkit_py.graph.op import Copy, LocalSource, Run
from buildkit_py.graph.step import in_order
from tests.frontend.buildfile.lowering import BASE, Lowered
from tests.frontend.fakes import FakeResolver, SeenInputs

LIB = """\
ARG V=1
FROM base:$V AS tools
ARG V
RUN make $V
COPY src /src
FROM tools AS dist
ENV KIND=dist
TAG lib:dist
OUTPUT /dist
"""
PYTHON = """\
from buildkit_py import Image, context, scratch, target

@target
def deps(v: str = "1"):
    return Image("base").run("pip " + v).copy(context(".")["lock"], "/lock")

@target
def several():
    return [scratch(), scratch()]

@target(default=True)
def app():
    return deps()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(tmp_path, {"lib/Buildfile": LIB, "lib/src/f": "", "py/Buildfile.py": PYTHON, "py/lock": ""})
    return tmp_path


def write(project: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)


def lowered(project: Path, text: str, *targets: str, **options: object) -> Lowered:
    write(project, {"Buildfile": text})
    return Lowered(text, *targets, file=str(project / "Buildfile"), context=str(project), **options)


def commands(found: Lowered) -> list[str]:
    return [step.op.argv[-1] for step in found.steps if isinstance(step.op, Run)]


def contexts(target: Target) -> set[str]:
    assert target.step is not None
    return {step.op.root for step in in_order([target.step]) if isinstance(step.op, LocalSource)}


def test_a_base_is_as_the_other_file_makes_it(project: Path) -> None:
    found = lowered(project, "FROM ./lib+dist AS app\nRUN x\nCOPY lib /lib")
    assert commands(found) == ["make $V", "x"]
    assert dict(found.config.env)["KIND"] == "dist"
    assert contexts(found.target) == {str(project), str(project / "lib")}
    assert (found.target.tags, found.target.outputs) == ((), ())
    assert str(project / "lib/Buildfile") in found.inputs.files
    own = Lowered(LIB, "tools", file=str(project / "lib/Buildfile"), context=str(project / "lib"))
    made = next(step for step in found.steps if isinstance(step.op, Run))
    assert made.op == own.steps[1].op


def test_files_and_mounts_of_another_file(project: Path) -> None:
    text = (
        "FROM base\nCOPY --from=./lib+tools /a /b\nRUN --mount=from=./lib+tools,target=/t x\n"
        "COPY --from=./lib+dist /c /d"
    )
    found = lowered(project, text)
    assert commands(found) == ["make $V", "x"], "the file is lowered once"
    copies = [step for step in found.steps if isinstance(step.op, Copy) and step.op.dest != "/src"]
    assert len(copies) == 2


def test_arguments_are_the_other_files_own(project: Path) -> None:
    text = "ARG V=main\nFROM ./lib+tools AS a\nFROM base:$V AS b"
    assert [name for name, _ in lowered(project, text, "a", "b").resolver.asked] == ["base:1", "base:main"]
    given = lowered(project, text, "a", "b", build_args=(("V", "2"),))
    assert [name for name, _ in given.resolver.asked] == ["base:2", "base:2"]
    assert not lowered(project, "FROM ./lib+tools", build_args=(("V", "2"),)).notices


def test_a_plus_in_the_path_of_a_plain_copy_is_a_plus(project: Path) -> None:
    op = lowered(project, "FROM base\nCOPY ./lib+dist /x").op
    assert op.items[0].path == "./lib+dist"


def test_a_target_of_a_buildfile_py(project: Path) -> None:
    for word in "./py+deps", "./py/Buildfile.py+deps", "./py/../py+app":
        found = lowered(project, f"FROM {word}\nRUN x")
        assert commands(found) == ["pip 1", "x"]
        assert contexts(found.target) == {str(project / "py")}
    assert commands(lowered(project, "FROM ./py+deps", build_args=(("V", "2"),))) == ["pip 2"]
    assert not lowered(project, "FROM ./py+deps", build_args=(("V", "2"),)).notices


def test_triggers_of_another_files_target_run(project: Path) -> None:
    write(project, {"parent/Dockerfile": "FROM base AS p\nONBUILD RUN trigger"})
    assert commands(lowered(project, "FROM ./parent+p\nRUN own")) == ["trigger", "own"]


def test_files_name_each_other(project: Path) -> None:
    write(project, {"mid/Buildfile": "FROM ../lib+tools AS mid\nCOPY --from=../py+deps /a /b"})
    found = lowered(project, "INCLUDE mid/Buildfile\nFROM mid\nCOPY --from=./lib+dist / /")
    assert commands(found) == ["make $V", "pip 1"]


def test_a_platform_reaches_the_other_file(project: Path) -> None:
    found = lowered(project, "FROM --platform=linux/arm64 ./lib+tools")
    assert found.resolver.asked == [("base:1", "linux/arm64")]


def test_a_buildfile_py_that_starts_from_a_buildfile_with_other_files(project: Path) -> None:
    write(project, {"Dockerfile": "FROM ./lib+tools AS x\nCOPY --from=./py+deps /a /b"})
    made = python(project, 'Image.from_buildfile("Dockerfile").run("y")')
    assert contexts(made) == {str(project / "lib"), str(project / "py")}


def python(project: Path, code: str) -> Target:
    write(project, {"Buildfile.py": f"from buildkit_py import *\n@target\ndef app():\n    return {code}\n"})
    module = load(str(project / "Buildfile.py"), SeenInputs())
    options = Options(str(project), platform="linux/amd64")
    (made,) = call(module, [("", ())], options, FakeResolver(base=BASE), SeenInputs())
    return made


RING = "`ring/a/Buildfile+x` → `ring/b/Buildfile+y` → `ring/a/Buildfile+x`"
BROKEN = [
    ("FROM ./lib", "Buildfile:1:6: `./lib` names no target of another file", "write it as `./lib+target`"),
    ("FROM ./lib+", "Buildfile:1:6: `./lib+` names no target", "write it as `./lib+target`"),
    ("FROM ./gone+x", "Buildfile:1:6: there is no `gone`", ""),
    (
        "FROM ./empty+x",
        "Buildfile:1:6: `empty` has no Buildfile",
        "`Buildfile.py`, `Buildfile`, `Dockerfile` is",
    ),
    ("FROM ./lib+dits", "Buildfile:1:6: there is no target `dits`", "did you mean `dist`?"),
    ("FROM ./py+depps", "Buildfile:1:6: there is no target `depps`", "did you mean `deps`?"),
    ("FROM base\nCOPY --from=./lib+no /a /b", "Buildfile:2:6: there is no target `no`", "the targets are tools, dist"),
    ("FROM base\nRUN --mount=from=./lib+no,target=/x y", "Buildfile:2:5: there is no target `no`", ""),
    ("FROM ./bad+x", "bad/Buildfile:2:1, from Buildfile:1:6: unknown instruction `NOPE`", ""),
    ("FROM ./worse+x", "worse/Buildfile:2:5, from Buildfile:1:6: missing `}` in `${A`", ""),
    ("FROM ./py+several", "py/Buildfile.py:7 in several(), from Buildfile:1:6: the target several() returned list", ""),
    ("FROM ./raises+x", "raises/Buildfile.py:4 in x(), from Buildfile:1:6: ValueError: no", ""),
    (
        "FROM ./ring/a+x",
        "the targets need each other: `ring/a/Buildfile+x` → `ring/b/Buildfile+y` → `ring/a/Buildfile+x`",
        "",
    ),
    ("FROM ./.+x AS x", "the targets need each other: `Buildfile+x` → `Buildfile+x`", ""),
]


@pytest.mark.parametrize(("text", "message", "hint"), BROKEN)
def test_what_is_wrong_is_said(project: Path, text: str, message: str, hint: str) -> None:
    raises = "from buildkit_py import target\n@target\ndef x():\n    raise ValueError('no')\n"
    files = {
        "empty/f": "",
        "bad/Buildfile": "FROM base AS x\nNOPE",
        "worse/Buildfile": "FROM base AS x\nENV A=${A",
        "raises/Buildfile.py": raises,
        "ring/a/Buildfile": "FROM ../b+y AS x",
        "ring/b/Buildfile": "FROM ../a+x AS y",
    }
    write(project, files)
    with pytest.raises(BuildfileError) as caught:
        lowered(project, text)
    assert message in str(caught.value), str(caught.value)
    assert hint in caught.value.hint
    assert caught.value.excerpt


def test_a_text_without_a_file_has_no_others() -> None:
    with pytest.raises(BuildfileError, match=r"nothing that `\./x` could be relative to"):
        Lowered("FROM ./x+y")


def test_a_long_row_of_other_files(project: Path) -> None:
    write(project, {f"d{number}/Buildfile": f"FROM ../d{number + 1}+x AS x" for number in range(100)})
    write(project, {"d100/Buildfile": "FROM base AS x"})
    with pytest.raises(BuildfileError, match="need each other more than 20 deep"):
        lowered(project, "FROM ./d0+x")
    assert lowered(project, "FROM ./d85+x").resolver.asked == [("base", "linux/amd64")]


def test_a_look_at_a_file_runs_no_program(project: Path) -> None:
    write(project, {"py/Buildfile.py": "raise SystemError", "Buildfile": ""})
    text = "FROM ./py+deps AS a\nIF $SET_THERE == 1\nRUN x\nEND\nFROM base\nCOPY --from=./py+deps /a /b"
    facts = Facts()
    tree = parse_text(text, "Buildfile")
    options = Options(str(project), platform="linux/amd64")
    survey(tree, options, FakeResolver(base=BASE), SeenInputs(), file=str(project / "Buildfile"), facts=facts)
    with pytest.raises(BuildfileError, match="SystemError"):
        lowered(project, text)
