"""Which layers a cache is better off without."""

from __future__ import annotations

from buildkit_py.graph.op import Copy, CopyPath, LocalSource, Run
from buildkit_py.graph.step import Step, in_order
from buildkit_py.portable.uploads import SMALL, Rate
from buildkit_py.portable.worth import not_worth_moving

CONTEXT = Step(LocalSource("context", "/src"))
BIG = 100.0  # seconds that a layer takes on its way


def copied(base: Step | None = None) -> Step:
    return Step(Copy((CopyPath("a"),), "/a"), base, (CONTEXT,))


def ran(base: Step | None, text: str = "x", *sources: Step) -> Step:
    return Step(Run(("sh", "-c", text)), base, sources)


def dropped(top: Step, took: dict[Step, float], moving: dict[Step, float]) -> set[Step]:
    """The steps whose layers stay, of the graph below one; each made a layer of its own."""
    order = list(in_order([top]))
    layers = {step: str(number) for number, step in enumerate(order) if not isinstance(step.op, LocalSource)}
    found = not_worth_moving(order, layers, took, {layers[step]: moving.get(step, 0.0) for step in layers}.__getitem__)
    return {step for step, layer in layers.items() if layer in found}


def test_a_copy_is_worth_what_it_took() -> None:
    step = copied()
    assert dropped(step, {step: 1.0}, {step: BIG}) == {step}
    assert dropped(step, {step: 1.0}, {step: 0.5}) == set()
    # Of what stands on it nothing has to run again.
    above = ran(step)
    assert dropped(above, {step: 1.0, above: 1000.0}, {step: BIG}) == {step}


def test_a_command_is_worth_all_that_stands_on_it() -> None:
    below = ran(None, "below")
    above = ran(copied(below), "above")
    assert dropped(above, {below: 1.0, above: 90.0}, {below: BIG}) == {below}
    assert dropped(above, {below: 1.0, above: 110.0}, {below: BIG}) == set()


def test_through_files_of_another_stage_too() -> None:
    below = ran(None, "below")
    taker = Step(Copy((CopyPath("b"),), "/b"), None, (below,))
    above = ran(taker, "above")
    assert dropped(above, {below: 1.0, above: 110.0}, {below: BIG}) == set()


def test_what_takes_files_of_another_stage_is_kept() -> None:
    stage = ran(None, "stage")
    taker = Step(Copy((CopyPath("b"),), "/b"), None, (stage,))
    mounter = ran(None, "mount", stage)
    for step in (taker, mounter):
        assert dropped(step, {stage: 1.0, step: 1.0}, {step: BIG}) == set()


def test_what_is_there_costs_nothing() -> None:
    step = copied()
    assert dropped(step, {}, {step: 0.0}) == set()


def test_a_layer_of_two_steps_is_kept_if_one_of_them_is_worth_it() -> None:
    first, second = copied(), ran(None, "slow")
    order = [*in_order([first]), second]
    layers = {first: "same", second: "same"}
    took = {first: 1.0, second: 200.0}
    assert not_worth_moving(order, layers, took, lambda layer: BIG) == set()


def test_a_rate_is_that_of_large_blobs() -> None:
    rate = Rate()
    assert rate.seconds(50 * SMALL) == 0.0
    rate.note(10 * SMALL, 2.0)
    rate.note(10 * SMALL, 4.0)
    assert rate.seconds(SMALL - 1) == 0.0
    assert rate.seconds(20 * SMALL) == 6.0
