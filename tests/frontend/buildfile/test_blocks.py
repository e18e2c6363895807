"""IF, FOR, FUNCTION and DO: what a file comes to when they are decided, and what is said of those that cannot be."""

from __future__ import annotations

import pytest

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile.lower import outline
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.convert.convert import convert
from buildkit_py.graph.op import Run
from tests.frontend.buildfile.lowering import BASE, Lowered
from tests.frontend.fakes import FakeResolver, SeenInputs


def commands(text: str, *targets: str, **options: object) -> list[str]:
    """The commands of the steps, in the order they can run."""
    return [step.op.argv[-1] for step in Lowered(text, *targets, **options).steps if isinstance(step.op, Run)]


def fails(text: str, *targets: str, **options: object) -> BuildfileError:
    with pytest.raises(BuildfileError) as caught:
        Lowered(text, *targets, **options)
    return caught.value


# Conditions

TRUE = [
    "$LANG == C",
    "$LANG != D",
    '"$LANG $MODE" == "C dev"',
    "$MODE in 'test dev'",
    "not $MODE in 'testdev'",
    "defined MODE",
    "defined EMPTY",
    "not defined NOTHING and not defined UNHEARD",
    '$EMPTY == ""',
    "$NOTHING == ''",
    "$VERSION matches '3.*'",
    "$VERSION matches 3.1[0-9].?",
    "$IMAGE matches 'registry*app'",
    "not $VERSION matches 3",
    "${UNHEARD:-x} == x",
    "defined UNHEARD and $UNHEARD == 1 or $MODE == dev",
    "(not defined UNHEARD or $UNHEARD == 1) and $LANG == C",
]
HEAD = 'FROM base\nARG MODE=dev NOTHING EMPTY=""\nENV VERSION=3.12.1 IMAGE=registry:5000/app\n'


@pytest.mark.parametrize("condition", TRUE)
def test_conditions_that_hold(condition: str) -> None:
    assert commands(f"{HEAD}IF {condition}\nRUN yes\nELSE\nRUN no\nEND") == ["yes"]
    assert commands(f"{HEAD}IF not ({condition})\nRUN yes\nELSE\nRUN no\nEND") == ["no"]


def test_branches_are_tried_in_order() -> None:
    text = "FROM base\nARG M\nIF $M == a\nRUN a\nELIF $M in 'a b'\nRUN b\nELIF $M == b\nRUN never\nELSE\nRUN c\nEND"
    assert [commands(text, build_args=(("M", value),)) for value in "abc"] == [["a"], ["b"], ["c"]]
    assert commands("FROM base\nRUN x\nIF a == b\nRUN y\nEND") == ["x"]


def test_a_condition_sees_the_image_and_all_that_is_above() -> None:
    text = (
        "FROM base\nENV X=1\nIF $X == 1 and $LANG == C\nENV X=2\n"
        "IF $X == 2\nRUN two\nEND\nEND\nIF $X == 2\nRUN end\nEND"
    )
    assert commands(text) == ["two", "end"]


def test_a_condition_sees_what_a_trigger_of_the_image_set() -> None:
    resolver = FakeResolver(base=BASE.replace(on_build=("ENV KIND=child", "RUN trigger")))
    assert commands("FROM base\nIF $KIND == child\nRUN x\nEND", resolver=resolver) == ["trigger", "x"]


def test_numbers_of_steps_count_what_is_there() -> None:
    steps = Lowered("FROM base AS a\nIF 1 == 1\nRUN x\nRUN y\nELSE\nRUN z\nEND\nFROM a\nRUN w").steps
    assert [step.name for step in steps] == [
        "[a 1/3] FROM base",
        "[a 2/3] RUN x",
        "[a 3/3] RUN y",
        "[stage-1 1/1] RUN w",
    ]


# FOR


