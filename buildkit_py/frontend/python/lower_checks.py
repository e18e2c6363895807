"""Checks of a Buildfile.py into tests: which belong to a target, and the steps that they are."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError, PybuildError, UsageError
from buildkit_py.frontend import results
from buildkit_py.frontend.python import actions, session
from buildkit_py.frontend.python.load import guarded, show_line
from buildkit_py.frontend.python.lower import find, images_of
from buildkit_py.frontend.target import Target
from buildkit_py.graph.op import Run
from buildkit_py.image.config import ImageConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from buildkit_py.frontend.python.check import CheckFunction
    from buildkit_py.frontend.python.image import Image
    from buildkit_py.frontend.python.load import Module
    from buildkit_py.frontend.python.lower import Given
    from buildkit_py.frontend.python.lower_image import ImageLowering
    from buildkit_py.frontend.python.target import TargetFunction
    from buildkit_py.frontend.target import Test


def with_checks(
    module: Module,
    wanted: tuple[tuple[str, Given], ...],
    lowering: ImageLowering,
    call: Callable[[Module, TargetFunction, Given, ImageLowering], list[Target]],
) -> tuple[Target, ...]:
    """The wanted targets with their tests; a check, wanted by its name or since nothing is, as a target without steps.

    `call` makes the targets of one function. Raises what calling and lowering raise.
    """
    named = {one.name: one for one in module.checks}
    if not wanted:
        checks = [_target(one, module, lowering) for one in module.checks]
        known = {test for one in checks for test in one.tests}
        return (*checks, *_inherited(module, known, lowering, call))
    for name, given in wanted:
        first = next(iter(dict(given)), "") if name in named else ""
        if first:
            raise UsageError(
                f"the check `{name}` has no parameter `--{first}`",
                at=named[name].position,
                hint="nothing gives a check its arguments; those of a target stand behind its name",
            )
    made: dict[int, list[Target]] = {}
    for group in _rounds([number for number, (name, _) in enumerate(wanted) if name not in named], wanted):
        functions = {number: find(module, wanted[number][0]) for number in group}
        for number, function in functions.items():
            made[number] = call(module, function, wanted[number][1], lowering)
        more = tests_for(functions.values(), module, lowering)
        last = made[group[-1]]
        last[-1] = last[-1].replace(tests=(*last[-1].tests, *more))
    for number, (name, _) in enumerate(wanted):
        if name in named:
            made[number] = [_target(named[name], module, lowering)]
    return tuple([target for number in range(len(wanted)) for target in made[number]])


def tests_for(functions: Iterable[TargetFunction], module: Module, lowering: ImageLowering) -> list[Test]:
    """The tests that belong to targets which were called, by the checks of their file. Raises as `with_checks`."""
    for one in module.checks:
        one.forget()
        _called(one, module)  # only now is it known what it goes on from
    belong = belonging(module.checks, functions)
    return [test for one in belong for test in _target(one, module, lowering).tests]


def _inherited(
    module: Module,
    known: set[Test],
    lowering: ImageLowering,
    call: Callable[[Module, TargetFunction, Given, ImageLowering], list[Target]],
) -> list[Target]:
    """The targets with the tests that they have from other files, as those that are nothing but these tests."""
    out: list[Target] = []
    for function in module.targets:
        if not all(parameter.has_default for parameter in function.parameters):
            continue
        for made in call(module, function, (), lowering):
            tests = tuple([test for test in made.tests if test not in known])
            known.update(tests)
            if tests:
                plain = Target(made.name, None, ImageConfig(), (), made.platform, made.description)
                out.append(plain.replace(position=made.position, tests=tests))
    return out


def _rounds(numbers: list[int], wanted: tuple[tuple[str, Given], ...]) -> list[list[int]]:
    """The numbers in groups in which each target is wanted once: checks go with one call of it at a time."""
    rounds: list[list[int]] = []
    for number in numbers:
        name = wanted[number][0]
        if not rounds or name in [wanted[other][0] for other in rounds[-1]]:
            rounds.append([])
        rounds[-1].append(number)
    return rounds


def _target(function: CheckFunction, module: Module, lowering: ImageLowering) -> Target:
    """A check as a target that is nothing but its tests."""
    value = _called(function, module)
    session.enter(module.session)
    try:
        tests = tests_of(function, images_of(function, value), module.name, lowering)
    except PybuildError as problem:
        show_line(problem, module.name, module.path)
        raise
    finally:
        session.leave()
    return Target(
        function.name,
        None,
        ImageConfig(),
        (),
        lowering.platform,
        function.description,
        position=function.position,
        tests=tuple(tests),
    )


def _called(function: CheckFunction, module: Module) -> object:
    """What a check returns; the second time it is not called again."""
    for parameter in function.parameters:
        if not parameter.has_default:
            raise BuildfileError(
                f"the check {function.name}() has no default for `{parameter.name}`",
                at=function.position,
                hint="nothing gives a check its arguments",
            )
    return guarded(module.session, module.name, function.result)


def belonging(checks: Iterable[CheckFunction], wanted: Iterable[TargetFunction]) -> list[CheckFunction]:
    """The checks, already called, that go on from one of the targets or from something that these are made of."""
    reached: set[TargetFunction] = set()
    todo = list(wanted)
    while todo:
        one = todo.pop()
        if one not in reached:
            reached.add(one)
            todo.extend(one.uses)
    return [one for one in checks if reached.intersection(one.uses)]


def tests_of(
    function: CheckFunction, named: Iterable[tuple[str, Image]], file: str, lowering: ImageLowering
) -> list[Test]:
    """The tests that a check's images are, behind those of what they stand on. Raises `BuildfileError`."""
    found: dict[Test, None] = {}
    for name, image in named:
        if not isinstance(image.action, actions.RunCommand):
            raise BuildfileError(
                f"the check {function.name}() does not end with a command",
                at=function.position,
                hint="the last thing that its image does is the run() that is the test",
            )
        stage = lowering.stage(image)
        step = stage.step
        assert step is not None
        assert isinstance(step.op, Run)
        if function.timeout and not step.op.policy.timeout:
            step = step.replace(op=step.op.replace(policy=step.op.policy.replace(timeout=function.timeout)))
        label = step.name.replace("] RUN ", "] TEST ", 1)
        tested = results.test(stage.replace(name=file), stage.replace(step=step), name, label=label)
        found.update(dict.fromkeys(tested.tests))
    return list(found)
