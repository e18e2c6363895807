"""Laying a file out as stages: the blocks that stand outside of stages, or that make some, decided and unrolled.

Such a block is decided as FROM is: by the global ARGs and the variables of
the blocks around it. A block within a stage stays in that stage's body, for
`unroll.py`, which knows the stage's variables.
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile import functions, own_words
from buildkit_py.frontend.buildfile.expanded import Bound, Enter, Leave
from buildkit_py.frontend.buildfile.stages import StageNode, Unit, refuse_before_from
from buildkit_py.frontend.buildfile.syntax import Arg, From, Word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from buildkit_py.frontend.buildfile.global_scope import GlobalScope
    from buildkit_py.frontend.buildfile.own_words import Function
    from buildkit_py.frontend.buildfile.syntax import Buildfile, Instruction
    from buildkit_py.frontend.files import Files
    from buildkit_py.source_map import Position

_DEEPEST = 30
_APART = "INCLUDE that file with `--as NAME`, and its names begin with `NAME.`"
_STAGE_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.-")


class Layout:
    """The stages of a file and of those that it includes, in the order in which they can stand on each other.

    `units` are the files by the names that their places have, `global_args` those of the file itself, `files` is None
    where there are none to include. Raises `BuildfileError`.
    """

    def __init__(self, tree: Buildfile, scope: GlobalScope, files: Files | None = None) -> None:
        self.files = files
        self.units: dict[str, Unit] = {}
        self.stages: list[StageNode] = []
        main = _File(self, tree, scope, None)
        self.global_args = main.global_args
        for index, stage in enumerate(self.stages):
            stage.index = index

    def functions(self, at: Position) -> dict[str, Function]:
        """The functions that can be called in the file of a place."""
        return self.units[at.file].functions


class _File:
    """One file being laid out; `includer` is the one that includes it. A file is laid out once."""

    def __init__(self, layout: Layout, tree: Buildfile, scope: GlobalScope, includer: _File | None) -> None:
        self.layout = layout
        self.scope = scope
        self.includer = includer
        self._depth: int = includer._depth + 1 if includer is not None else 0
        self.unit = layout.units[tree.path] = Unit(tree, scope)
        self.global_args: list[Arg] = []
        self._current: StageNode | None = None
        self._growth = functions.Growth()
        # The blocks around, outermost first, with their variables and the stage in which each began.
        self._blocks: list[tuple[Enter, list[Bound], StageNode | None]] = []
        for node in tree.instructions:
            if isinstance(node, own_words.Function):
                self._define(node.name, node, node.position)
        self._take(tree.instructions)

    def _define(self, name: str, node: Function, at: Position) -> None:
        known = self.unit.functions.setdefault(name, node)
        if known.position != node.position:
            other = f"{known.position.file}:{known.position.line}"
            raise BuildfileError(
                f"there are two functions `{name}`; the other one begins at {other}",
                at=at,
                hint=_APART if at is not node.position else "",
            )

    def _take(self, nodes: Iterable[Instruction]) -> None:
        for node in nodes:
            self._growth.one_more(node.position)
            self._growth.enter(node.position)
            self._instruction(node)
            self._growth.leave()

    def _instruction(self, node: Instruction) -> None:
        match node:
            case own_words.Function():
                return
            case own_words.If() if self._stands_outside(node):
                self._if(node)
            case own_words.For() if self._stands_outside(node):
                self._for(node)
            case own_words.Do() if self._stands_outside(node):
                self._do(node)
            case own_words.Include():
                self._include(node)
            case own_words.Service():
                self._service(node)
            case From():
                self._from(node)
            case Arg() if self._outside():
                self._arg(node)
            case _:
                if self._current is None:
                    refuse_before_from(node)
                else:
                    self._current.body.append(node)

    def _stands_outside(self, node: Instruction) -> bool:
        return self._current is None or functions.makes_stages((node,), self.layout.functions)

    def _outside(self) -> bool:
        """Whether no stage has begun, or none since the function that is running was called."""
        called = [began for block, _, began in self._blocks if block.function]
        return self._current is None or (bool(called) and called[-1] is self._current)

    # Blocks

    def _if(self, node: own_words.If) -> None:
        scope = self.scope.static()
        for branch in node.branches:
            if branch.condition is None or scope.holds(branch.condition):
                self._take(branch.body)
                return

    def _for(self, node: own_words.For) -> None:
        for value in for_values(node, self.scope.static().words):
            self._enter(Enter("", (), node.position, node.line_end, node.keyword))
            self._bind(node.variable, value, node.position)
            self._take(node.body)
            self._leave(node.position)

    def _do(self, node: own_words.Do) -> None:
        function = functions.find(self.layout.functions, node)
        self._enter(functions.enter(function, node, self.scope.static(), [block for block, _, _ in self._blocks]))
        self._take(functions.body(function, node))
        self._leave(node.position)

    def _enter(self, block: Enter) -> None:
        self._blocks.append((block, [], self._current))
        self.scope.enter()
        if self._current is not None:
            self._current.body.append(block)

    def _bind(self, name: str, value: str, at: Position) -> None:
        bound = Bound(name, value, at, at.line)
        self._blocks[-1][1].append(bound)
        self.scope.bind(name, value)
        if self._current is not None:
            self._current.body.append(bound)

    def _leave(self, at: Position) -> None:
        self._blocks.pop()
        names = self.scope.leave()
        if self._current is not None:
            self._current.body.append(Leave(names, at, at.line))

    # What is left when they are gone

    def _service(self, node: own_words.Service) -> None:
        name = self.scope.static().text(Word(node.name, node.position)).lower()
        _refuse_name(name, node.name, "service", node.position)
        head = node.replace(name=name, variables=self.scope.variables())
        self.unit.define_service(head)

    def _arg(self, node: Arg) -> None:
        block = next((block for block, _, _ in reversed(self._blocks) if block.function), None)
        if block is None:
            self.scope.declare(node)
            self.global_args.append(node)
            return
        for pair in node.pairs:
            self._bind(pair.key, functions.argument(block, pair, self.scope.static()), pair.position)

    def _from(self, head: From) -> None:
        """A stage begins: the variables of the blocks around it end in the one before, and begin in this one."""
        if self._current is not None:
            for _, bound, _ in reversed(self._blocks):
                self._current.body.append(Leave(tuple([one.name for one in bound]), head.position, head.line_end))
        name = head.name
        if "$" in name:
            name = self.scope.static().text(Word(name, head.position)).lower()
            _refuse_name(name, head.name, "stage", head.position)
        head = head.replace(name=name, variables=self.scope.variables())
        self._refuse_double(name, head, head.position)
        self._current = StageNode(0, head, self.unit)
        self._insert(self._current)
        for block, bound, _ in self._blocks:
            self._current.body += [block, *bound]

    def _insert(self, stage: StageNode) -> None:
        """Put a stage behind all others, or before the one that is open where this file is included."""
        stages, around = self.layout.stages, self.includer
        while around is not None and around._current is None:
            around = around.includer
        place = len(stages) if around is None or around._current is None else stages.index(around._current)
        stages.insert(place, stage)

    # Other files

    def _include(self, node: own_words.Include) -> None:
        at, word = node.path.position, self.scope.static().text(node.path)
        if self.layout.files is None:
            raise BuildfileError(f"`{word}` cannot be included here", at=at)
        tree = self.layout.files.include(word, at)
        unit = self.layout.units.get(tree.path)
        if self._depth >= _DEEPEST:
            raise BuildfileError(f"files include each other more than {_DEEPEST} deep", at=at)
        if unit is None:
            unit = self._laid_out(tree, at)
        elif chain := self._chain(tree.path):
            raise BuildfileError(f"the files include each other: {chain}", at=at)
        prefix = f"{node.name}." if node.name else ""
        for name, function in unit.functions.items():
            self._define(prefix + name, function, at)
        for name, service in unit.services_by_name.items():
            self.unit.services.add(prefix + name, service, at)
        for stage in self.layout.stages:
            for name in [name for where, name in stage.names if where is unit]:
                self._refuse_double(prefix + name, stage.head, at)
                if (self.unit, prefix + name) not in stage.names:
                    if self.includer is None and all(where is not self.unit for where, _ in stage.names):
                        stage.name = stage.title = prefix + name
                    stage.names.append((self.unit, prefix + name))

    def _laid_out(self, tree: Buildfile, at: Position) -> Unit:
        if tree.escape != self.unit.tree.escape:
            raise BuildfileError(
                f"`{tree.path}` has another escape character than this file",
                at=at,
                hint="give both the same `# escape=` directive",
            )
        return _File(self.layout, tree, self.scope.of_other_file(), self).unit

    def _chain(self, path: str) -> str:
        """How this file came to be included by the one of that name, "" where it was not."""
        names: list[str] = [path]
        file: _File | None = self
        while file is not None:
            names.append(file.unit.tree.path)
            if file.unit.tree.path == path:
                return " → ".join(f"`{name}`" for name in reversed(names))
            file = file.includer
        return ""

    def _refuse_double(self, name: str, head: From, at: Position) -> None:
        """Raise where a stage of another file has the name that one is to have in this file."""
        for stage in self.layout.stages if name else ():
            other = stage.head.position
            if (self.unit, name) in stage.names and other.file != head.position.file:
                raise BuildfileError(
                    f"the stage of {other.file}:{other.line} has the name `{name}`, too", at=at, hint=_APART
                )


def _refuse_name(name: str, written: str, what: str, at: Position) -> None:
    """Raise where a name that holds variables comes to what cannot be one."""
    if not ("a" <= name[:1] <= "z" and _STAGE_NAME.issuperset(name)):
        raise BuildfileError(
            f"`{written}` comes to `{name}`, which cannot be the name of a {what}",
            at=at,
            hint="a name begins with a letter and holds letters, digits, `-`, `_` and `.`",
        )


def for_values(node: own_words.For, words: Callable[[Word], Iterable[str]]) -> list[str]:
    """The values that a FOR runs over. Raises `BuildfileError` where there are none."""
    values = [value for word in node.words for value in words(word)]
    if not values:
        shown = " ".join([word.text for word in node.words])
        raise BuildfileError(
            f"FOR {node.variable} IN {shown} runs over nothing",
            at=node.position,
            hint="put it into an IF where it may be left out",
        )
    return values
