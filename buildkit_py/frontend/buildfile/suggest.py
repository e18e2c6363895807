"""Did you mean: the known word nearest to a mistyped one.

Distance counts insertions, deletions, changes and swaps of neighbours, as
people mistype; case is not looked at.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def distance(one: str, other: str) -> int:
    """How many single edits lead from one word to the other (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        older, before, row = before, row, [i]
        for j, b in enumerate(other, 1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                best = min(best, older[j - 2] + 1)
            row.append(best)
    return row[-1]


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that `word` was most likely meant to be, "" where none is near."""
    wanted = word.lower()
    allowed = 1 if len(wanted) <= 3 else 2 if len(wanted) <= 6 else 3
    best, found = (allowed + 1, 0), ""
    for candidate in sorted(known):
        longer = abs(len(candidate) - len(wanted))
        # among equally near ones, that of the same length: `FORM` is FROM, and not FOR
        if longer <= allowed and (far := (distance(wanted, candidate.lower()), longer)) < best:
            best, found = far, candidate
    return found


def did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """The hint "did you mean `X`?", "" where nothing is near. `prefix` goes before the known word."""
    found = nearest(word, known)
    return f"did you mean `{prefix}{found}`?" if found else ""
