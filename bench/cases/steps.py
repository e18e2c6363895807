"""Cases in which steps run: how much a step costs beside its own work, and whether stages run beside each other."""

from __future__ import annotations

from bench import fixtures
from bench.race import Contender, race
from bench.registry import BUSYBOX
from bench.verdict import Report, at_least, under
from bench.workbench import Workbench


def run20(bench: Workbench) -> Report:
    """20 trivial RUN steps, nothing cached."""
    base = bench.base(BUSYBOX)
    directory = bench.directory("run20")

    def renew(number: int) -> None:
        fixtures.write(f"{directory}/Dockerfile", fixtures.trivial_runs(base, number))

    samples = race(_builders(bench, directory), bench.rounds(5), warm_up=1, before_round=renew)
    checks = (at_least("docker", "pybuild", 8), at_least("buildah", "pybuild", 25))
    return Report("run20", "20 trivial RUN steps, nothing cached", samples, checks)


def late_edit(bench: Workbench) -> Report:
    """A file changes that is copied at step 17 of 20; three RUN steps follow."""
    directory = bench.directory("late-edit")
    fixtures.write(f"{directory}/Dockerfile", fixtures.late_edit(bench.base(BUSYBOX)))

    def edit(number: int) -> None:
        fixtures.write(f"{directory}/edited.txt", f"round {number}\n")

    samples = race(_builders(bench, directory), bench.rounds(9), warm_up=1, before_round=edit)
    what = "one file changed at step 17 of 20, three RUN steps after it"
    return Report("late-edit", what, samples, (at_least("docker", "pybuild", 5),))


def diamond(bench: Workbench) -> Report:
    """Six stages that sleep a second each, ideally 3 s."""
    base = bench.base(BUSYBOX)
    directory = bench.directory("diamond")

    def renew(number: int) -> None:
        fixtures.write(f"{directory}/Dockerfile", fixtures.diamond(base, number))

    contenders = [bench.pybuild("build", "-j", "4", "-t", "bench", ".", cwd=directory)]
    if bench.has("docker"):
        contenders.append(bench.docker_build("bench", directory))
    if bench.has("buildah"):
        contenders.append(bench.buildah_build("bench", directory, jobs=4))
    samples = race(contenders, bench.rounds(3), warm_up=1, before_round=renew)
    what = "six-stage diamond whose stages sleep 1 s, ideal 3 s"
    notes = ["four stages may run at once: `-j 4`, buildah's `--jobs=4`; docker always lets all of them"]
    return Report("diamond", what, samples, (under("pybuild", 3.08),), notes)


def _builders(bench: Workbench, directory: str) -> list[Contender]:
    contenders = [bench.pybuild("build", "-t", "bench", ".", cwd=directory)]
    if bench.has("docker"):
        contenders.append(bench.docker_build("bench", directory))
    if bench.has("buildah"):
        contenders.append(bench.buildah_build("bench", directory))
    return contenders
