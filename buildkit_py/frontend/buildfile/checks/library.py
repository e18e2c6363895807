"""A file of functions for others: it has no stage, so for the checks each function is called in one of its own."""

from __future__ import annotations

from buildkit_py.frontend.buildfile import own_words
from buildkit_py.frontend.buildfile.functions import inside
from buildkit_py.frontend.buildfile.syntax import Arg, From, Pair, Word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit_py.frontend.buildfile.checks.rule import Finding
    from buildkit_py.frontend.buildfile.syntax import Buildfile


def is_library(tree: Buildfile) -> bool:
    """Whether a file has functions and nothing that a build could begin with."""
    kinds = (own_words.Function, own_words.Include, own_words.Service, Arg)
    return all(isinstance(node, kinds) for node in tree.instructions) and bool(_functions(tree))


def called(tree: Buildfile) -> Buildfile:
    """The tree with a stage behind it for each function, in which it is called with what it needs.

    The stages stand where their functions do, and are described, so that no rule finds fault with them.
    """
    added: list[From | own_words.Do] = []
    for function in _functions(tree):
        at, end = function.position, function.position.line
        declared = [pair for node in inside(function.body) if isinstance(node, Arg) for pair in node.pairs]
        needed = dict.fromkeys(pair.key for pair in declared if pair.value is None)
        added.append(From(Word("scratch", at), f"function-{len(added)}", (), at, end, doc=function.name))
        arguments = tuple([Pair(name, name, at) for name in needed])
        added.append(own_words.Do(Word(function.name, at), arguments, at, end))
    return tree.replace(instructions=(*tree.instructions, *added))


def of_the_file(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings without the calls that led to them, each once."""
    found: dict[tuple[object, ...], Finding] = {}
    for finding in findings:
        at = finding.position.replace(function="", via=())
        found.setdefault((finding.rule, at, finding.message), finding.replace(position=at))
    return tuple(found.values())


def _functions(tree: Buildfile) -> list[own_words.Function]:
    return [node for node in tree.instructions if isinstance(node, own_words.Function)]
