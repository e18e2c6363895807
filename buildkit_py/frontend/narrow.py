"""Narrowing: the filesystem that a RUN with `--inputs` stands on, in which few of the context's files are.

It is that of the stage, put together anew: each layer in which a COPY or ADD
put files of a context keeps only those that the patterns match, and every
other layer is what it is. Layers and not instructions, so that a file has the
place, mode and owner that it has in the stage.
"""

from __future__ import annotations

from buildkit_py.graph.op import Copy, CopyPath, LocalSource, Restack
from buildkit_py.graph.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.source_map import Position

    # For patterns: a filesystem of the stage, and what it is when narrowed.
    Narrowed = tuple[tuple[str, ...], Step | None, Step | None]


def narrow(
    base: Step | None,
    inputs: tuple[str, ...],
    context: Step | None,
    known: tuple[Narrowed, ...] = (),
    position: Position | None = None,
) -> tuple[Step | None, tuple[Narrowed, ...]]:
    """A filesystem with only those of the context's files that one of the `inputs` matches, and what is `known` then.

    `context` is the build's context where that is no directory of this
    machine. What earlier narrowings of the same stage made is used again.
    """
    below, view = next(((step, view) for patterns, step, view in known if patterns == inputs), (None, None))
    shown = f"what --inputs={' '.join(inputs)} leaves"
    chain: list[Step] = []
    at = base
    while at is not None and at is not below:
        chain.append(at)
        at = at.base
    if at is None:
        below = view = None
    for step in reversed(chain):
        if _is_of_context(step, context):
            view = Step(Restack(inputs), view, (step,), f"{step.name} ({shown})", step.stage, position)
        elif view is below:
            view = step
        else:
            view = Step(Restack(), view, (step,), f"{step.name} (above {shown})", step.stage, position)
        below = step
    others = tuple(one for one in known if one[0] != inputs)
    return view, (*others, (inputs, base, view))


def _is_of_context(step: Step, context: Step | None) -> bool:
    """Whether a step copies something from a directory of this machine or the build's context."""
    if not isinstance(step.op, Copy):
        return False
    used = {item.source for item in step.op.items if isinstance(item, CopyPath)}
    return any(isinstance(step.sources[index].op, LocalSource) or step.sources[index] is context for index in used)
