"""Calling a FUNCTION: which one a DO means, what it is given, and its body as it stands at the place of the call."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile import own_words
from buildkit_py.frontend.buildfile.expanded import Enter
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.buildfile.syntax import Arg, From, Word
from buildkit_py.record import Record
from buildkit_py.source_map import Position

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from buildkit_py.frontend.buildfile.own_words import Do, Function
    from buildkit_py.frontend.buildfile.static_scope import StaticScope
    from buildkit_py.frontend.buildfile.syntax import Instruction, Pair

    # The functions that can be called in the file of a place.
    Known = Callable[[Position], Mapping[str, Function]]


# How far blocks and calls may be nested in each other, and how many instructions they may come to.
DEEPEST = 100
MOST = 20_000


class Growth:
    """How much the blocks of a file or a stage have come to: doubled often enough, anything fills a memory."""

    def __init__(self) -> None:
        self._depth = self._count = 0

    def one_more(self, at: Position) -> None:
        """An instruction. Raises `BuildfileError` where there are too many."""
        self._count += 1
        if self._count > MOST:
            raise BuildfileError(f"blocks come to more than {MOST:,} instructions", at=at)

    def enter(self, at: Position) -> None:
        """A block or call begins inside the last one. Raises `BuildfileError` where that is too deep."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise BuildfileError(f"blocks and calls are nested more than {DEEPEST} deep", at=at)

    def leave(self) -> None:
        """The last one ends."""
        self._depth -= 1


def find(known: Known, call: Do) -> Function:
    """The function that a DO names. Raises `BuildfileError`."""
    name = call.function.text.lower()
    functions = known(call.position)
    if name not in functions:
        listed = f"the functions are {', '.join(functions)}" if functions else "no FUNCTION stands in this file"
        raise BuildfileError(
            f"there is no function `{name}`", at=call.function.position, hint=did_you_mean(name, functions) or listed
        )
    return functions[name]


def enter(function: Function, call: Do, scope: StaticScope, above: Iterable[Enter]) -> Enter:
    """The beginning of a call, its arguments expanded where the DO stands; `above` are the blocks around it.

    Raises `BuildfileError` for a function that calls itself, and for an argument that it does not have.
    """
    running = [block.function for block in above if block.function]
    if function.name in running:
        chain = " → ".join(f"`{name}`" for name in (*running[running.index(function.name) :], function.name))
        raise BuildfileError(f"a function cannot call itself: {chain}", at=call.position)
    known = [pair.key for node in inside(function.body) if isinstance(node, Arg) for pair in node.pairs]
    for pair in call.arguments:
        if pair.key not in known:
            raise BuildfileError(
                f"the function `{function.name}` has no argument `--{pair.key}`",
                at=pair.position,
                hint=did_you_mean(pair.key, known, "--") or "an ARG inside the FUNCTION declares one",
            )
    given = tuple([(pair.key, scope.text(Word(pair.value or "", pair.position))) for pair in call.arguments])
    return Enter(function.name, given, call.position, call.line_end)


def argument(block: Enter, pair: Pair, scope: StaticScope) -> str:
    """The value of an ARG of a function: what the call gives, or else the default. Raises `BuildfileError`."""
    given = dict(block.arguments).get(pair.key)
    if given is not None:
        return given
    if pair.value is None:
        raise BuildfileError(
            f"the function `{block.function}` needs `--{pair.key}=…`",
            at=block.position,
            hint=f"or give the ARG of {pair.position.file}:{pair.position.line} a default",
        )
    return scope.text(Word(pair.value, pair.position))


def body(function: Function, call: Do) -> tuple[Instruction, ...]:
    """The function's instructions, whose places also tell where it was called."""
    moved: tuple[Instruction, ...] = led(function.body, function.name, (call.position,))
    return moved


def makes_stages(nodes: Iterable[Instruction], known: Known) -> bool:
    """Whether a FROM, or an INCLUDE that may bring some, stands among these, inside blocks, or in a called function."""
    seen: set[int] = set()
    todo: list[Iterable[Instruction]] = [nodes]
    while todo:
        for node in inside(todo.pop()):
            if isinstance(node, From | own_words.Include):
                return True
            if isinstance(node, own_words.Do):
                called = known(node.position).get(node.function.text.lower())
                if called is not None and id(called) not in seen:  # a missing one is an error when it is called
                    seen.add(id(called))
                    todo.append(called.body)
    return False


def inside(nodes: Iterable[Instruction]) -> Iterator[Instruction]:
    """Instructions, and those in the blocks among them, in the order of the file; functions are left out."""
    for node in nodes:
        match node:
            case own_words.Function():
                continue
            case own_words.For():
                yield node
                yield from inside(node.body)
            case own_words.If():
                yield node
                for branch in node.branches:
                    yield from inside(branch.body)
            case _:
                yield node


def led(value: Any, function: str, via: tuple[Position, ...]) -> Any:
    """Instructions whose places tell what led to them: the function that runs, and what called it or named its file."""
    if isinstance(value, Position):
        return value.replace(function=function, via=via)
    if isinstance(value, Record):
        return type(value)(*[led(field, function, via) for field in value.values()])
    if type(value) is tuple:
        return tuple([led(item, function, via) for item in value])
    return value
