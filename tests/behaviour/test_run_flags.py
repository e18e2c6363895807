"""RUN's own flags from outside: `--timeout`, `--retry`, `--ttl`, `--always`, `--pool` and `--save-always`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.behaviour.test_first_tier import Case
from tests.behaviour.world import REPOSITORY, World

DOCS = REPOSITORY / "docs"


@pytest.fixture
def project(world: World, base_layout: Path) -> World:
    world.env["BASE"] = f"oci-layout://{base_layout}"
    return world


def buildfile(world: World, text: str) -> None:
    world.write({"Dockerfile": f"FROM {world.env['BASE']}\n{text}"})


# --timeout


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(project: World) -> None:
    sleep = f"sleep {100_000 + os.getpid()}"
    buildfile(project, f"RUN --timeout=1s echo begun; ({sleep} & {sleep}) & {sleep}\n")
    done = project.build(ok=False)
    assert done.returncode == 1
    assert "ERROR: timed out after 1s" in done.stderr
    assert "Dockerfile:2:1: `[2/2] RUN --timeout=1s echo begun" in done.stderr
    assert "was ended after the 1s that its --timeout allows" in done.stderr
    assert "\nbegun\n------" in done.stderr
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert sleep not in running.splitlines()


def test_a_timeout_holds_for_a_command_that_closed_its_output(project: World) -> None:
    buildfile(project, "RUN --timeout=1s exec >/dev/null 2>&1; sleep 4243\n")
    assert "timed out after 1s" in project.build(ok=False).stderr


def test_a_timeout_does_nothing_to_what_ends_in_time_and_is_in_no_key(project: World) -> None:
    buildfile(project, "RUN --timeout=1h echo done > /made\n")
    assert len(project.ran(project.build())) == 1
    buildfile(project, "RUN --timeout=2h echo done > /made\n")
    assert project.ran(project.build()) == []


def test_a_timeout_as_json(project: World) -> None:
    buildfile(project, "RUN --timeout=1s sleep 4244\n")
    done = project.run("build", "--progress=json", ".", ok=False)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    finished = [event for event in events if event["event"] == "step-finished" and event["state"] == "FAILED"]
    assert [event["reason"] for event in finished] == ["timed out after 1s"]
    assert (events[-1]["event"], events[-1]["code"], events[-1]["exit_code"]) == ("error", 124, 1)


# --retry


def test_a_command_is_tried_again(project: World) -> None:
    buildfile(
        project,
        "RUN --mount=type=cache,target=/count --retry=3 "
        "echo x >> /count/tries; touch /left-$(wc -l < /count/tries); [ $(wc -l < /count/tries) = 3 ]\n",
    )
    target = project.project / "out"
    done = project.build("-o", str(target))
    assert "RETRY 2/4: exit code 1" in done.stderr
    assert "RETRY 3/4: exit code 1" in done.stderr
    assert "RETRY 4/4" not in done.stderr
    assert sorted(path.name for path in target.glob("left-*")) == ["left-3"], "each attempt begins from the base"


def test_the_last_attempt_decides(project: World) -> None:
    buildfile(project, "RUN --retry=1 --timeout=500ms echo again; sleep 4245\n")
    done = project.run("build", "--progress=json", ".", ok=False)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [
        (event["attempt"], event["attempts"], event["reason"]) for event in events if event["event"] == "step-retried"
    ] == [(2, 2, "timed out after 500ms")]
    assert sum(event["event"] == "step-output" for event in events) == 2
    logs = sorted((project.store / "builds").glob("*/step-*.log"))
    assert logs[-1].read_text() == "again\nagain\n", "the log has every attempt"


def test_without_a_failure_nothing_is_tried_again(project: World) -> None:
    buildfile(project, "RUN --retry=5 true\n")
    assert "RETRY" not in project.build().stderr


# --always, --ttl


def test_always(project: World) -> None:
    buildfile(project, "RUN --always cat /proc/sys/kernel/random/uuid > /id\nRUN --always true\nRUN cat /id > /copy\n")
    assert len(project.ran(project.build())) == 3
    assert len(project.ran(project.build())) == 3
    buildfile(project, "RUN --always echo same > /id\nRUN cat /id > /copy\n")
    assert len(project.ran(project.build())) == 2
    assert [name.partition("] ")[2] for name in project.ran(project.build())] == ["RUN --always echo same > /id"]
    buildfile(project, "RUN --always=false echo same > /id\nRUN cat /id > /copy\n")
    assert project.ran(project.build()) == []


def test_a_ttl_that_is_over(project: World) -> None:
    buildfile(project, "RUN --ttl=1s cat /proc/sys/kernel/random/uuid > /id\nRUN cat /id > /copy\n")
    project.build()
    time.sleep(1.1)
    assert len(project.ran(project.build())) == 2


def test_the_first_tier_leaves_always_to_the_solver(world: World, base_layout: Path) -> None:
    case = Case(world, base_layout)
    world.write({"Dockerfile": "FROM busybox\nRUN --always cat /proc/sys/kernel/random/uuid > /id\n"})
    digests = set()
    for _ in range(4):
        time.sleep(0.05)
        digest, first = case.build()
        assert not first
        digests.add(digest)
    assert len(digests) == 4


def test_the_first_tier_answers_until_a_ttl_is_over(world: World, base_layout: Path) -> None:
    case = Case(world, base_layout)
    world.write({"Dockerfile": "FROM busybox\nRUN --ttl=1h cat /proc/sys/kernel/random/uuid > /id\n"})
    settled = case.settle()
    assert case.build() == (settled, True)
    world.write({"Dockerfile": "FROM busybox\nRUN --ttl=2s cat /proc/sys/kernel/random/uuid > /id\n"})
    time.sleep(2.1)
    seen = {settled, case.build()[0]}
    for _ in range(2):
        time.sleep(2.1)
        digest, first = case.build()
        assert not first
        seen.add(digest)
    assert len(seen) == 4


def test_a_text_with_a_ttl_decides_the_graph_until_it_is_over(world: World, base_layout: Path) -> None:
    world.write(
        {
            "Buildfile.py": f"""\
