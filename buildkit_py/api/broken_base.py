"""Broken bases: a failure to have the files of an image's layer is told where a Buildfile names that image."""

from __future__ import annotations

from buildkit_py.graph.op import ImageSource
from buildkit_py.graph.step import in_order
from buildkit_py.image import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit_py.errors import PybuildError
    from buildkit_py.graph.step import Step


def tell_image(problem: PybuildError, roots: Iterable[Step]) -> None:
    """Let a failure with a layer of an image below these steps name the image, at the place that asks for it.

    The step that wanted the files, at which it was noticed, becomes a note.
    """
    if not problem.layer:
        return
    for step in in_order(roots):
        if isinstance(step.op, ImageSource) and problem.layer in step.op.layers:
            break
    else:
        return
    name = reference.familiar(step.op.reference)
    if name not in problem.message:
        problem.message = f"`{name}`: {problem.message}"
    if step.position is None or problem.at is step.position:
        return
    wanted_at = problem.at if hasattr(problem.at, "line") else None
    problem.place(step.position)
    if wanted_at is not None:
        problem.notes = (*problem.notes, f"its files are wanted at {wanted_at}")
