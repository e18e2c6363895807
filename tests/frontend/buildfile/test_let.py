"""LET: which step is run for it, where its value can be seen, and what cannot be a value."""

from __future__ import annotations

import pytest

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile.facts import Facts
from buildkit_py.frontend.buildfile.lower import survey
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.convert.convert import convert
from buildkit_py.frontend.target import Options
from buildkit_py.graph.op import Run
from buildkit_py.graph.step import Step
from tests.frontend.buildfile.lowering import BASE, Lowered
from tests.frontend.fakes import FakeResolver, SeenInputs


class Runner:
    """Answers the commands that it knows; `ran` are the steps that it was asked for."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.ran: list[Step] = []

    def __call__(self, step: Step) -> str:
        assert isinstance(step.op, Run)
        assert step.op.capture
        assert step.op.test
        self.ran.append(step)
        return self.answers[step.op.argv[-1]]


def lowered(text: str, *targets: str, **answers: str) -> tuple[Lowered, Runner]:
    runner = Runner(**answers)
    return Lowered(text, *targets, runner=runner), runner


def test_the_value_is_an_arg_for_what_follows() -> None:
    found, runner = lowered("FROM base\nWORKDIR /w\nLET v = $(version)\nRUN use $v\nENV V=$v", version=" 1.2 \n\n")
    assert dict(found.op.env)["v"] == "1.2"
    assert dict(found.config.env)["V"] == "1.2"
    assert found.history[-3:] == ["(ARG v=1.2)", "RUN |1 v=1.2 /bin/sh -c use $v # buildkit", "(ENV V=1.2)"]
    (step,) = runner.ran
    assert step.op.cwd == "/w"
    assert str(step.position) == "Buildfile:3:11"
    assert step.name == "[stage-0] LET v = $(version)"
    assert step.base is not None
    assert step.base.name == "[stage-0] WORKDIR /w"  # while it is not known how many there will be, none has a number
    use = found.target.step
    assert use is not None
    assert use.base is not None
    assert not isinstance(use.base.op, Run), "the command is no part of the stage"


def test_blocks_and_later_values_see_it() -> None:
    text = (
        "FROM base AS a\nLET v = $(one)\nIF $v == 1\nLET w = $(two)\nEND\nFOR x IN $w\nRUN echo $x\nEND\n"
        "FROM a\nIF not defined w\nRUN never\nEND\nRUN last"
    )
    found, runner = lowered(text, one="1", two="x y")
    assert [step.op.argv[-1] for step in found.steps if isinstance(step.op, Run)] == ["echo $x", "echo $x", "last"]
    assert [step.op.argv[-1] for step in runner.ran] == ["one", "two"]
    assert dict(runner.ran[1].op.env)["v"] == "1"


def test_the_value_of_a_function_ends_with_it() -> None:
    text = "FUNCTION f\nARG n\nLET v = $(of)\nRUN a\nEND\nFROM base\nDO f --n=1\nRUN b"
    found, runner = lowered(text, of="x")
    first, last = [step.op for step in found.steps if isinstance(step.op, Run)]
    assert dict(first.env)["v"] == "x"
    assert not {"v", "n"} & set(dict(last.env))
    assert dict(runner.ran[0].op.env)["n"] == "1"


def test_stages_that_are_not_wanted_run_nothing() -> None:
    _, runner = lowered("FROM base AS a\nLET v = $(x)\nFROM base AS b\nRUN y", "b", x="1")
    assert not runner.ran


def test_a_look_at_the_file_runs_nothing_and_blames_nobody() -> None:
    text = "FROM base\nLET v = $(x)\nIF $v == 1 or $NO == 2\nRUN a\nEND\nRUN echo $v"
    facts = Facts()
    tree = parse_text(text, "Buildfile")
    survey(tree, Options("/", platform="linux/amd64"), FakeResolver(base=BASE), SeenInputs(), facts=facts)
    assert not [one for one in facts.unset if one.name == "v"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("a\0b", "what `x` prints holds a NUL byte"),
        ("a" * 131_071, "what `x` prints is longer than the 128 KiB of a variable"),
        ("\udc80", "what `x` prints is no text in UTF-8"),
    ],
)
def test_what_cannot_be_a_variable(answer: str, message: str) -> None:
    with pytest.raises(BuildfileError) as caught:
        lowered("FROM base\nLET v = $(x)", x=answer)
    assert str(caught.value) == f"Buildfile:2:11: {message}"


def test_the_longest_value() -> None:
    found, _ = lowered("FROM base\nLET v = $(x)\nRUN y", x="a" * 131_069)
    assert len(dict(found.op.env)["v"]) == 131_069


def test_where_nothing_can_be_run() -> None:
    with pytest.raises(BuildfileError, match="nothing can be run here"):
        Lowered("FROM base\nLET v = $(x)")


def test_it_is_not_converted() -> None:
    text = "FROM base\nLET v = $(x)\n"
    with pytest.raises(BuildfileError, match="2:1: LET has no equivalent"):
        convert(parse_text(text, "Buildfile"), text)
