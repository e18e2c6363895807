"""ARGs as parameters: what `--build-arg NAME=value` sets in a Buildfile is a parameter of the functions that need it.

An ARG whose one default is known is a parameter with that default. Where
defaults differ, or have to be worked out, the parameter is None unless it is
given, and each place puts its own default in.
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile.syntax import Arg
from buildkit_py.frontend.convert.code import identifier, literal
from buildkit_py.frontend.convert.words import variables
from buildkit_py.frontend.platform_args import PLATFORM_ARGS
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildkit_py.frontend.buildfile.stages import StageNode
    from buildkit_py.frontend.buildfile.syntax import Instruction, Pair
    from buildkit_py.frontend.convert.words import Words

# Differs from target to target, so that each function has its own.
STAGE = "TARGETSTAGE"
PLATFORM = PLATFORM_ARGS - {STAGE}


class Parameter(Record):
    """`default` is the code of its default; "None" where each place has one of its own."""

    name: str
    default: str

    @property
    def optional(self) -> bool:
        return self.default == "None"

    def declared(self) -> str:
        """Its part of a signature."""
        return f"{self.name}: str | None = None" if self.optional else f"{self.name}: str = {self.default}"


class Arguments:
    """The ARGs of a file: those before the first FROM, and those of the stages by their bodies."""

    def __init__(
        self, global_args: Iterable[Arg], bodies: Iterable[Iterable[Instruction]], words: Words, taken: set[str]
    ) -> None:
        self.words = words
        self.globals: dict[str, Pair] = {}
        for arg in global_args:
            for pair in arg.pairs:
                if pair.key in self.globals and pair.value is not None:
                    raise BuildfileError(
                        f"the ARG `{pair.key}` is declared twice before the first FROM",
                        at=pair.position,
                        hint="a parameter has one default: take one of the two away",
                    )
                if pair.key not in self.globals:
                    self.globals[pair.key] = pair
        self._order = {name: number for number, name in enumerate(self.globals)}
        self.parameters: dict[str, Parameter] = {}
        defaults: dict[str, set[str | None]] = {}
        for name, pair in self.globals.items():
            defaults.setdefault(name, set()).add(self._fixed(pair))
        for body in bodies:
            for pair in pairs_of(body):
                found = defaults.setdefault(pair.key, set())
                if pair.value is not None or pair.key not in self.globals:
                    found.add(self._fixed(pair))
        small = {name for name in defaults if name == name.lower()}
        taken_or_small = taken | small
        for name, found in defaults.items():
            if name in PLATFORM and found == {None} and name not in self.globals:
                continue
            # A build arg is the parameter of its name, or else of that in small letters: `--build-arg` works as before.
            own = identifier(name, taken)
            known = identifier(name.lower(), taken if name in small else taken_or_small)
            known = own if own == name and known != name.lower() else known
            taken |= {known, f"global_{known}"}
            taken_or_small |= {known, f"global_{known}"}
            (first, *others) = found
            default = literal(first) if not others and first is not None else "None"
            self.parameters[name] = Parameter(known, default)

    def _fixed(self, pair: Pair) -> str | None:
        return None if pair.value is None else self.words.fixed(pair.value, pair.position)

    def value(self, pair: Pair) -> str:
        """The code of what an ARG of a stage is."""
        parameter = self.parameters.get(pair.key)
        if parameter is None:
            return self._platform(pair.key)
        if not parameter.optional:
            return parameter.name
        if pair.value is not None:
            default = self.words.code(pair.value, pair.position)
        elif pair.key in self.globals:
            return self.global_value(pair.key)
        else:
            default = self._platform(pair.key) if pair.key in PLATFORM else "None"
        return parameter.name if default == "None" else f"{default} if {parameter.name} is None else {parameter.name}"

    def global_default(self, name: str) -> str:
        """The code of the default that an ARG before the first FROM has."""
        pair = self.globals[name]
        if pair.value is None:
            return self._platform(name) if name in PLATFORM else "None"
        values: dict[str, str] = {}
        for used in variables(pair.value):
            if self._order.get(used, self._order[name]) < self._order[name]:
                values[used] = self.global_value(used)
            elif used in PLATFORM:
                values[used] = self._platform(used)
        return self.words.now(pair.value, pair.position, values, self.optional(values))

    def global_value(self, name: str) -> str:
        """The code of a variable that FROM sees: a parameter, a local variable of `locals_of`, or the platform's."""
        parameter = self.parameters.get(name)
        if name not in self.globals:
            return parameter.name if name == STAGE and parameter is not None else self._platform(name)
        assert parameter is not None
        return f"global_{parameter.name}" if self._is_worked_out(name) else parameter.name

    def global_names(self) -> list[str]:
        """The variables that FROM sees."""
        return [*self.globals, *PLATFORM, *([STAGE] if STAGE in self.parameters else [])]

    def optional(self, names: Iterable[str]) -> set[str]:
        """Those of some variables that FROM sees that are None where they are not given."""
        return {
            name
            for name in names
            if name in self.globals and self.parameters[name].optional and not self._is_worked_out(name)
        }

    def needed_for(self, names: Iterable[str]) -> list[str]:
        """The global ARGs among some names, with those that their defaults name, in the order of the file."""
        wanted: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name in self.globals and name not in wanted:
                wanted.add(name)
                todo += variables(self.globals[name].value or "")
        return [name for name in self.globals if name in wanted]

    def locals_of(self, names: Iterable[str]) -> Iterator[str]:
        """The statements that work out global ARGs of several defaults, or of one that is no fixed text."""
        for name in names:
            if self._is_worked_out(name):
                parameter, default = self.parameters[name].name, self.global_default(name)
                yield f"{self.global_value(name)} = {default} if {parameter} is None else {parameter}"

    def _is_worked_out(self, name: str) -> bool:
        has_default = self.globals[name].value is not None or name in PLATFORM
        return self.parameters[name].optional and has_default

    def _platform(self, name: str) -> str:
        self.words.uses("platform_arg")
        return f"platform_arg({literal(name)})"


def pairs_of(body: Iterable[Instruction]) -> Iterator[Pair]:
    """The ARGs of a stage."""
    for node in body:
        if isinstance(node, Arg):
            yield from node.pairs


def stage_default(stage: StageNode, last: bool) -> str:
    """What TARGETSTAGE is for this stage, as code."""
    return literal(stage.name or ("default" if last else stage.title))
