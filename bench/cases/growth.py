"""Cases of growth: whether ten times as much takes ten times as long, not a hundred times."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench import fixtures
from bench.race import race
from bench.registry import BUSYBOX
from bench.verdict import Report, at_most
from bench.workbench import Workbench

# Near linear: a fifth above the line.
_SLACK = 1.2


def growth_steps(bench: Workbench) -> Report:
    """No-ops of 100, 1,000 and 10,000 RUN steps."""
    base = bench.base(BUSYBOX)
    counts = [bench.size(count) for count in (100, 1_000, 10_000)]
    contenders = []
    for count in counts:
        directory = bench.directory(f"steps-{count}")
        fixtures.write(f"{directory}/Dockerfile", fixtures.ladder(base, count))
        build = ("build", "-t", f"steps:{count}", ".")
        contenders.append(bench.pybuild(*build, cwd=directory, name=f"{count:,} steps"))
        contenders.append(
            bench.pybuild(*build, cwd=directory, name=f"{count:,} steps, full path", changing=_changing())
        )
    samples = race(contenders, bench.rounds(3), warm_up=2)
    _, middle, most = counts
    checks = [
        at_most(f"{most:,} steps{path}", f"{middle:,} steps{path}", most / middle * _SLACK)
        for path in ("", ", full path")
    ]
    return Report("growth-steps", "no-op of 100 → 1,000 → 10,000 RUN steps in stages of 50", samples, checks)


def growth_layers(bench: Workbench) -> Report:
    """`run` of images with 1, 100 and 500 layers."""
    base = bench.base(BUSYBOX)
    counts = [1, bench.size(100), bench.size(500)]
    contenders = []
    for count in counts:
        directory = bench.directory(f"layers-{count}")
        # The base is a layer as well.
        fixtures.write(f"{directory}/Dockerfile", fixtures.trivial_runs(base, 0, count - 1))
        bench.run(bench.pybuild_path, "build", "-t", f"layers:{count}", ".", cwd=directory)
        contenders.append(bench.pybuild("run", f"layers:{count}", "true", cwd=directory, name=f"{count} layers"))
    samples = race(contenders, bench.rounds(9), warm_up=1)
    _, middle, most = counts
    checks = (at_most(f"{most} layers", f"{middle} layers", most / middle * _SLACK),)
    return Report("growth-layers", "`run IMAGE true` over 1 → 100 → 500 layers", samples, checks)


def _changing() -> Callable[[int], Mapping[str, str]]:
    return lambda number: {"BENCH_ROUND": str(number)}
