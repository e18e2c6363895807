"""What rules look at: the tree of a Buildfile, and what lowering saw of it."""

from __future__ import annotations

from buildkit_py.frontend.buildfile.syntax import From
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.frontend.buildfile.facts import Applied, Facts
    from buildkit_py.frontend.buildfile.syntax import Buildfile, Instruction
    from buildkit_py.source_map import Position


class Subject:
    """A Buildfile with its facts. `nodes` are all instructions, those inside blocks too.

    `heads` are the FROMs outside of blocks: what one inside comes to depends on what is around it.
    """

    def __init__(self, tree: Buildfile, facts: Facts) -> None:
        self.tree = tree
        self.facts = facts
        self.nodes: tuple[Instruction, ...] = tuple(walk(tree.instructions))
        self.heads = tuple([node for node in tree.instructions if isinstance(node, From)])
        self._comments = dict(tree.comments)

    def comments(self, node: Instruction) -> tuple[str, ...]:
        """The comment lines directly above an instruction, without their `#`."""
        return self._comments.get(node.position.line, ()) if node.position.file == self.tree.path else ()

    def by_stage(self) -> dict[int, list[Applied]]:
        """What was applied to each stage, by the stage's index."""
        stages: dict[int, list[Applied]] = {}
        for applied in self.facts.applied:
            stages.setdefault(applied.stage.index, []).append(applied)
        return stages


def walk(nodes: tuple[Instruction, ...]) -> Iterator[Instruction]:
    """Instructions in the order of the file; those of a block come after its head."""
    for node in nodes:
        yield node
        yield from _inside(node)


def _inside(node: Record) -> Iterator[Instruction]:
    # Blocks differ in where they keep their instructions (`body`, the bodies of `branches`).
    for name in ("body", "branches"):
        for part in getattr(node, name, ()):
            if hasattr(part, "line_end"):
                yield from walk((part,))
            else:
                yield from _inside(part)


def written_keyword(node: Instruction) -> str:
    """The keyword as the file spells it."""
    return node.source[: len(node.keyword)]


def place_of(node: Instruction, offset: int) -> Position | None:
    """The place of an offset in an instruction's text, None where the instruction is more than one line."""
    if node.line_end != node.position.line:
        return None
    return node.position.replace(column=node.position.column + offset)


def quoted(text: str) -> str:
    """A text as Go's `%q` writes it."""
    import json

    return json.dumps(text, ensure_ascii=False)
