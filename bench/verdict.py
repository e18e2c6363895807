"""What was wanted of a race and whether it was reached, and the table that says so."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.race import Sample

PASS, MISS, ABSENT, FAILED = "PASS", "MISS", "absent", "FAILED"


@dataclass(frozen=True)
class Check:
    """A figure that is wanted: `left` ÷ `right`, or `left` itself where `right` is ""; at least or at most `limit`."""

    left: str
    right: str
    limit: float
    at_least: bool = False

    @property
    def text(self) -> str:
        return f"{self.left} ÷ {self.right}" if self.right else self.left

    def figure(self, samples: Iterable[Sample]) -> float | None:
        """The figure; None where one of the two was not measured."""
        known = {sample.name: sample for sample in samples}
        left, right = known.get(self.left), known.get(self.right)
        if left is None or not left.values:
            return None
        if not self.right:
            return left.median
        return left.median / right.median if right is not None and right.values else None

    def verdict(self, samples: Iterable[Sample]) -> str:
        """PASS or MISS; `absent` where a peer did not run, FAILED where a contender broke down."""
        samples = tuple(samples)
        if any(sample.error for sample in samples if sample.name in (self.left, self.right)):
            return FAILED
        figure = self.figure(samples)
        if figure is None:
            return ABSENT
        return PASS if (figure >= self.limit if self.at_least else figure <= self.limit) else MISS


def at_least(left: str, right: str, limit: float) -> Check:
    """`left` takes at least `limit` times as long as `right`."""
    return Check(left, right, limit, at_least=True)


def at_most(left: str, right: str, limit: float) -> Check:
    """`left` takes at most `limit` times as long as `right`."""
    return Check(left, right, limit)


def under(left: str, limit: float) -> Check:
    """`left` takes at most `limit` seconds (or megabytes)."""
    return Check(left, "", limit)


@dataclass
class Report:
    """What came of one case. `notes` say what a reader must know to judge the numbers."""

    name: str
    what: str
    samples: list[Sample] = field(default_factory=list)
    checks: Sequence[Check] = ()
    notes: list[str] = field(default_factory=list)
    load: tuple[float, float] = (0.0, 0.0)
    whole: bool = True
    """False: run with smaller sizes, by which the wanted figures do not go."""


def lines(report: Report) -> list[str]:
    """The report as lines of text."""
    out = [f"{report.name}: {report.what} [load {report.load[0]:.1f} → {report.load[1]:.1f}]"]
    width = max((len(sample.name) for sample in report.samples), default=0)
    for sample in report.samples:
        if sample.values:
            extent = f"{amount(min(sample.values), sample.unit)} … {amount(max(sample.values), sample.unit)}"
            scatter = f", scatter {sample.spread:.0%}" if len(sample.values) > 2 else ""
            cpu = f", cpu {amount(statistics.median(sample.cpu), 's')}" if sample.cpu else ""
            out.append(
                f"    {sample.name:<{width}} {amount(sample.median, sample.unit):>9}"
                f"   ({extent}, n={len(sample.values)}{scatter}{cpu})"
            )
        if sample.error:
            out += [f"    {sample.name:<{width}} FAILED: {part}" for part in sample.error.splitlines()[:1]]
            out += [f"        {part}" for part in sample.error.splitlines()[1:]]
    known = {sample.name: sample for sample in report.samples}
    for check in report.checks:
        figure, verdict = check.figure(report.samples), check.verdict(report.samples)
        sign = "≥" if check.at_least else "≤"
        unit = known[check.left].unit if check.left in known else "s"
        wanted = f"{check.limit:g}" if check.right else amount(check.limit, unit)
        shown = "-" if figure is None else f"{figure:.2f}" if check.right else amount(figure, unit)
        if not report.whole and verdict in (PASS, MISS):
            verdict = "(small)"
        out.append(f"    {check.text:<32} {shown:>9}   wanted {sign} {wanted:<8} {verdict}")
    out += [f"    {note}" for note in report.notes]
    return out


def summary(reports: Sequence[Report]) -> list[str]:
    """One line for each wanted figure, and the count."""
    rows = []
    counts: dict[str, int] = {}
    for report in reports:
        for check in report.checks:
            figure, verdict = check.figure(report.samples), check.verdict(report.samples)
            if not report.whole and verdict in (PASS, MISS):
                verdict = "(small)"
            counts[verdict] = counts.get(verdict, 0) + 1
            sign = "≥" if check.at_least else "≤"
            shown = "-" if figure is None else f"{figure:.2f}"
            rows.append(f"{report.name:<14} {check.text:<36} {shown:>9}  {sign} {check.limit:<6g} {verdict}")
    return [*rows, ", ".join(f"{verdict} {count}" for verdict, count in sorted(counts.items()))]


def amount(value: float, unit: str) -> str:
    """A quantity for people: three figures and a unit."""
    if unit != "s":
        return f"{value:.1f} {unit}"
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def as_json(reports: Sequence[Report]) -> list[dict[str, object]]:
    """The reports as plain data: every round of every contender, and the figures."""
    return [
        {
            "case": report.name,
            "what": report.what,
            "whole": report.whole,
            "load": list(report.load),
            "notes": report.notes,
            "samples": [
                {
                    "name": sample.name,
                    "unit": sample.unit,
                    "values": list(sample.values),
                    "cpu": list(sample.cpu),
                    "error": sample.error,
                }
                for sample in report.samples
            ],
            "checks": [
                {
                    "figure": check.text,
                    "value": check.figure(report.samples),
                    "wanted": (">=" if check.at_least else "<=") + f" {check.limit:g}",
                    "verdict": check.verdict(report.samples),
                }
                for check in report.checks
            ],
        }
        for report in reports
    ]