def test_a_loop_in_a_stage() -> None:
    lowered = Lowered("FROM base\nENV L='a  b'\nFOR x IN $L \"c d\" e\nRUN echo $x\nEND\nRUN end")
    runs = [step.op for step in lowered.steps if isinstance(step.op, Run)]
    assert [dict(op.env).get("x") for op in runs] == ["a", "b", "c d", "e", None]
    assert lowered.history[1:3] == ["(ARG x=a)", "RUN |1 x=a /bin/sh -c echo $x # buildkit"]


def test_a_loop_hides_a_variable_and_gives_it_back() -> None:
    text = "FROM base\nENV v=outer\nFOR v IN inner\nRUN a\nEND\nRUN b"
    inner, outer = [step.op for step in Lowered(text).steps if isinstance(step.op, Run)]
    assert dict(inner.env)["v"] == "inner"
    assert dict(outer.env)["v"] == "outer"
    assert Lowered(text).config.env == Lowered("FROM base\nENV v=outer").config.env


def test_an_env_of_a_block_stays() -> None:
    text = "FROM base\nFOR v IN 1 2\nENV LAST=$v v=$v.0\nEND\nRUN x"
    lowered = Lowered(text)
    assert lowered.config.env[-2:] == (("LAST", "2"), ("v", "2.0"))
    assert dict(lowered.op.env)["v"] == "2.0"


def test_a_step_below_a_block_is_the_step_that_it_was_without() -> None:
    assert Lowered("FROM base\nARG A=1\nFOR v IN 1\nIF $v == 2\nRUN x\nEND\nEND\nRUN y").op == (
        Lowered("FROM base\nARG A=1\nRUN y").op
    )


MATRIX = """\
ARG VERSIONS="3.11 3.12"
FOR v IN $VERSIONS
FROM base:$v AS py${v}
RUN build $v
FROM py$v AS py$v-test
RUN test
END
FROM scratch
FOR v IN 3.11 3.12
COPY --from=base / /$v
END
COPY --from=py3.12 /a /b
"""


def test_a_loop_makes_stages() -> None:
    assert commands(MATRIX, "py3.11-test") == ["build $v", "test"]
    lowered = Lowered(MATRIX, "py3.11-test")
    build, test = [step.op for step in lowered.steps if isinstance(step.op, Run)]
    assert dict(build.env)["v"] == dict(test.env)["v"] == "3.11"
    assert lowered.resolver.asked == [("base:3.11", "linux/amd64")]
    names = [one.name for one in outline(parse_text(MATRIX, "Buildfile"), SeenInputs())]
    assert names == ["py3.11", "py3.11-test", "py3.12", "py3.12-test", "default"]
    given = Lowered(MATRIX, "py4", build_args=(("VERSIONS", "3.12 4"),))
    assert given.resolver.asked == [("base:4", "linux/amd64")]


def test_a_loop_takes_files_from_several_stages() -> None:
    text = (
        "FOR v IN 1 2\nFROM base AS a$v\nRUN make $v\nEND\nFROM base\nFOR v IN 1 2\nCOPY --from=a$v /x /x$v\n"
        "RUN --mount=type=bind,from=a${v},target=/m$v use\nEND"
    )
    found = Lowered(text)
    assert sorted(commands(text)) == ["make $v", "make $v", "use", "use"]
    copies = [step.name for step in found.steps if "COPY" in step.name]
    assert copies == ["[stage-2 2/5] COPY --from=a1 /x /x1", "[stage-2 4/5] COPY --from=a2 /x /x2"]
    assert not found.findings
    outer = "FROM base AS a1\nFROM base\nARG v=1\nCOPY --from=a$v /x /x\nFOR w IN 1\nRUN x\nEND"
    assert "variables are not expanded in --from" in fails(outer).message


def test_a_loop_variable_ends_with_its_stage() -> None:
    child = Lowered("FOR v IN 1\nFROM base AS a$v\nRUN x\nEND\nFROM a1\nRUN y").op
    assert "v" not in dict(child.env)


