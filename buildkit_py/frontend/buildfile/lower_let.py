"""LET: a command whose standard output becomes the value of an ARG, run when the graph is made.

It is a step as any other, found in the cache by the stage that it stands on,
but what it changes is no part of that stage.
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend import assemble
from buildkit_py.graph.op import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.assemble import Stage
    from buildkit_py.frontend.buildfile.lower_stage import StageLowering
    from buildkit_py.frontend.buildfile.own_words import Let

# execve(2): a variable with its name, `=` and the NUL behind it.
_LONGEST = 131_072


def captured(lowering: StageLowering, stage: Stage, node: Let) -> str:
    """The value: what the command prints, without white space around it.

    Where a file is only looked at, nothing is run and nothing is known.
    Raises `BuildfileError` for what cannot be a variable, and what running
    the command raises.
    """
    others = lowering.build.others
    at = lowering.place(node.command.position)
    if others is not None and others.surveying:
        lowering.build.facts.unknown.add(_bottom(lowering))
        return ""
    if others is None or others.runner is None:
        raise BuildfileError("nothing can be run here, so that LET has no value", at=at)
    text = node.command.shell or ""
    label = lowering.unnumbered(f"LET {node.name} = $({' '.join(text.split())})")
    step = assemble.run(stage, assemble.shell_argv(stage, text), label=label, position=at).step
    assert step is not None
    assert isinstance(step.op, Run)
    value = others.runner(step.replace(op=step.op.replace(capture=True, test=True))).strip()
    try:
        size = len(node.name) + len(value.encode()) + 2
    except UnicodeEncodeError as problem:
        raise BuildfileError(f"what `{text}` prints is no text in UTF-8", at=at) from problem
    if "\0" in value or size > _LONGEST:
        what = "holds a NUL byte" if "\0" in value else f"is longer than the {_LONGEST >> 10} KiB of a variable"
        raise BuildfileError(f"what `{text}` prints {what}", at=at, hint="write it to a file and use that")
    return value


def _bottom(lowering: StageLowering) -> str:
    """The image that the stage comes from in the end: of its variables not all are known then."""
    node = lowering.node
    while node.base is not None:
        node = node.base
    return node.base_name
