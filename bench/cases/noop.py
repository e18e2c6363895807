"""Cases in which nothing, or one file, has changed: what a person waits for all day."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bench import fixtures
from bench.race import Contender, race
from bench.registry import BUSYBOX
from bench.verdict import Check, Report, at_least, at_most
from bench.workbench import Workbench

_FILE_SIZE = 500


def noop_1k(bench: Workbench) -> Report:
    """A no-op of 20 instructions over 1,000 files."""
    return _noop(bench, 1_000, 21, (at_least("docker", "pybuild", 8), at_most("pybuild", "ninja", 5)))


def noop_100k(bench: Workbench) -> Report:
    """A no-op of 20 instructions over 100,000 files."""
    return _noop(bench, 100_000, 7, (at_least("docker", "pybuild", 7), at_most("pybuild", "ninja", 1.2)))


def one_of_100k(bench: Workbench) -> Report:
    """One file of 100,000 changes."""
    files = bench.size(100_000)
    directory = _project(bench, files)
    changing = f"{directory}/src/d00000/f000007.txt"

    def edit(number: int) -> None:
        Path(changing).write_text(f"round {number}\n")

    samples = race(_builders(bench, directory), bench.rounds(3), warm_up=1, before_round=edit)
    return Report(
        "one-of-100k",
        f"one of {files:,} files changed, three RUN steps after the COPY",
        samples,
        (at_least("docker", "pybuild", 10),),
    )


def noop_1000_run(bench: Workbench) -> Report:
    """A no-op of 1,000 RUN steps."""
    steps = bench.size(1_000)
    directory = bench.directory("run-steps")
    fixtures.write(f"{directory}/build/Dockerfile", fixtures.ladder(bench.base(BUSYBOX), steps))
    contenders = [
        _tagged(bench, f"{directory}/build"),
        _full_path(bench, f"{directory}/build"),
    ]
    if bench.has("docker"):
        contenders.append(bench.docker_build("bench", f"{directory}/build"))
    if bench.has("ninja"):
        fixtures.write(f"{directory}/ninja/build.ninja", fixtures.ninja(steps, []))
        contenders.append(bench.other("ninja", ("ninja",), cwd=f"{directory}/ninja"))
    samples = race(contenders, bench.rounds(7), warm_up=2)
    return Report(
        "noop-1000-run",
        f"no-op of {steps:,} RUN steps in stages of 50",
        samples,
        (at_least("docker", "pybuild", 10),),
        [_FULL_PATH_NOTE],
    )


_FULL_PATH_NOTE = "pybuild, full path: a variable of the environment differs each time, so that no memo answers"


def _noop(bench: Workbench, full: int, rounds: int, checks: tuple[Check, ...]) -> Report:
    files = bench.size(full)
    directory = _project(bench, files)
    contenders = _builders(bench, directory)
    contenders.insert(1, _full_path(bench, directory))
    if bench.has("ninja"):
        contenders.append(bench.other("ninja", ("ninja",), cwd=f"{directory}/../ninja"))
    # Two warm-up rounds: the first builds, and leaves files too young to be believed by their times.
    samples = race(contenders, bench.rounds(rounds), warm_up=2)
    name = "noop-1k" if full == 1_000 else "noop-100k"
    return Report(name, f"no-op of 20 instructions over {files:,} files", samples, checks, [_FULL_PATH_NOTE])


def _project(bench: Workbench, files: int) -> str:
    directory, beside = bench.directory("project"), bench.directory("ninja")
    os.mkdir(f"{directory}/src")
    paths = fixtures.tree(f"{directory}/src", files, _FILE_SIZE)
    fixtures.write(f"{directory}/Dockerfile", fixtures.twenty(bench.base(BUSYBOX)))
    # Beside the context: what ninja makes is not for the others to look at.
    fixtures.write(f"{beside}/build.ninja", fixtures.ninja(20, [f"../project/src/{path}" for path in paths]))
    return directory


def _builders(bench: Workbench, directory: str) -> list[Contender]:
    contenders = [_tagged(bench, directory)]
    if bench.has("docker"):
        contenders.append(bench.docker_build("bench", directory))
    if bench.has("buildah"):
        contenders.append(bench.buildah_build("bench", directory))
    return contenders


def _tagged(bench: Workbench, directory: str) -> Contender:
    return bench.pybuild("build", "-t", "bench", ".", cwd=directory)


def _full_path(bench: Workbench, directory: str) -> Contender:
    def changing(number: int) -> Mapping[str, str]:
        return {"BENCH_ROUND": str(number)}

    return bench.pybuild("build", "-t", "bench", ".", cwd=directory, name="pybuild, full path", changing=changing)