def test_blocks_choose_among_stages() -> None:
    text = "ARG KIND=dev\nIF $KIND == dev\nFROM base AS b\nRUN dev\nELSE\nFROM other AS b\nRUN rel\nEND\nFROM b\nRUN x"
    assert commands(text) == ["dev", "x"]
    release = Lowered(text, build_args=(("KIND", "release"),))
    assert release.resolver.asked == [("other", "linux/amd64")]
    assert not release.findings


def test_blocks_decide_global_args() -> None:
    text = "ARG A=1\nIF $A == 1\nARG TAG=one\nELSE\nARG TAG=two\nEND\nFROM base:$TAG"
    assert Lowered(text).resolver.asked[0][0] == "base:one"
    assert Lowered(text, build_args=(("A", "2"),)).resolver.asked[0][0] == "base:two"
    assert not Lowered(text, build_args=(("TAG", "x"),)).notices


def test_a_block_that_makes_stages_is_decided_by_global_args() -> None:
    text = "ARG A=1\nFROM base AS one\nARG A=2\nIF $A == 1\nRUN first\nFROM base AS two\nRUN second\nEND"
    assert commands(text, "one") == ["first"]
    assert commands(text) == ["second"]


# FUNCTION and DO

APT = """\
FUNCTION apt
ARG packages
ARG flags="-y"
RUN apt-get install $flags $packages
END
"""


def test_a_function() -> None:
    lowered = Lowered(APT + 'FROM base\nENV P="a b"\nDO apt --packages="$P c"\nDO apt --packages=d --flags=\nRUN x')
    first, second, last = [step.op for step in lowered.steps if isinstance(step.op, Run)]
    assert [(dict(op.env)["packages"], dict(op.env)["flags"]) for op in (first, second)] == [
        ("a b c", "-y"),
        ("d", ""),
    ]
    assert not {"packages", "flags"} & {name for name, _ in last.env}


def test_an_argument_is_no_build_arg() -> None:
    lowered = Lowered(APT + "FROM base\nDO apt --packages=a", build_args=(("packages", "z"), ("flags", "z")))
    assert dict(lowered.op.env)["packages"] == "a"
    assert dict(lowered.op.env)["flags"] == "-y"
    assert [message for message, _, _ in lowered.notices] == [
        "the build arg `packages` is declared nowhere",
        "the build arg `flags` is declared nowhere",
    ]


def test_functions_call_functions_that_stand_further_down() -> None:
    text = "FUNCTION a\nDO b --x=1\nEND\nFROM base\nDO a\nFUNCTION b\nARG x\nFOR y IN 1 2\nRUN $x $y\nEND\nEND"
    first, second = [step for step in Lowered(text).steps if isinstance(step.op, Run)]
    assert dict(second.op.env)["y"] == "2"
    assert str(first.position) == "Buildfile:9 in b(), from Buildfile:2 in a(), from Buildfile:5:1"


def test_a_function_makes_stages() -> None:
    text = (
        "FUNCTION service\nARG name\nARG image=base\nFROM $image AS $name\nARG name extra=$name-x\n"
        "RUN make $name $extra\nEND\nDO service --name=web\nDO service --name=API --image=other"
    )
    lowered = Lowered(text, "web", "api")
    assert [asked for asked, _ in lowered.resolver.asked] == ["base", "other"]
    assert [dict(target.step.op.env)["extra"] for target in lowered.targets] == ["web-x", "API-x"]


# TAG and OUTPUT


def test_tags_and_outputs_are_the_stages_own() -> None:
    text = (
        "FROM base AS a\nARG V=1\nWORKDIR /w\nOUTPUT dist/*.whl out/\nOUTPUT /log\n"
        "TAG app:$V app:$V r.io/app\nFROM a AS b\nTAG b"
    )
    first, second = Lowered(text, "a", "b").targets
    assert [(one.source, one.dest) for one in first.outputs] == [("/w/dist/*.whl", "out/"), ("/log", "")]
    assert first.tags == ("app:1", "r.io/app")
    assert (second.outputs, second.tags) == ((), ("b",))


