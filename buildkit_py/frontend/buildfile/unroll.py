"""The blocks within a stage, decided by the stage's own variables: its body without any IF, FOR, DO or LET.

Whether `$PYTHON_VERSION` is set depends on the base image and on each ENV and
ARG above, so the instructions are applied on the way, to a stage that is then
thrown away; how many there are is known only at the end.
"""

from __future__ import annotations

from buildkit_py.frontend.buildfile import functions, own_words, syntax
from buildkit_py.frontend.buildfile.expanded import Bound, Enter, Leave
from buildkit_py.frontend.buildfile.lower_let import captured
from buildkit_py.frontend.buildfile.run_mount import with_origin
from buildkit_py.frontend.buildfile.stage_layout import for_values
from buildkit_py.frontend.buildfile.stages import takes_from_variable
from buildkit_py.frontend.buildfile.static_scope import StaticScope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit_py.frontend.assemble import Stage
    from buildkit_py.frontend.buildfile.lower_stage import StageLowering
    from buildkit_py.frontend.buildfile.syntax import Flag, Instruction, Pair
    from buildkit_py.source_map import Position


def unrolled(lowering: StageLowering, stage: Stage, body: Iterable[Instruction]) -> list[Instruction]:
    """The instructions that a stage in this state comes to. Raises what they raise, and `BuildfileError`."""
    unrolling = _Unrolling(lowering, stage)
    unrolling.take(body)
    return unrolling.out


class _Unrolling:
    def __init__(self, lowering: StageLowering, stage: Stage) -> None:
        self.lowering = lowering
        self.stage = stage
        self.out: list[Instruction] = []
        # The blocks around, outermost first, each with the names of its variables.
        self.blocks: list[tuple[Enter, list[str]]] = []
        self._growth = functions.Growth()

    def take(self, nodes: Iterable[Instruction]) -> None:
        for node in nodes:
            self._growth.enter(node.position)
            self._instruction(node)
            self._growth.leave()

    def _instruction(self, node: Instruction) -> None:
        match node:
            case own_words.If():
                scope = self._scope()
                for branch in node.branches:
                    if branch.condition is None or scope.holds(branch.condition):
                        self.take(branch.body)
                        return
            case own_words.For():
                for value in for_values(node, self._scope().words):
                    self._enter(Enter("", (), node.position, node.line_end, node.keyword))
                    self._bind(node.variable, value, node.position)
                    self.take(node.body)
                    self._leave(node.position)
            case own_words.Do():
                function = functions.find(self.lowering.build.table.functions, node)
                self._enter(functions.enter(function, node, self._scope(), [block for block, _ in self.blocks]))
                self.take(functions.body(function, node))
                self._leave(node.position)
            case own_words.Let():
                value = captured(self.lowering, self.stage, node)
                for _, names in self._calls()[-1:]:
                    names.append(node.name)
                self._emit(Bound(node.name, value, node.position, node.line_end))
            case Enter():
                self._enter(node)
            case Bound():
                self._bind(node.name, node.value, node.position)
            case Leave():
                self._leave(node.position)
            case syntax.Arg() if self._calls():
                for pair in node.pairs:
                    self._argument(pair, node.line_end)
            case syntax.Transfer() | syntax.RunStep() | own_words.Test() if takes_from_variable(node):
                if self.blocks:
                    node = node.replace(flags=tuple([self._origin(flag) for flag in node.flags]))
                list(self.lowering.build.table.references(node))  # raises for a variable that is left
                self._emit(node)
            case _:
                self._emit(node)

    def _origin(self, flag: Flag) -> Flag:
        """A flag that names a stage or services, its variables expanded; only blocks have variables there."""

        def expand(text: str) -> str:
            return self._scope().text(syntax.Word(text, flag.position))

        match flag.name:
            case "from":
                return flag.replace(value=expand(flag.value or ""))
            case "with":
                return flag.replace(value=expand(flag.value or ""))
            case "mount":
                return flag.replace(value=with_origin(flag.value or "", expand, flag.position))
        return flag

    def _emit(self, node: Instruction) -> None:
        self._growth.one_more(node.position)
        self.out.append(node)
        self.stage = self.lowering.instruction(self.stage, node)

    def _calls(self) -> list[tuple[Enter, list[str]]]:
        """The functions that are running, outermost first."""
        return [block for block in self.blocks if block[0].function]

    def _argument(self, pair: Pair, line_end: int) -> None:
        block, names = self._calls()[-1]
        names.append(pair.key)
        self._emit(Bound(pair.key, functions.argument(block, pair, self._scope()), pair.position, line_end))

    def _enter(self, block: Enter) -> None:
        self.blocks.append((block, []))
        self._emit(block)

    def _bind(self, name: str, value: str, at: Position) -> None:
        self.blocks[-1][1].append(name)
        self._emit(Bound(name, value, at, at.line))

    def _leave(self, at: Position) -> None:
        _, names = self.blocks.pop()
        self._emit(Leave(tuple(names), at, at.line))

    def _scope(self) -> StaticScope:
        known = dict(self.stage.env)
        declared = {name for name, _ in self.stage.args}
        build = self.lowering.build
        strict = build.facts.knows(self.lowering.node)
        outside = self.lowering.node.unit.scope.values
        return StaticScope(known.get, declared, known, build.tree.escape, outside, strict=strict)
