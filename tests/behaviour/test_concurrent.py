"""Many builds at once: of one project on a cold store, of different ones, and beside a prune."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.behaviour.containers import begin
from tests.behaviour.watched import leftovers
from tests.behaviour.world import World

# Every run of a step leaves a line in the cache mount, which all builds share.
NOTE = "RUN --mount=type=cache,target=/runs,sharing=locked echo {0} >> /runs/log"
DOCKERFILE = "\n".join(
    (
        "FROM busybox AS one",
        NOTE.format("a") + " && echo a > /a",
        "WORKDIR /src",
        "COPY src .",
        NOTE.format("b") + " && cat /a src.txt > /b",
        "FROM busybox AS two",
        NOTE.format("c") + " && echo c > /c",
        "FROM busybox",
        "COPY --from=one /b /",
        "COPY --from=two /c /",
        NOTE.format("d") + " && cat /b /c > /d",
    )
)
AT_ONCE = 16


@pytest.fixture
def busybox(base_layout: Path) -> str:
    return f"--build-context=busybox=oci-layout://{base_layout}"


@pytest.fixture
def project(world: World) -> World:
    world.write({"Dockerfile": DOCKERFILE, "src/src.txt": "src\n"})
    world.env["SOURCE_DATE_EPOCH"] = "0"
    return world


def outcomes(builds: list[subprocess.Popen[str]]) -> list[str]:
    """What each printed; all have to succeed."""
    said = [build.communicate() for build in builds]
    for build, (_, err) in zip(builds, said, strict=True):
        assert build.returncode == 0, err
    return [out for out, _ in said]


def runs(world: World, busybox: str) -> list[str]:
    """The notes in the cache mount."""
    # Not --no-cache: with that a cache mount begins anew.
    look = f"FROM busybox\nENV NOW={time.time_ns()}\nRUN --mount=type=cache,target=/runs cp /runs/log /log\n"
    world.write({"look/Dockerfile": look})
    world.run("build", "-q", busybox, "-o", "seen", "look")
    return sorted((world.project / "seen/log").read_text().split())


@pytest.mark.attack("K1")
def test_builds_of_one_project_share_the_work(project: World, busybox: str) -> None:
    argv = ("build", "-q", busybox, "-t", "shared", "-o", "type=oci,dest=x.tar", "--iidfile", "iid", ".")
    digests = outcomes([begin(project, *argv) for _ in range(AT_ONCE)])
    assert len(set(digests)) == 1
    assert digests[0].strip() == (project.project / "iid").read_text().strip()
    assert runs(project, busybox) == ["a", "b", "c", "d"]
    project.run("cache", "verify")
    assert leftovers(project) == []


@pytest.mark.attack("K2")
def test_prune_takes_nothing_from_builds_that_run(project: World, busybox: str) -> None:
    argv = ("build", "-q", busybox, "-t", "kept", "--iidfile", "iid", ".")
    (wanted,) = outcomes([begin(project, *argv)])
    for _ in range(3):
        builds = [begin(project, *argv, "--no-cache") for _ in range(3)]
        while any(build.poll() is None for build in builds):
            project.run("cache", "prune", "--all")
        outcomes(builds)
    project.run("cache", "verify")
    assert outcomes([begin(project, *argv)]) == [wanted]


def test_different_projects_at_once(project: World, busybox: str) -> None:
    files = {}
    for number in range(6):
        files[f"p{number}/Dockerfile"] = f"FROM busybox\nCOPY f /f\nRUN cat /f > /g; echo {number % 2} > /h\n"
        files[f"p{number}/f"] = f"{number // 2}\n"
    project.write(files)
    argv = ("build", busybox, "-o", "out", ".")
    outcomes([begin(project, *argv, where=f"p{number}") for number in range(6)])
    for number in range(6):
        out = project.project / f"p{number}" / "out"
        assert ((out / "g").read_text(), (out / "h").read_text()) == (f"{number // 2}\n", f"{number % 2}\n")
    project.run("cache", "verify")


def test_one_job_and_many_give_the_same(project: World, busybox: str) -> None:
    digests = set()
    for jobs in ("1", "8"):
        project.run("cache", "prune", "--all")
        digests |= set(outcomes([begin(project, "build", "-q", busybox, "-j", jobs, "-t", f"j{jobs}", ".")]))
    assert len(digests) == 1


def test_one_job_runs_one_step_at_a_time(project: World, busybox: str) -> None:
    # Each step fails if another one holds the mark that it sets itself.
    step = "RUN --mount=type=cache,target=/m mkdir /m/mark && sleep 0.1 && rmdir /m/mark && echo {0} > /{0}\n"
    stages = "".join(f"FROM busybox AS s{n}\n" + step.format(n) for n in range(4))
    whole = stages + "FROM scratch\n" + "".join(f"COPY --from=s{n} /{n} /\n" for n in range(4))
    project.write({"Dockerfile": whole})
    project.build(busybox, "-j1")


def test_many_jobs_run_steps_at_once(project: World, busybox: str) -> None:
    # Each step waits until the others have begun as well.
    step = "RUN --mount=type=cache,target=/m touch /m/{0}; until [ $(ls /m | wc -l) = 4 ]; do sleep 0.02; done\n"
    stages = "".join(f"FROM busybox AS s{n}\n" + step.format(n) for n in range(4))
    whole = stages + "FROM scratch\n" + "".join(f"COPY --from=s{n} /etc/passwd /{n}\n" for n in range(4))
    project.write({"Dockerfile": whole})
    project.build(busybox, "-j4")


FAILING = """\
FROM busybox AS bad
RUN exit 3
FROM busybox AS worse
RUN exit 4
FROM busybox AS good
RUN echo good > /good
FROM scratch
COPY --from=bad / /
COPY --from=worse / /
COPY --from=good /good /
"""


def test_the_first_failure_stops_new_work(project: World, busybox: str) -> None:
    project.write({"Dockerfile": FAILING})
    done = project.build(busybox, "-j1", ok=False)
    assert done.returncode == 1
    assert "`[bad 2/2] RUN exit 3` ended with exit code 3" in done.stderr
    assert not [name for name in project.ran(done) if "exit 4" in name or "echo good" in name]


def test_keep_going_does_what_does_not_depend_on_it(project: World, busybox: str) -> None:
    project.write({"Dockerfile": FAILING})
    done = project.build(busybox, "-j1", "--keep-going", ok=False)
    assert done.returncode == 1
    assert "ended with exit code 3" in done.stderr
    assert "also failed:" in done.stderr
    assert "ended with exit code 4" in done.stderr
    assert "[good 2/2] RUN echo good > /good" in project.ran(done)
    again = project.build(busybox, "--target", "good")
    assert project.ran(again) == []
