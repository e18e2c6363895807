"""A step: one vertex of the build graph, an op and the steps it stands on."""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildkit_py.graph.op import Op
    from buildkit_py.source_map import Position


class Step(Record):
    """`base` is the filesystem the op changes (None: an empty one), `sources` are those it reads.

    `name`, `stage` and `position` are for people and in no key. Two `Step`
    objects with equal ops and inputs are the same work and share one key.
    """

    op: Op
    base: Step | None = None
    sources: tuple[Step, ...] = ()
    name: str = ""
    stage: str = ""
    position: Position | None = None

    # Identity, not value: comparing deep graphs by value would walk them.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"Step({self.name or type(self.op).__name__})"


def inputs(step: Step) -> tuple[Step, ...]:
    """All steps that one stands on directly: its base, then its sources."""
    return (step.base, *step.sources) if step.base is not None else step.sources


def in_order(roots: Iterable[Step]) -> Iterator[Step]:
    """Every step that the roots need, each once, inputs before their users; without recursion."""
    done: set[Step] = set()
    for root in roots:
        stack: list[tuple[Step, bool]] = [(root, False)]
        while stack:
            step, expanded = stack.pop()
            if step in done:
                continue
            if expanded:
                done.add(step)
                yield step
                continue
            stack.append((step, True))
            stack.extend((child, False) for child in reversed(inputs(step)) if child not in done)