def test_tags_and_outputs_are_converted() -> None:
    text = "FROM base AS a\nTAG x y:1\nOUTPUT /a out/\n"
    code = convert(parse_text(text, "Buildfile"), text)
    assert '@target(tags=["x", "y:1"])\ndef a()' in code
    assert '.output("/a", "out/")' in code


# What is wrong

BROKEN = [
    ("FROM base\nIF $MOD == 1\nEND", "2:4: the variable `MOD` is not set here", "declare it with ARG, or ask"),
    ("FROM base\nARG MODE\nIF $MOD == 1\nEND", "3:4: the variable `MOD` is not set", "did you mean `MODE`?"),
    ("ARG G=1\nFROM base\nIF $G == 1\nEND", "3:4: the variable `G` is not set here", "a stage sees a global ARG where"),
    ("FROM base\nIF a matches '[x'\nEND", "2:14: `[x` is no pattern", ""),
    ("FROM base\nARG L\nFOR x IN $L ''\nRUN x\nEND", "3:1: FOR x IN $L '' runs over nothing", "put it into an IF"),
    ("FROM base\nFOR x IN ${Y?}\nEND", "2:10: Y: is not allowed to be unset", ""),
    ("FOR x IN 1\nRUN x\nEND\nFROM base", "2:1: RUN stands before the first FROM", "only ARG"),
    ("FOR x IN a.b -\nFROM base AS $x\nEND", "2:1: `$x` comes to `-`, which cannot be the name of a stage", "a name"),
    ("FROM base AS x$y", "1:1: the variable `y` is not set here", "declare it"),
    ("IF 1 == 2\nFROM base\nEND", "the Buildfile has no FROM, so it has nothing to build", ""),
    (
        "FUNCTION f\nEND\nFUNCTION F\nEND\nFROM base",
        "3:1: there are two functions `f`; the other one begins at Buildfile:1",
        "",
    ),
    ("FROM base\nDO f", "2:4: there is no function `f`", "no FUNCTION stands in this file"),
    ("FUNCTION apt\nEND\nFROM base\nDO apr", "4:4: there is no function `apr`", "did you mean `apt`?"),
    (APT + "FROM base\nDO apt --package=x", "7:8: the function `apt` has no argument `--package`", "did you mean `--p"),
    (APT + "FROM base\nDO apt", "7:1: the function `apt` needs `--packages=…`", "the ARG of Buildfile:2 a default"),
    (APT + "FROM base\nDO apt --packages=$NO", "7:8: the variable `NO` is not set here", ""),
    ("FUNCTION a\nDO b\nEND\nFUNCTION b\nDO a\nEND\nFROM base\nDO a", "5 in b(), from Buildfile:2 in a(), from", ""),
    (
        "FUNCTION a\nFROM base\nDO a\nEND\nDO a",
        "3 in a(), from Buildfile:5:1: a function cannot call itself: `a` → `a`",
        "",
    ),
    ("FUNCTION f\nWORKDIR\\\n /$X${\nEND\nFROM base\nDO f", "3 in f(), from Buildfile:6:1: missing `}`", ""),
    (
        "FROM base AS a\nIF 1 == 1\nCOPY --from=b a b\nEND\nFROM base AS b\nFROM a",
        "3:6: the stage `b` is used before it",
        "move",
    ),
    ("FROM base\nTAG a:b:c", "2:1: ", ""),
    ("FROM base\nTAG a@sha256:" + "a" * 64, "2:1: ", "name a tag instead"),
    ("FROM base\nOUTPUT /x ../y", "2:11: `../y` is outside of the project", "name a path below it"),
    ("FROM base\nOUTPUT $NO x", "2:8: OUTPUT $NO comes to nothing", ""),
    ("TAG x\nFROM base", "1:1: TAG stands before the first FROM", "only ARG"),
]


