"""What a cache is better off without: layers that take longer to move than to make.

A machine that lacks such a layer runs its step. A copy of the context comes
out the same there, so it costs what the copy took. A `RUN` may not, and then
all that stands on it runs again, too: its layer is worth the time of all these
steps. What reads files of another stage is always kept, for who makes it needs
those first.
"""

from __future__ import annotations

from buildkit_py.graph.op import Copy, LocalSource, Mkdir, Run
from buildkit_py.graph.step import inputs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildkit_py.graph.step import Step


def not_worth_moving(
    order: Sequence[Step], layers: Mapping[Step, str], took: Mapping[Step, float], moving: Callable[[str], float]
) -> set[str]:
    """The layers that a cache does not keep.

    `order` has all steps of the graph, inputs first; `layers` what those that
    may be kept made, `took` how many seconds they ran. `moving` says how many
    a layer takes on its way, 0 where it is there.
    """
    kept: set[str] = set()
    dropped: set[str] = set()
    for step, layer in layers.items():
        if layer in kept:
            continue
        seconds = moving(layer)
        if seconds > took.get(step, 0.0) and _needs_no_other(step) and seconds > _cost(step, order, took):
            dropped.add(layer)
        else:
            kept.add(layer)
    return dropped - kept


def _needs_no_other(step: Step) -> bool:
    """Whether a step can be done with what it stands on and the context alone."""
    return isinstance(step.op, Copy | Mkdir | Run) and all(isinstance(one.op, LocalSource) for one in step.sources)


def _cost(step: Step, order: Sequence[Step], took: Mapping[Step, float]) -> float:
    if not isinstance(step.op, Run):
        return took.get(step, 0.0)
    above = {step}
    for other in order:
        if any(one in above for one in inputs(other)):
            above.add(other)
    return sum(took.get(one, 0.0) for one in above)