from buildkit_py import Image, target
base = Image("oci-layout://{base_layout}")
@target
def app():
    id = base.run("cat /proc/sys/kernel/random/uuid", ttl="1s").stdout
    return base.env(ID=id)
"""
        }
    )
    seen = set()
    for _ in range(3):
        seen.add(world.run("Buildfile.py", "-q").stdout)
        time.sleep(1.1)
    assert len(seen) == 3


# --pool


def test_a_pool(project: World) -> None:
    """Two at a time would find each other's mark."""
    base = project.env["BASE"]
    run = "RUN --pool=one:1 --mount=type=cache,target=/p mkdir /p/in && sleep 0.2 && rmdir /p/in"
    stages = "".join(f"FROM {base} AS s{number}\n{run} && : {number}\n" for number in range(4))
    copies = "".join(f"COPY --from=s{number} /bin /x{number}\n" for number in range(4))
    project.write({"Dockerfile": f"{stages}FROM {base}\n{copies}"})
    project.build("-j4")


# --save-always


def test_what_is_saved_of_a_failure(project: World) -> None:
    buildfile(
        project,
        "WORKDIR /work\n"
        "RUN --save-always=report.xml:out/ --save-always=/logs --save-always=gone:x "
        "echo '<r/>' > report.xml; mkdir /logs; echo line > /logs/a; exit 3\n",
    )
    done = project.build(ok=False)
    assert done.returncode == 1
    assert (project.project / "out" / "report.xml").read_text() == "<r/>\n"
    assert (project.project / "logs" / "a").read_text() == "line\n"
    assert "note: `/work/gone` was not saved: there is no `/work/gone`" in done.stderr
    assert "ended with exit code 3" in done.stderr


def test_what_is_saved_of_a_success(project: World) -> None:
    buildfile(project, "RUN --save-always=/made:kept echo one > /made\n")
    project.build()
    assert (project.project / "kept").read_text() == "one\n"


def test_what_is_not_there_fails_a_success(project: World) -> None:
    buildfile(project, "RUN --save-always=/made true\n")
    done = project.build(ok=False)
    assert "there is no `/made`" in done.stderr
    assert "Dockerfile:2:1" in done.stderr


