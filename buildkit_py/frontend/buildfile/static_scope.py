"""What is known where a block is decided: words expanded strictly, and conditions answered.

A variable that nothing set would be an empty text in an instruction. A
condition on it is a mistype more often than not, so here it is an error.
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile import own_words
from buildkit_py.frontend.buildfile.expand import expansion
from buildkit_py.frontend.buildfile.suggest import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from buildkit_py.frontend.buildfile.expand import Expansion
    from buildkit_py.frontend.buildfile.own_words import Condition
    from buildkit_py.frontend.buildfile.syntax import Word


class StaticScope:
    """Variables by `lookup`; `declared` are ARGs, with a value or without one, `names` all that are set.

    `outside` are global ARGs, which a stage does not see until it declares them. Without `strict` a variable may be one
    of an image that is not known, and counts as empty.
    """

    def __init__(
        self,
        lookup: Callable[[str], str | None],
        declared: Collection[str],
        names: Collection[str],
        escape: str,
        outside: Collection[str] = (),
        *,
        strict: bool = True,
    ) -> None:
        self._lookup = lookup
        self._declared = declared
        self._names = names
        self._escape = escape
        self._outside = outside
        self._strict = strict

    def text(self, word: Word) -> str:
        """A word expanded. Raises `BuildfileError` for a variable that is neither set nor declared."""
        return self._expanded(word).text

    def words(self, word: Word) -> tuple[str, ...]:
        """As `text`, split at spaces that are not quoted."""
        return self._expanded(word).words

    def holds(self, condition: Condition) -> bool:
        """Whether a condition is true; of `and` and `or` no more is looked at than is needed."""
        match condition:
            case own_words.Some():
                return any(self.holds(part) for part in condition.parts)
            case own_words.All():
                return all(self.holds(part) for part in condition.parts)
            case own_words.Not():
                return not self.holds(condition.part)
            case own_words.Defined():
                return self._lookup(condition.name) is not None
            case own_words.Compare():
                return self._compare(condition)

    def _compare(self, condition: own_words.Compare) -> bool:
        left, right = self.text(condition.left), self.text(condition.right)
        match condition.operator:
            case "==":
                return left == right
            case "!=":
                return left != right
            case "in":
                return left in right.split()
        from buildkit_py.wildcards import match

        try:
            # A value has no directories: `*` goes over a slash.
            return match(right.replace("/", "\0"), left.replace("/", "\0"))
        except ValueError as problem:
            raise BuildfileError(f"`{right}` is no pattern: {problem}", at=condition.right.position) from problem

    def _expanded(self, word: Word) -> Expansion:
        found = expansion(word.text, self._lookup, escape=self._escape, at=word.position)
        for name in found.undefined if self._strict else ():
            if name not in self._declared:
                hint = f"a stage sees a global ARG where it declares it: `ARG {name}`"
                if name not in self._outside:
                    hint = did_you_mean(name, {*self._names, *self._declared})
                    hint = hint or f"declare it with ARG, or ask for it with `defined {name}`"
                raise BuildfileError(f"the variable `{name}` is not set here", at=word.position, hint=hint)
        return found