@pytest.mark.parametrize(("text", "message", "hint"), BROKEN)
def test_what_is_wrong_is_said(text: str, message: str, hint: str, tmp_path) -> None:
    path = tmp_path / "Buildfile"
    path.write_text(text)
    problem = fails(text, file=str(path))
    assert message in str(problem), str(problem)
    assert hint in problem.hint
    assert problem.excerpt or "no FROM" in message


def test_the_chain_of_a_recursion_is_said() -> None:
    text = "FUNCTION a\nDO b\nEND\nFUNCTION b\nIF 1 == 1\nDO a\nEND\nEND\nFROM base\nDO a"
    assert "`a` → `b` → `a`" in fails(text).message


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("FROM a\nFOR x IN 1\nEND\n", "2:1: FOR"),
        ("FUNCTION f\nEND\nFROM a\n", "1:1: FUNCTION"),
        ("FROM a\nDO f\n", "2:1: DO"),
        ("FROM a AS b$X\n", "1:1: a variable in the name of a stage"),
        ("FROM a\nARG X\nTAG $X\n", "3:5: a variable in TAG"),
        ("FROM a\nARG X\nOUTPUT /a $X\n", "3:11: a variable in OUTPUT"),
    ],
)
def test_what_python_has_words_of_its_own_for_is_not_converted(text: str, what: str) -> None:
    with pytest.raises(BuildfileError) as caught:
        convert(parse_text(text, "Buildfile"), text)
    assert f"{what} has no equivalent" in str(caught.value)


# What grows without end


def doubling(count: int, last: str) -> str:
    functions = [f"FUNCTION f{number}\nDO f{number + 1}\nDO f{number + 1}\nEND" for number in range(count)]
    return "\n".join([*functions, f"FUNCTION f{count}\n{last}\nEND", ""])


GROWING = [
    (doubling(40, "ENV A=1") + "FROM base\nDO f0", "blocks come to more than 20,000 instructions"),
    (doubling(40, "FROM base") + "DO f0", "blocks come to more than 20,000 instructions"),
    ("FROM base\n" + "FOR v IN 1 2 3 4 5 6 7 8 9 10\n" * 5 + "ENV A=$v\n" + "END\n" * 5, "come to more than 20,000"),
    ("FROM base\n" + "IF 1 == 1\n" * 51 + "END\n" * 51, "blocks are nested more than 50 deep"),
    (
        "".join([f"FUNCTION f{n}\nIF 1 == 1\nDO f{n + 1}\nEND\nEND\n" for n in range(500)]) + "FROM base\nDO f0",
        "blocks and calls are nested more than 100 deep",
    ),
    (
        "".join([f"FUNCTION f{n}\nDO f{n + 1}\nEND\n" for n in range(500)]) + "FUNCTION f500\nFROM base\nEND\nDO f0",
        "blocks and calls are nested more than 100 deep",
    ),
    (
        "FROM base AS s0\n"
        + "".join([f"FROM base AS s{n}\nIF 1 == 1\nCOPY --from=s{n - 1} / /\nEND\n" for n in range(1, 600)]),
        "stands at the end of too long a row of stages",
    ),
]


@pytest.mark.parametrize(("text", "message"), GROWING)
def test_what_grows_without_end_is_ended(text: str, message: str) -> None:
    problem = fails(text)
    assert message in problem.message
    assert problem.at is not None


def test_what_is_deep_and_large_but_not_too_much() -> None:
    deep = "FROM base\n" + "IF 1 == 1\n" * 50 + "RUN x\n" + "END\n" * 50
    assert commands(deep) == ["x"]
    wide = "FROM base\nFOR a IN 1 2 3 4 5 6 7 8 9 10\nFOR b IN 1 2 3 4 5 6 7 8 9 10\nRUN $a $b\nEND\nEND"
    assert len(commands(wide)) == 100
