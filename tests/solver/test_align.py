"""Which step of an earlier build is the same one."""

from __future__ import annotations

from buildkit_py.solver.align import align, bare_name
from buildkit_py.store.build_record import StepSeen


def steps(*names: str, stage: str = "app") -> list[StepSeen]:
    return [
        StepSeen("", f"[{stage} {number}/{len(names)}] {name}", name.partition(" ")[0].lower(), stage)
        for number, name in enumerate(names, 1)
    ]


def test_numbers_do_not_count() -> None:
    assert align(steps("COPY a", "RUN b"), steps("RUN x", "COPY a", "RUN b")) == {0: 1, 1: 2}


def test_an_edited_line_is_the_step_that_was_there() -> None:
    assert align(steps("FROM a", "RUN one two", "RUN c"), steps("FROM a", "RUN one", "RUN c")) == {0: 0, 1: 1, 2: 2}


def test_a_new_kind_of_step_has_no_forerunner() -> None:
    assert align(steps("FROM a", "COPY x", "RUN new"), steps("FROM a", "RUN old")) == {0: 0, 2: 1}


def test_stages_are_kept_apart() -> None:
    now = [*steps("RUN a", stage="one"), *steps("RUN b", stage="two")]
    then = [*steps("RUN b", stage="two"), *steps("RUN a", stage="one")]
    assert align(now, then) == {0: 1, 1: 0}
    assert align(steps("RUN a", stage="new"), then) == {}


def test_two_equal_lines_stay_in_order() -> None:
    assert align(steps("RUN a", "RUN a"), steps("RUN a", "RUN a")) == {0: 0, 1: 1}


def test_a_bare_name() -> None:
    assert bare_name("[web 2/5] RUN [ -f x ] y") == "RUN [ -f x ] y"
    assert bare_name("RUN x] y") == "RUN x] y"
