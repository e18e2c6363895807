"""What is to be done with a stage once it is made: files that land on the host, names of its image, tests."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError, UsageError
from buildkit_py.frontend.assemble import join
from buildkit_py.frontend.target import Output, Test
from buildkit_py.graph.op import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit_py.frontend.assemble import Stage
    from buildkit_py.source_map import Position


def output(
    stage: Stage, source: str, dest: str, *, position: Position | None = None, dest_position: Position | None = None
) -> Stage:
    """OUTPUT: `source`, against WORKDIR, lands on the host in `dest`, a path below the project ("" for its root).

    `dest_position` is the place of `dest` where that has one of its own.
    """
    if dest.startswith("/") or ".." in dest.split("/"):
        raise BuildfileError(
            f"`{dest}` is outside of the project",
            at=dest_position or position,
            hint="name a path below it, such as `dist/`",
        )
    whole = join("/" if source.startswith("/") else stage.config.working_dir or "/", source)
    return stage.replace(outputs=(*stage.outputs, Output(whole, dest, position)))


def tag(stage: Stage, names: Iterable[str], *, position: Position | None = None) -> Stage:
    """TAG: names of the stage's image."""
    return stage.replace(tags=tuple(dict.fromkeys((*stage.tags, *tags(names, position)))))


def tags(names: Iterable[str], position: Position | None) -> tuple[str, ...]:
    """Names for an image as they are given. Raises `BuildfileError` for one that is none, or names a digest."""
    from buildkit_py.image.reference import parse

    found = tuple(names)
    for name in found:
        try:
            parsed = parse(name)
        except UsageError as problem:
            raise BuildfileError(problem.message, at=position, hint=problem.hint) from problem
        if parsed.digest:
            raise BuildfileError(f"`{name}` names an image by its digest", at=position, hint="name a tag instead")
    return found


def test(stage: Stage, tried: Stage, name: str, *, label: str) -> Stage:
    """TEST: `tried` is the stage as a RUN of the command would leave it, which nobody sees."""
    step = tried.step
    assert step is not None
    assert isinstance(step.op, Run)
    step = step.replace(op=step.op.replace(test=True), name=label)
    return stage.replace(tests=(*stage.tests, Test(name, stage.name, step)))


def with_tests(stage: Stage, tests: Iterable[Test]) -> Stage:
    """The stage with the tests of another one that it takes files from."""
    merged = tuple(dict.fromkeys((*stage.tests, *tests)))
    return stage if merged == stage.tests else stage.replace(tests=merged)
