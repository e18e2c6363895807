"""INCLUDE: the stages and functions of another file, under which names, and what is said where it does not work."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.errors import BuildfileError, PybuildError
from buildkit_py.frontend.buildfile.lower import outline
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.graph.op import Run
from tests.frontend.buildfile.lowering import Lowered
from tests.frontend.fakes import SeenInputs

LIB = """\
ARG TAG=1
FUNCTION apt
  ARG packages
  RUN apt-get install $packages
END
FUNCTION twice
  DO apt --packages=a
  DO apt --packages=b
  COPY --from=tools /t /t
END
FROM base:$TAG AS tools
RUN make tools
FROM tools AS more
COPY --from=0 /a /b
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(tmp_path, {"lib/Buildfile": LIB})
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


def test_stages_and_functions_become_available(project: Path) -> None:
    found = lowered(project, "INCLUDE lib/Buildfile\nFROM tools AS app\nDO twice\nRUN x\nCOPY --from=more /b /c")
    assert commands(found) == ["make tools", "apt-get install $packages", "apt-get install $packages", "x"]
    assert found.resolver.asked == [("base:1", "linux/amd64")]
    assert str(project / "lib/Buildfile") in found.inputs.files
    assert found.target.name == "app"
    assert not found.findings


def test_names_of_their_own(project: Path) -> None:
    text = (
        "INCLUDE lib/Buildfile --as Lib\nFROM lib.tools AS tools\nDO lib.twice\nFROM other\nCOPY --from=LIB.more /a /b"
    )
    found = lowered(project, text, "tools")
    assert found.target.name == "tools"
    assert commands(found) == ["make tools", "apt-get install $packages", "apt-get install $packages"]
    assert lowered(project, text, "lib.more").target.name == "lib.more"
    names = [one.name for one in outline(parse_text(text, "B"), SeenInputs(), str(project / "Buildfile"))]
    assert names == ["lib.tools", "lib.more", "tools", "default"]
    with pytest.raises(PybuildError, match="there is no target `more`"):
        lowered(project, text, "more")


def test_places_tell_the_way(project: Path) -> None:
    found = lowered(project, "INCLUDE lib/Buildfile\nFROM tools\nDO twice")
    places = [str(step.position) for step in found.steps if isinstance(step.op, Run)]
    assert places == [
        "lib/Buildfile:12:1, from Buildfile:1:9",
        "lib/Buildfile:4 in apt(), from lib/Buildfile:7 in twice(), from Buildfile:3:1",
        "lib/Buildfile:4 in apt(), from lib/Buildfile:8 in twice(), from Buildfile:3:1",
    ]


def test_an_included_file_has_global_args_of_its_own(project: Path) -> None:
    text = "ARG TAG=main OTHER=1\nINCLUDE lib/Buildfile\nFROM tools\nFROM other:$TAG AS own"
    assert lowered(project, text).resolver.asked == [("other:main", "linux/amd64")]
    assert lowered(project, text, "tools").resolver.asked == [("base:1", "linux/amd64")]
    given = lowered(project, text, "tools", "own", build_args=(("TAG", "2"),))
    assert [name for name, _ in given.resolver.asked] == ["base:2", "other:2"]
    assert not given.notices


def test_the_default_target_is_the_files_own(project: Path) -> None:
    assert lowered(project, "FROM other AS own\nINCLUDE lib/Buildfile\nRUN x").target.name == "own"
    assert lowered(project, "INCLUDE lib/Buildfile").target.name == "more"


def test_an_include_within_a_stage_leaves_the_stage_open(project: Path) -> None:
    found = lowered(
        project, "FROM other AS own\nRUN a\nINCLUDE lib/Buildfile\nCOPY --from=tools /a /b\nDO apt --packages=p"
    )
    assert commands(found) == ["a", "make tools", "apt-get install $packages"]


def test_includes_of_includes(project: Path) -> None:
    middle = "INCLUDE ../lib/Buildfile --as lib\nFROM lib.tools AS mid\nDO lib.apt --packages=m"
    write(project, {"mid/Buildfile": middle})
    text = (
        "INCLUDE mid/Buildfile --as m\nINCLUDE lib/Buildfile --as direct\n"
        "FROM m.lib.more\nCOPY --from=m.mid / /\nDO m.lib.twice"
    )
    found = lowered(project, text)
    assert commands(found).count("make tools") == 1, "the file is one, by whatever names its stages go"
    assert len(commands(found)) == 4
    assert found.inputs.files.count(str(project / "lib/Buildfile")) == 1


