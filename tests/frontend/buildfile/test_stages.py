from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.buildfile.stages import StageTable


def table(text):
    made = StageTable(parse_text(text, "Buildfile"))
    made.link(lambda stage: (stage.head.image.text, ""))
    return made


def test_names_and_titles():
    made = table("FROM a\nFROM b AS x\nFROM c AS X\nFROM d")
    assert [stage.title for stage in made.stages] == ["stage-0", "x", "x", "stage-3"]
    assert made.names() == ["x", "default"]
    assert made.wanted("X") is made.stages[2]


def test_needs_go_through_bases_copies_and_mounts():
    made = table(
        "FROM a AS a\nFROM a AS unused\nFROM a AS m\nFROM a AS c\n"
        "FROM c AS end\nCOPY --from=0 x y\nRUN --mount=from=M,target=/x --mount=type=tmpfs,from=unused,target=/y z"
    )
    assert [stage.name for stage in made.needed_for([made.wanted("end")])] == ["a", "m", "c", "end"]


def test_triggers_are_no_needs_of_the_stage_that_holds_them():
    made = table("FROM a AS a\nFROM b AS b\nONBUILD COPY --from=a x y")
    assert made.needed_for([made.wanted("b")]) == [made.stages[1]]
