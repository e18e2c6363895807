"""What a target asks of whoever builds it: build args, secrets, agents; BuildKit calls it the outline.

It is read off what lowering saw, so it is about the stages that the target
needs, and values are those that a build with the same options would have.
"""

from __future__ import annotations

from buildkit_py.frontend.buildfile import own_words
from buildkit_py.frontend.buildfile.checks.subject import walk
from buildkit_py.frontend.buildfile.expand import expand, expansion
from buildkit_py.frontend.buildfile.run_mount import parse_mount
from buildkit_py.frontend.buildfile.syntax import Arg, From, RunStep, Word
from buildkit_py.frontend.platform_args import PLATFORM_ARGS
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildkit_py.frontend.buildfile.facts import Applied, Facts
    from buildkit_py.frontend.buildfile.stages import StageNode
    from buildkit_py.frontend.buildfile.syntax import Buildfile, Instruction, Pair


class BuildArg(Record):
    """`value` is what it would be now, "" for nothing; `lines` are the first and last of its ARG, from 1."""

    name: str
    value: str
    description: str
    lines: tuple[int, int]


class Lent(Record):
    """A secret, or an agent of ssh, by the id under which steps ask for it."""

    name: str
    required: bool
    lines: tuple[int, int]


class Asked(Record):
    """`name` is "" for a last stage that has none. Each name stands once, in the order of the file."""

    name: str
    description: str
    args: tuple[BuildArg, ...] = ()
    secrets: tuple[Lent, ...] = ()
    agents: tuple[Lent, ...] = ()


def asked(tree: Buildfile, facts: Facts, target: str, build_args: dict[str, str]) -> Asked:
    """What the target asks for ("" is the last stage), from the facts of a survey of it with those build args."""
    assert facts.table is not None
    node = facts.table.wanted(target)
    steps: dict[int, list[Applied]] = {}
    for applied in facts.applied:
        steps.setdefault(applied.stage.index, []).append(applied)
    stages = list(_reached(node, set()))
    found = _Args(tree, facts, build_args)
    found.take_global(_deciding(tree))
    secrets: dict[str, Lent] = {}
    agents: dict[str, Lent] = {}
    for stage in stages:
        found.take_from(stage)
        # Of two in one stage the later one counts, of two in different stages that nearer to the target.
        found.take(steps.get(stage.index, ()))
        for applied in steps.get(stage.index, ()):
            _take_mounts(applied, tree.escape, secrets, agents)
    return Asked(node.name, node.head.doc, found.in_order(), _in_order(secrets.values()), _in_order(agents.values()))


def _reached(stage: StageNode, seen: set[int]) -> Iterator[StageNode]:
    """The stage, its base, then those that it takes files from, each with all that it reaches."""
    if stage.index not in seen:
        seen.add(stage.index)
        yield stage
        for other in ([stage.base] if stage.base is not None else []) + [other for other, _ in stage.needs]:
            yield from _reached(other, seen)


def _deciding(tree: Buildfile) -> Iterator[str]:
    """The variables by which blocks around stages are decided; those of a block within a stage are the stage's own."""
    for block in tree.instructions:
        inside = list(walk((block,)))
        if any(isinstance(node, From) for node in inside[1:]):
            for node in inside:
                if isinstance(node, From):
                    yield from expansion(node.name, _unset, escape=tree.escape).used
                for word in _words(node):
                    yield from (
                        word if isinstance(word, tuple) else expansion(word.text, _unset, escape=tree.escape).used
                    )


def _words(part: object) -> Iterator[Word | tuple[str]]:
    """What an IF or a FOR looks at: words, and the names of `defined` alone in a tuple."""
    match part:
        case own_words.For():
            yield from part.words
        case own_words.If():
            for branch in part.branches:
                yield from _words(branch.condition)
        case own_words.Compare():
            yield from (part.left, part.right)
        case own_words.Defined():
            yield (part.name,)
        case own_words.Not():
            yield from _words(part.part)
        case own_words.All() | own_words.Some():
            for inner in part.parts:
                yield from _words(inner)


def _unset(_: str) -> None:
    return None


class _Args:
    def __init__(self, tree: Buildfile, facts: Facts, build_args: dict[str, str]) -> None:
        self._tree = tree
        self._facts = facts
        self._build_args = build_args
        self._found: dict[str, BuildArg] = {}
        self._global: dict[str, tuple[Arg, Pair]] = {}
        if facts.table is not None:
            self._global = {pair.key: (arg, pair) for arg in facts.table.global_args for pair in arg.pairs}

    def in_order(self) -> tuple[BuildArg, ...]:
        """All of them, in the order of the file."""
        return tuple(sorted(self._found.values(), key=lambda arg: arg.lines))

    def take_from(self, stage: StageNode) -> None:
        """Those that the FROM of a stage names."""
        for base in self._facts.bases:
            if base.head is stage.head:
                self.take_global((*base.image.used, *(base.platform.used if base.platform is not None else ())))

    def take(self, steps: Iterable[Applied]) -> None:
        """Those that the instructions of one stage declare."""
        here: dict[str, BuildArg] = {}
        for applied in steps:
            if isinstance(applied.node, Arg):
                scope = dict(applied.before.env)
                for pair in applied.node.pairs:
                    if pair.value is None and pair.key in self._global:
                        self.take_global((pair.key,))
                        scope[pair.key] = self._facts.globals.get(pair.key, "")
                    elif pair.value is not None or pair.key not in PLATFORM_ARGS:
                        scope[pair.key] = self._value(pair, scope)
                        here[pair.key] = _arg(applied.node, pair, scope[pair.key], _lines(applied.line_of))
        for name, arg in here.items():
            self._found.setdefault(name, arg)

    def take_global(self, names: Iterable[str]) -> None:
        """Those of the names that are global ARGs, and those that their defaults name."""
        for name in names:
            if name in self._found or name not in self._global:
                continue
            node, pair = self._global[name]
            self._found[name] = _arg(node, pair, self._facts.globals.get(name, ""), _lines(node))
            if pair.value is not None:
                self.take_global(expansion(pair.value, self._facts.globals.get, escape=self._tree.escape).used)

    def _value(self, pair: Pair, scope: dict[str, str]) -> str:
        given = self._build_args.get(pair.key)
        if given is not None:
            return given
        return expand(pair.value, scope.get, escape=self._tree.escape) if pair.value is not None else ""


def _arg(node: Arg, pair: Pair, value: str, lines: tuple[int, int]) -> BuildArg:
    # The comment above is about the first name of the line.
    return BuildArg(pair.key, value, node.doc if pair is node.pairs[0] else "", lines)


def _take_mounts(applied: Applied, escape: str, secrets: dict[str, Lent], agents: dict[str, Lent]) -> None:
    node = applied.node
    if not isinstance(node, RunStep):
        return
    scope = dict(applied.before.env)
    for flag in node.flags:
        if flag.name == "mount" and flag.value:
            mount = parse_mount(flag.value, lambda word: expand(word, scope.get, escape=escape), flag.position)
            if mount.kind == "secret":
                name = mount.source or mount.id or mount.target.rstrip("/").rpartition("/")[2]
                secrets.setdefault(name, Lent(name, mount.required, _lines(applied.line_of)))
            elif mount.kind == "ssh":
                name = mount.id or "default"
                agents.setdefault(name, Lent(name, mount.required, _lines(applied.line_of)))


def _in_order(found: Iterable[Lent]) -> tuple[Lent, ...]:
    return tuple(sorted(found, key=lambda lent: lent.lines))


def _lines(node: Instruction) -> tuple[int, int]:
    return node.position.line, node.line_end
