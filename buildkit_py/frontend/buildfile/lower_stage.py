"""One stage being lowered: each instruction expanded in the stage's scope and handed to `assemble`."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend import assemble, results
from buildkit_py.frontend.buildfile import expanded, own_words, syntax
from buildkit_py.frontend.buildfile.duration import parse_duration
from buildkit_py.frontend.buildfile.expand import expand, expand_words
from buildkit_py.frontend.buildfile.facts import Applied, Unset
from buildkit_py.frontend.buildfile.lower_run import lower_run, lower_test
from buildkit_py.frontend.buildfile.lower_transfer import lower_transfer
from buildkit_py.image.config import Healthcheck

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit_py.frontend.assemble import Stage
    from buildkit_py.frontend.buildfile.facts import Facts
    from buildkit_py.frontend.buildfile.lower_file import Build
    from buildkit_py.frontend.buildfile.stages import StageNode
    from buildkit_py.frontend.buildfile.syntax import Command, HealthcheckStep, Instruction, Pair
    from buildkit_py.source_map import Position

# Instructions that BuildKit numbers in its step names.
_NUMBERED = (syntax.RunStep, syntax.Transfer, syntax.Workdir)


def counted(body: Iterable[Instruction]) -> int:
    """How many of the instructions get a number in `[stage 2/5]`."""
    return sum(isinstance(node, _NUMBERED) for node in body)


class StageLowering:
    """The walk through one stage: its scope, its numbering, and where its errors point."""

    def __init__(self, build: Build, node: StageNode, total: int, facts: Facts) -> None:
        self.build = build
        self.node = node
        self.total = total
        self.facts = facts
        self._number = 0
        self._at: Position | None = None
        self._applied: Applied | None = None
        self._scope: tuple[tuple[tuple[str, str], ...], dict[str, str]] = ((), {})
        self._blocks: list[Stage] = []  # the states in which the blocks around began

    def apply(self, stage: Stage, body: Iterable[Instruction], *, at: Position | None = None) -> Stage:
        """The stage after these instructions. `at` replaces their positions: triggers stand in no file."""
        self._at = at
        for node in body:
            stage = self.instruction(stage, node)
        self._at = None
        return stage

    def instruction(self, stage: Stage, node: Instruction) -> Stage:
        """The stage after one instruction."""
        where = self.place(node.position)
        self._applied = None
        match node:
            case expanded.Enter():
                self._blocks.append(stage)
                return stage
            case expanded.Bound():
                return assemble.declare_args(stage, ((node.name, node.value, node.value),))
            case expanded.Leave():
                return assemble.end_block(self._blocks.pop(), stage, node.names)
        if where.file == self.build.tree.path:  # checks are about the file itself
            self._applied = Applied(self.node, node, stage, self._at is not None)
            self.facts.applied.append(self._applied)
        match node:
            case syntax.RunStep():
                return lower_run(self, stage, node)
            case syntax.Transfer():
                return lower_transfer(self, stage, node)
            case syntax.Env():
                return assemble.set_env(stage, self._pairs(stage, node.pairs))
            case syntax.Arg():
                return self._args(stage, node.pairs)
            case syntax.Label():
                return assemble.label(stage, self._pairs(stage, node.pairs))
            case syntax.Workdir():
                path = self.expand(stage, node.path.text, node.path.position)
                label = self.label(f"WORKDIR {path}") if path != "/" else ""
                return assemble.workdir(stage, path, label=label, position=where)
            case syntax.User():
                return assemble.user(stage, self.expand(stage, node.user.text, node.user.position))
            case syntax.Expose():
                return self._expose(stage, node)
            case syntax.Volume():
                paths = tuple(self.expand(stage, word.text, word.position) for word in node.paths)
                return assemble.volume(stage, paths, position=where)
            case syntax.Cmd():
                return assemble.cmd(stage, _argv(stage, node.command))
            case syntax.Entrypoint():
                return assemble.entrypoint(stage, _argv(stage, node.command))
            case syntax.Shell():
                return assemble.shell(stage, node.argv)
            case syntax.StopSignal():
                signal = self.expand(stage, node.signal.text, node.signal.position)
                return assemble.stop_signal(stage, signal, position=self.place(node.signal.position))
            case syntax.HealthcheckStep():
                return assemble.healthcheck(stage, self._healthcheck(node), position=where)
            case syntax.OnBuild():
                return assemble.on_build(stage, node.text)
            case syntax.Maintainer():
                return assemble.maintainer(stage, node.author)
            case own_words.Test():
                return lower_test(self, stage, node) if self.build.testing else stage
            case own_words.Output():
                return self._output(stage, node)
            case own_words.Tag():
                names = [self.expand(stage, word.text, word.position) for word in node.names]
                return results.tag(stage, names, position=where)
            case own_words.Service():  # those outside of blocks are in the table
                raise BuildfileError(
                    "a SERVICE belongs to the file, and cannot stand in a block of a stage",
                    at=where,
                    hint="put it above the first FROM, also inside an IF or a FOR there",
                )
        raise BuildfileError(f"{node.keyword} cannot stand here", at=where)

    # For the instructions that have files of their own

    def place(self, position: Position) -> Position:
        """Where an error or step of that position is shown."""
        return self._at or position

    def expand(self, stage: Stage, word: str, at: Position, *, raw: bool = False) -> str:
        """A word expanded with the stage's variables."""
        scope = self._variables(stage)
        result = self.build.expansion(word, scope.get, self.place(at), raw=raw)
        if result.unset and self._applied is not None:
            declared = dict(stage.args)
            unset = [name for name in result.unset if name not in declared]
            self.facts.unset += [Unset(self._applied, name, self.place(at), tuple(scope)) for name in unset]
        return result.text

    def label(self, text: str) -> str:
        """The step's name as BuildKit shows it: `[web 2/5] RUN make`."""
        if not self.total:  # how many there are is being found out
            return self.unnumbered(text)
        self._number += 1
        width = len(str(self.total))
        title = f"{self.node.title} " if len(self.build.table.stages) > 1 else ""
        trigger = "ONBUILD " if self._at is not None else ""
        return f"[{title}{self._number:>{width}}/{self.total}] {trigger}{text}"

    def unnumbered(self, text: str) -> str:
        """The name of a step that is none of the stage's own."""
        return f"[{self.node.title}] {text}"

    def _variables(self, stage: Stage) -> dict[str, str]:
        if self._scope[0] is not stage.env:
            self._scope = (stage.env, dict(stage.env))
        return self._scope[1]

    # Small instructions

    def _pairs(self, stage: Stage, pairs: Iterable[Pair]) -> tuple[tuple[str, str], ...]:
        """All pairs expand against the environment before the instruction."""
        return tuple(
            (self.expand(stage, pair.key, pair.position), self.expand(stage, pair.value or "", pair.position))
            for pair in pairs
        )

    def _args(self, stage: Stage, pairs: Iterable[Pair]) -> Stage:
        """ARG: `--build-arg`, else the default, else the global value. A pair sees those before it, its name, too."""
        declared: list[tuple[str, str | None, str | None]] = []
        seen = stage
        for pair in pairs:
            key = self.expand(seen, pair.key, pair.position)
            self.build.named_args.add(key)
            value = self.build.build_args.get(key)
            default = None
            if value is not None and pair.value is not None:
                default = self._unused_default(seen, pair.value)
            elif pair.value is not None:
                value = default = self.expand(seen, pair.value, pair.position)
            elif value is None:
                value = self.node.unit.scope.values.get(key)
            declared.append((key, value, default))
            seen = assemble.declare_args(stage, declared)
        return seen

    def _unused_default(self, stage: Stage, word: str) -> str:
        """A default that a build arg made void: history shows it, but whether it expands is no matter."""
        try:
            return expand(word, self._variables(stage).get, escape=self.build.tree.escape)
        except BuildfileError:
            return word

    def _expose(self, stage: Stage, node: syntax.Expose) -> Stage:
        from buildkit_py.frontend.ports import parse_ports

        scope = self._variables(stage)
        ports: list[str] = []
        for word in sorted(node.ports, key=lambda word: word.text):
            at = self.place(word.position)
            for spec in expand_words(word.text, scope.get, escape=self.build.tree.escape, at=at):
                try:
                    ports.extend(parse_ports(spec))
                except ValueError as problem:
                    raise BuildfileError(str(problem), at=at) from problem
        return assemble.expose(stage, tuple(ports))

    def _output(self, stage: Stage, node: own_words.Output) -> Stage:
        source = self.expand(stage, node.path.text, node.path.position)
        if not source:
            raise BuildfileError(f"OUTPUT {node.path.text} comes to nothing", at=self.place(node.path.position))
        at = self.place(node.path.position)
        if node.dest is None:
            return results.output(stage, source, "", position=at)
        dest = self.expand(stage, node.dest.text, node.dest.position)
        return results.output(stage, source, dest, position=at, dest_position=self.place(node.dest.position))

    def _healthcheck(self, node: HealthcheckStep) -> Healthcheck:
        if node.command is None:
            return Healthcheck(("NONE",))
        command = node.command
        test = ("CMD", *command.argv) if command.argv is not None else ("CMD-SHELL", command.shell or "")
        values: dict[str, int] = {}
        for flag in node.flags:
            # The parser has seen that these are numbers and durations; an empty one is not given.
            if flag.value:
                number = int(flag.value) if flag.name == "retries" else parse_duration(flag.value)
                values[flag.name.replace("-", "_")] = number
        return Healthcheck(test, **values)


def _argv(stage: Stage, command: Command) -> tuple[str, ...]:
    return command.argv if command.argv is not None else assemble.shell_argv(stage, command.shell or "")
