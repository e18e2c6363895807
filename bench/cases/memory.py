"""The case of memory: the peak of pybuild's own processes while it makes big layers."""

from __future__ import annotations

import os

from bench import fixtures
from bench.peak import peak
from bench.race import Failure, Sample
from bench.registry import BUSYBOX, SEED, SEED_SIZE
from bench.verdict import Report, under
from bench.workbench import Workbench

_LIMIT = 150


def memory(bench: Workbench) -> Report:
    """The peaks for a layer of 1 GB, and for 100,000 files: the first build and the no-op after it."""
    copies, files = bench.size(64), bench.size(100_000)
    directory = bench.directory("memory")
    big, many = f"{directory}/big", f"{directory}/many"
    run = f"RUN for i in $(seq {copies}); do cat /seed; done > /big"
    fixtures.write(f"{big}/Dockerfile", f"FROM {bench.base(SEED)}\n{run}\n")
    os.mkdir(many)
    fixtures.tree(many, files, 500)
    fixtures.write(f"{many}/Dockerfile", f"FROM {bench.base(BUSYBOX)}\nCOPY . /src/\n")
    names = (
        f"layer of {copies * SEED_SIZE >> 20} MB",
        f"{files:,} files, first build",
        f"{files:,} files, no-op",
        f"{files:,} files, no-op, full path",
    )
    samples = []
    for name, where, env in (
        (names[0], big, {}),
        (names[1], many, {}),
        (names[2], many, {}),
        (names[3], many, {"BENCH_ROUND": "1"}),
    ):
        archive = f"type=oci,dest={directory}/out.tar"
        build = (bench.pybuild_path, "build", "-t", "memory", "-o", archive, ".")
        try:
            megabytes = peak(build, where, {**bench.env, **env}, bench.interpreter) / 1e6
        except Failure as failure:
            samples.append(Sample(name, unit="MB", error=str(failure)))
        else:
            samples.append(Sample(name, (megabytes,), unit="MB"))
    return Report(
        "memory",
        "peak memory of pybuild's own processes together",
        samples,
        [under(name, _LIMIT) for name in names],
        ["proportional set size, summed over the processes that run pybuild's interpreter, looked at every 5 ms"],
    )