def test_an_if_decides_what_is_included(project: Path) -> None:
    write(project, {"dev/Buildfile": "FROM base AS env\nRUN dev", "prod/Buildfile": "FROM base AS env\nRUN prod"})
    text = "ARG MODE=dev\nINCLUDE $MODE/Buildfile\nIF $MODE == dev\nINCLUDE lib/Buildfile\nEND\nFROM env"
    assert commands(lowered(project, text)) == ["dev"]
    found = lowered(project, text, build_args=(("MODE", "prod"),))
    assert commands(found) == ["prod"]
    assert str(project / "lib/Buildfile") not in found.inputs.files


RING = "the files include each other: `ring/a` → `ring/b` → `ring/a`"
BROKEN = [
    ("INCLUDE none\nFROM base", "Buildfile:1:9: the file `none` does not exist"),
    ("INCLUDE lib\nFROM base", "Buildfile:1:9: the file `lib` is a directory"),
    ("INCLUDE /etc/passwd\nFROM base", "Buildfile:1:9: `/etc/passwd` is no path relative to this file"),
    ("INCLUDE https://x/y\nFROM base", "Buildfile:1:9: `https://x/y` is no path relative to this file"),
    ("INCLUDE ../out\nFROM base", "Buildfile:1:9: `../out` is outside of the build context"),
    ("INCLUDE link\nFROM base", "Buildfile:1:9: `link` is outside of the build context"),
    ("INCLUDE broken\nFROM base", "broken:1:8, from Buildfile:1:9: "),
    ("INCLUDE early\nFROM base", "early:1:1, from Buildfile:1:9: RUN stands before the first FROM"),
    ("INCLUDE ring/a\nFROM base", "ring/b:1:9, from ring/a:1:9, from Buildfile:1:9: " + RING),
    ("INCLUDE Buildfile\nFROM base", "Buildfile:1:9: the files include each other: `Buildfile` → `Buildfile`"),
    ("FROM base AS tools\nINCLUDE lib/Buildfile", "Buildfile:2:9: the stage of Buildfile:1 has the name `tools`, too"),
    (
        "INCLUDE lib/Buildfile\nFROM base AS tools",
        "Buildfile:2:1: the stage of lib/Buildfile:11 has the name `tools`, too",
    ),
    (
        "FUNCTION apt\nEND\nINCLUDE lib/Buildfile\nFROM base",
        "Buildfile:3:9: there are two functions `apt`; the other one begins at",
    ),
    ("INCLUDE lib/Buildfile\nFROM base\nDO apt --pack=1", "Buildfile:3:8: the function `apt` has no argument `--pack`"),
    ("INCLUDE lib/Buildfile\nFROM tools\nCOPY --from=1 a b", "Buildfile:3:6: there is no stage 1"),
    ("INCLUDE tick\nFROM base", "Buildfile:1:9: `tick` has another escape character than this file"),
    ("ARG X\nINCLUDE $Y\nFROM base", "Buildfile:2:9: the variable `Y` is not set here"),
    ("INCLUDE fails\nFROM bad", "fails:2:5, from Buildfile:1:9: missing `}` in `${X`"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_what_is_wrong_is_said(project: Path, text: str, message: str) -> None:
    inside = project / "in"
    write(project, {"out": "FROM base"})
    write(
        inside,
        {
            "lib/Buildfile": LIB,
            "broken": "FROM a b c",
            "early": "RUN x",
            "ring/a": "INCLUDE b",
            "ring/b": "INCLUDE a",
            "tick": "# escape=`\nFROM base AS t",
            "fails": "FROM base AS bad\nENV A=${X",
        },
    )
    (inside / "link").symlink_to("../out")
    with pytest.raises(BuildfileError) as caught:
        lowered(inside, text)
    assert str(caught.value).startswith(message), str(caught.value)
    assert caught.value.excerpt


def test_a_text_without_a_file_includes_nothing() -> None:
    with pytest.raises(BuildfileError, match="nothing that `x` could be relative to"):
        Lowered("INCLUDE x\nFROM base")


def test_a_file_outside_of_the_context_includes_what_is_beside_it(tmp_path: Path) -> None:
    write(tmp_path, {"files/lib": "FROM base AS a", "files/Buildfile": "INCLUDE lib\nFROM a", "context/f": ""})
    text = (tmp_path / "files/Buildfile").read_text()
    found = Lowered(text, file=str(tmp_path / "files/Buildfile"), context=str(tmp_path / "context"))
    assert found.resolver.asked == [("base", "linux/amd64")]


def test_a_long_row_of_includes(project: Path) -> None:
    write(project, {f"f{number}": f"INCLUDE f{number + 1}" for number in range(300)})
    write(project, {"f300": "FROM base AS end"})
    with pytest.raises(BuildfileError, match="include each other more than 30 deep"):
        lowered(project, "INCLUDE f0\nFROM end")
    assert lowered(project, "INCLUDE f275\nFROM end").resolver.asked == [("base", "linux/amd64")]
