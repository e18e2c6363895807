"""The differences that docs/explanation/isolation.md lists, held against those that there are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from tests.peers.isolation.inside import Facts

PAGE = Path(__file__).resolve().parent.parent.parent.parent / "docs" / "explanation" / "isolation.md"
MISSING = "—"
# What pybuild does, as whom, and the engine beside it.
COMPARED = {
    "build": ("build", "root", "docker build"),
    "build rootless": ("build", "user", "docker build"),
    "run": ("run", "root", "docker run"),
    "run rootless": ("run", "user", "docker run"),
    "runc": ("run", "root", "runc"),
    "crun": ("run", "root", "crun"),
}
# "same": other words for the same, so that nothing more and nothing less can be done.
KINDS = ("stricter", "same", "newer", "own")


class Difference(NamedTuple):
    """`name` is without who saw it."""

    name: str
    ours: str
    theirs: str


class Row(NamedTuple):
    """One line of the page: patterns of names and of both values, and the comparisons in which it is found."""

    names: tuple[str, ...]
    places: tuple[str, ...]
    ours: str
    theirs: str
    kind: str
    reason: str

    def covers(self, difference: Difference) -> bool:
        """Whether it is about this difference."""
        return (
            any(fnmatchcase(difference.name, name) for name in self.names)
            and fnmatchcase(difference.ours, self.ours)
            and fnmatchcase(difference.theirs, self.theirs)
        )


def rows() -> list[Row]:
    """The table of the page."""
    out = []
    for line in PAGE.read_text().splitlines():
        if line.startswith("| `") and line.count("|") == 7:
            names, places, ours, theirs, kind, reason = [cell.strip() for cell in line.strip("|").split("|")]
            found = tuple(COMPARED) if places == "all" else tuple(places.split(", "))
            spans = tuple(re.findall(r"`([^`]+)`", names))
            out.append(Row(spans, found, ours.strip("`"), theirs.strip("`"), kind, reason))
    return out


def differences(ours: Facts, theirs: Facts) -> list[Difference]:
    """Every fact that is not the same on both sides, as root and as a user inside."""
    return [
        Difference(name.partition(" ")[2], ours.get(name, MISSING), theirs.get(name, MISSING))
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]


def unlisted(place: str, found: Iterable[Difference]) -> list[Difference]:
    """Those that no row of the page is about."""
    listed = [row for row in rows() if place in row.places]
    return [difference for difference in found if not any(row.covers(difference) for row in listed)]


def gone(place: str, found: list[Difference]) -> list[str]:
    """Names of rows of the page that no difference is left for."""
    listed = [row for row in rows() if place in row.places]
    return [
        name
        for row in listed
        for name in row.names
        if not any(row._replace(names=(name,)).covers(difference) for difference in found)
    ]


def share(place: str, found: Iterable[Difference], count: int) -> float:
    """The part of `count` facts that is equal, the same in other words, or stricter."""
    listed = [row for row in rows() if place in row.places and row.kind in ("stricter", "same")]
    looser = [difference for difference in found if not any(row.covers(difference) for row in listed)]
    return 1 - len(looser) / count


def sums(place: str, found: list[Difference], count: int) -> str:
    """What the page's first table says of a comparison of `count` facts."""
    equal, fine = 1 - len(found) / count, share(place, found, count)
    return f"| `{place}` | {count} | {equal:.1%} | {fine:.1%} |".replace("%", " %")
