"""The comments of a Buildfile, by the instruction that they stand above or in."""

from __future__ import annotations

from buildkit_py.frontend.buildfile.syntax import RunStep, Transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.buildfile.syntax import Buildfile, Instruction


class Comments:
    """What the syntax tree has no place for. Lines without their `#`."""

    def __init__(self, tree: Buildfile, text: str) -> None:
        self._rows = text.split("\n")
        # Directives are comments to those who do not know them.
        self._above: dict[int, int] = {}
        end = len(tree.directives) + (1 if self._rows[0].startswith("#!") else 0)
        for node in tree.instructions:
            self._above[node.position.line] = end
            end = node.line_end
        self._end = end

    def above(self, node: Instruction) -> list[str]:
        """The comments between the instruction before this one and this one, then those in its continued lines."""
        first = node.position.line
        last = node.line_end
        if isinstance(node, RunStep | Transfer):
            last -= sum([document.body.count("\n") + 1 for document in node.heredocs])
        return self._between(self._above.get(first, first - 1), first - 1) + self._between(first, last)

    def adjacent(self, node: Instruction) -> int:
        """How many of `above` stand directly above, with no blank line between."""
        count, row = 0, node.position.line - 2
        while row >= self._above.get(node.position.line, 0) and self._comment(row):
            count, row = count + 1, row - 1
        return count

    def last(self) -> list[str]:
        """Those below the last instruction."""
        return self._between(self._end, len(self._rows))

    def _between(self, start: int, end: int) -> list[str]:
        return [comment for row in range(start, end) if (comment := self._comment(row))]

    def _comment(self, row: int) -> str:
        line = self._rows[row].strip()
        if not line.startswith("#"):
            return ""
        comment = line[1:].strip()
        return "" if comment.startswith("check=") else comment