def test_nothing_is_saved_outside_the_project(project: World) -> None:
    outside = project.top / "outside"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)
    (project.project / "link").symlink_to(outside)
    buildfile(project, "RUN --save-always=/made:link/made echo one > /made\n")
    assert "leads out of the project" in project.build(ok=False).stderr
    buildfile(project, "RUN --save-always=/made:link/made echo one > /made; exit 1\n")
    assert "leads out of the project" in project.build(ok=False).stderr
    assert list(outside.iterdir()) == []


def test_a_link_of_the_step_leads_nowhere(project: World) -> None:
    secret = project.project / "secret"
    secret.write_text("s3cret")
    buildfile(project, f"RUN --save-always=/made:kept ln -s {secret} /made\n")
    done = project.build(ok=False)
    assert not (project.project / "kept").exists()
    assert "there is no `/made`" in done.stderr


# what cannot be meant


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--timeout=soon", "--timeout: `soon` is no length of time; write 90s, 10m, 1h30m or 7d"),
        ("--timeout=0", "--timeout: `0` is not a time between 1ms and ten years"),
        ("--timeout=", "--timeout: `` is no length of time; write 90s"),
        ("--timeout", "`--timeout` lacks a value"),
        ("--ttl=1ms", "--ttl: `1ms` is shorter than a second"),
        ("--ttl=-7d", "--ttl: `-7d` is no length of time"),
        ("--retry=some", "--retry: `some` is no number of retries; it is from 0 to 1000"),
        ("--retry=-1", "--retry: `-1` is no number of retries"),
        ("--always=maybe", "`--always` is true or false, not `maybe`"),
        ("--pool=net", "--pool: `net` is no pool; write its name and how many run at once, as in net:2"),
        ("--pool=net:0", "--pool: `net:0` is no pool"),
        ("--save-always=:x", "--save-always: there is no path to save"),
        ("--save-always=/a:../b", "--save-always: `../b` leads out of the project; the place is relative to it"),
        ("--save-always=/a:/b", "--save-always: `/b` leads out of the project"),
        ("--save-always=/", "--save-always: `/` needs a place in the project to be saved to"),
        ("--tll=7d", "RUN has no flag `--tll`"),
        ("--retry=1 --retry=2", "`--retry` is given twice"),
    ],
)
def test_a_flag_that_cannot_be_meant(project: World, flag: str, message: str) -> None:
    if project.mode == "user":
        pytest.skip("messages do not depend on who builds")
    buildfile(project, f"RUN {flag} true\n")
    done = project.build(ok=False)
    assert done.returncode == 3
    assert "Dockerfile:2:" in done.stderr
    assert message in done.stderr


def test_as_the_how_to_has_it(project: World) -> None:
    page = (DOCS / "how-to/difficult-steps.md").read_text()
    (first, second) = re.findall(r"```dockerfile\n(.*?)```", page, re.DOTALL)
    base = project.env["BASE"]
    # Limits need control groups, which not each user has; test_limits is about them.
    text = first.replace("debian:trixie", base).replace("--memory=2g --cpus=2 ", "")
    scripts = dict.fromkeys(("fetch", "fetch-advisories", "newest-version", "link"), "#!/bin/sh\necho 1\n")
    project.write({"Dockerfile": text, "check": "#!/bin/sh\necho found > report; exit 3\n", **scripts})
    for name in ("check", *scripts):
        (project.project / name).chmod(0o755)
    done = project.build(ok=False)
    assert "Dockerfile:8:1: `[8/8] RUN --timeout=20m --save-always=/work/report:out/ ./check`" in done.stderr
    assert (project.project / "out/report").read_text() == "found\n"
    both = second.replace("debian:trixie", base).replace("./check", "echo")
    project.write({"Dockerfile": both})
    assert len(project.ran(project.run("build", "--progress=plain", ".", "unit", "system", ok=False))) == 2


def test_variables_in_flags(project: World) -> None:
    buildfile(project, "ARG T=soon\nRUN --timeout=$T true\n")
    assert "Dockerfile:3:5: --timeout: `soon` is no length of time" in project.build(ok=False).stderr
    project.build("--build-arg", "T=1m")
