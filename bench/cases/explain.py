"""Cases of a cache that is asked: why steps ran, and for a result among 100,000 others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench import fixtures
from bench.race import race, run_once
from bench.registry import BUSYBOX
from bench.verdict import Report, at_most, under
from bench.workbench import Workbench

# Files further records in the store of `PYBUILD_HOME`: copies of one that is there, each under a key of its own.
_RECORDS = """\
import hashlib, sys
from buildkit_py.store.store import Store
store = Store.open(sys.argv[1])
record = next(iter(store.records.all()))[1]
for number in range(int(sys.argv[2])):
    key = hashlib.sha256(b"%d" % number).hexdigest()
    store.records.put(key, record.replace(definition=key, content=key))
"""
# What a lookup may take longer in a cache that is a hundred times as large.
_FLAT = 1.15


def why_100(bench: Workbench) -> Report:
    """`why` and `plan` of 100 RUN steps, all of which a changed file made run again."""
    steps = bench.size(100)
    directory = bench.directory("why")
    commands = "".join(f"RUN cat /edited.txt > /f{number}\n" for number in range(steps))
    fixtures.write(f"{directory}/Dockerfile", f"FROM {bench.base(BUSYBOX)}\nCOPY edited.txt /\n{commands}")
    edited = Path(f"{directory}/edited.txt")
    for text in ("one", "two"):
        edited.write_text(text)
        bench.run(bench.pybuild_path, "build", "-t", "why", ".", cwd=directory)
    edited.write_text("three")
    contenders = [
        bench.pybuild("why", cwd=directory, name="why"),
        bench.pybuild("plan", ".", cwd=directory, name="plan"),
    ]
    samples = race(contenders, bench.rounds(15), warm_up=2)
    return Report("why-100", f"why each of {steps} RUN steps ran, and which would run", samples, (under("why", 0.15),))


def lookup_100k(bench: Workbench) -> Report:
    """A no-op of 20 instructions, all looked up, in stores of 1,000, 10,000 and 100,000 records."""
    counts = [bench.size(count) for count in (1_000, 10_000, 100_000)]
    directory = bench.directory("lookup")
    fixtures.write(f"{directory}/Dockerfile", fixtures.trivial_runs(bench.base(BUSYBOX), 0))
    contenders = []
    for count in counts:
        home = f"{bench.root}/engines/records-{count}"
        build = bench.pybuild(
            "build", "-t", "lookup", ".", cwd=directory, name=f"{count:,} records", home=home, changing=_changing
        )
        run_once(build, -1)
        bench.run(bench.interpreter, "-c", _RECORDS, home, str(count), cwd=directory)
        contenders.append(build)
    samples = race(contenders, bench.rounds(15), warm_up=2)
    least, most = f"{counts[0]:,} records", f"{counts[-1]:,} records"
    return Report(
        "lookup-100k",
        "no-op of 20 RUN steps by the full path, 1,000 → 10,000 → 100,000 records in the store",
        samples,
        (at_most(most, least, _FLAT),),
    )


def _changing(number: int) -> Mapping[str, str]:
    return {"BENCH_ROUND": str(number)}
