"""`--on-error=shell` on a real terminal: looking, repairing, `retry`, `commit`, leaving; and where there is none."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.behaviour.terminal import Terminal
from tests.behaviour.world import World

DOCKERFILE = """\
FROM busybox AS base
ENV MODE=fast
WORKDIR /work
RUN --mount=type=cache,target=/c,mode=0777 --mount=type=secret,id=key,mode=0444 \\
    echo line-$((40 + 2)) && echo tried >> count && test -e /work/missing && cp missing made
RUN echo later > later; cat made >> later
"""
PROMPT = "/work # "


@pytest.fixture
def project(world: World, base_layout: Path) -> World:
    world.write({"Dockerfile": DOCKERFILE, "key": "s3cret\n"})
    world.env["BASE"] = f"busybox=oci-layout://{base_layout}"
    return world


def given(world: World) -> tuple[str, ...]:
    return ("--build-context", world.env["BASE"], f"--secret=id=key,src={world.project}/key")


def build(world: World, *argv: str) -> Terminal:
    return Terminal(world, "build", "--on-error=shell", *given(world), *argv, ".")


def at_prompt(terminal: Terminal) -> None:
    """Wait for the prompt of another shell. (One shell may draw its prompt twice.)"""
    terminal.until("This shell is where it ran")
    terminal.until(PROMPT)


def test_it_opens_where_the_step_failed_and_leaving_ends_the_build(project: World) -> None:
    with build(project) as terminal:
        shown = terminal.until(PROMPT)
        assert b"line-42" in shown
        assert b"ended with exit code 1" in shown
        assert all(word in shown for word in (b"retry", b"commit", b"exit"))
        terminal.type("id -u; echo $MODE-$TERM; cat /run/secrets/key count; ls -d /c; tty")
        shown = terminal.until("/dev/")
        for text in (b"\r\n0\r\n", b"fast-xterm", b"s3cret", b"\r\ntried\r\n", b"\r\n/c\r\n"):
            assert text in shown
        terminal.until(PROMPT)
        terminal.type("touch by-hand; exit")
        assert terminal.end() == 1
        assert b"ended with exit code 1" in terminal.seen[terminal.seen.rindex(b"exit\r\n") :]
    # What was left there is what a later shell finds.
    said = project.run("shell", *given(project), "", "--", "sh", "-c", "ls; test ! -e /run/pybuild")
    assert said.stdout == "by-hand\ncount\n"
    assert project.build(*given(project), ok=False).returncode == 1


def test_retry_runs_it_in_the_files_as_they_are(project: World) -> None:
    with build(project) as terminal:
        terminal.until(PROMPT)
        terminal.type("retry")
        assert terminal.until("ended with exit code 1").count(b"line-42") == 1
        terminal.until(PROMPT)
        terminal.type("cat count; echo repaired > missing")
        terminal.until("\r\ntried\r\ntried\r\n")
        terminal.type("retry")
        terminal.until("line-42")
        assert terminal.end() == 0
        assert b"was repaired by hand" in terminal.seen
    assert project.run("logs").stdout.count("line-42") == 3


def test_commit_goes_on_with_the_files_as_they_are_and_the_result_is_of_this_build_only(project: World) -> None:
    with build(project) as terminal:
        terminal.until(PROMPT)
        terminal.type("echo by hand > made; commit")
        assert terminal.end() == 0
        assert b"later" in terminal.seen
    assert json.loads(project.run("builds", "--json").stdout)[0]["dirty"] is True
    assert "done, dirty" in project.run("builds").stdout
    why = json.loads(project.run("why", "--json").stdout)
    assert why["state"] == "done"
    told = {one["name"].partition("RUN ")[2][:6]: one for one in why["ran"]}
    assert {name: one["dirty"] for name, one in told.items() if name} == {"--moun": True, "echo l": True}
    assert "repaired by hand" in told["echo l"]["why"][0]["text"]
    text = project.run("why").stdout
    assert "dirty" in text
    assert "it failed, and was repaired by hand" in text
    # Nobody finds it: the step runs again, and so would what stands on it.
    plan = project.run("plan", *given(project), ".").stdout
    assert "came of a repair by hand, and was for that build only" in plan
    assert project.build(*given(project), ok=False).returncode == 1
    assert project.build("-o", "out", *given(project), ok=False).returncode == 1


@pytest.mark.parametrize("option", [("-t", "app"), ("-o", "out"), ("-o", "type=oci,dest=out.tar"), ("-q",)])
def test_what_stands_on_a_repaired_step_is_not_written_out(project: World, option: tuple[str, ...]) -> None:
    with build(project, *option) as terminal:
        terminal.until(PROMPT)
        terminal.type("echo by hand > made; commit")
        assert terminal.end() == 7
        assert b"was repaired by hand, and is not written out" in terminal.seen.replace(b"\r\n", b" ")
    assert sorted(os.listdir(project.project)) == ["Dockerfile", "key"]
    assert project.run("images", "--format=name").stdout == ""


def test_no_portable_cache_gets_it(project: World) -> None:
    cache = project.top / "cache"
    project.write(
        {"Dockerfile": DOCKERFILE + "FROM busybox\nRUN echo clean > /clean\nCOPY --from=base /work/later /x\n"}
    )
    with build(project, f"--cache-to=type=local,dest={cache},mounts=true") as terminal:
        terminal.until(PROMPT)
        terminal.type("echo by hand > made; commit")
        assert terminal.end() == 0
    other = {"PYBUILD_HOME": str(project.top / "other")}
    done = project.build(f"--cache-from=type=local,src={cache}", "--keep-going", *given(project), ok=False, **other)
    assert done.returncode == 1
    assert "ended with exit code 1" in done.stderr
    assert not any("echo clean" in name for name in project.ran(done))  # what is clean travels
    assert b"by hand" not in b"".join(path.read_bytes() for path in cache.rglob("*") if path.is_file())


def test_a_secret_is_not_taken_into_a_result_by_hand_either(project: World) -> None:
    project.write({"key": "correct-horse-battery\n"})
    with build(project) as terminal:
        at_prompt(terminal)
        terminal.type("cp /run/secrets/key made; commit")
        assert terminal.end() == 10
        assert b"the secret `key` is in `/work/made`, which this step writes" in terminal.seen.replace(b"\r\n", b" ")


def test_others_end_first_and_the_rest_waits(world: World, base_layout: Path) -> None:
    world.write(
        {
            "Dockerfile": f"FROM oci-layout://{base_layout} AS one\n"
            "WORKDIR /work\nRUN --mount=type=cache,target=/c touch /c/fails; exit 4\nRUN echo above-$((1 + 1))\n"
            f"FROM oci-layout://{base_layout} AS two\n"
            "RUN --mount=type=cache,target=/c until test -e /c/fails; do sleep 0.1; done; sleep 2; "
            "echo others-end-$((1 + 1))\nRUN echo not-begun-$((1 + 1))\n"
            f"FROM oci-layout://{base_layout}\nCOPY --from=one /work /one\nCOPY --from=two /tmp /two\n"
        }
    )
    with Terminal(world, "build", "--on-error=shell", "-j2", "--progress=plain", ".") as terminal:
        shown = terminal.until(PROMPT)
        assert b"others-end-2" in shown
        assert b"not-begun-2" not in shown
        terminal.type("commit")
        assert terminal.end() == 0
        assert b"above-2" in terminal.seen
        assert b"not-begun-2" in terminal.seen


def test_no_step_waits_for_a_cache_of_one_that_failed(world: World, base_layout: Path) -> None:
    locked = "--mount=type=cache,target=/c,sharing=locked"
    world.write(
        {
            "Dockerfile": f"FROM oci-layout://{base_layout} AS base\nWORKDIR /work\n"
            f"FROM base AS one\nRUN {locked} echo first > /c/first; exit 4\n"
            f"FROM base AS two\nRUN {locked} sleep 1; echo second > /c/second\n"
            "FROM base\nCOPY --from=one /work /one\nCOPY --from=two /work /two\n"
        }
    )
    with Terminal(world, "build", "--on-error=shell", "-j2", ".") as terminal:
        at_prompt(terminal)
        terminal.type("cat /c/*; commit")
        assert terminal.end() == 0
        assert b"first\r\nsecond\r\n" in terminal.seen


def test_several_failures_have_a_shell_each_where_the_build_keeps_going(world: World, base_layout: Path) -> None:
    both = "until test -e /c/1 -a -e /c/2; do sleep 0.1; done"  # else the second need not have begun
    stages = "".join(
        f"FROM oci-layout://{base_layout} AS s{n}\nWORKDIR /work\n"
        f"RUN --mount=type=cache,id=c,target=/c echo > is-{n}; touch /c/{n}; {both}; exit 4\n"
        for n in (1, 2)
    )
    world.write(
        {
            "Dockerfile": f"{stages}FROM oci-layout://{base_layout}\n"
            "COPY --from=s1 /work /x\nCOPY --from=s2 /work /x\nRUN ls /x; test -e /x/is-1 -a -e /x/is-2\n"
        }
    )
    with Terminal(world, "build", "--on-error=shell", "--keep-going", ".") as terminal:
        for _ in (1, 2):
            at_prompt(terminal)
            terminal.type("commit")
        assert terminal.end() == 0
    with Terminal(world, "build", "--on-error=shell", "-j2", ".") as terminal:
        at_prompt(terminal)
        terminal.type("exit")
        assert terminal.end() == 1  # without another shell
    with Terminal(world, "build", "--on-error=shell", "--keep-going", ".") as terminal:
        for _ in (1, 2):
            at_prompt(terminal)
            terminal.type("exit")
        assert terminal.end() == 1
    assert json.loads(world.run("cache", "du", "--json").stdout)["failed"]["count"] == 2


def test_an_image_without_a_shell_gets_the_machines_busybox(world: World) -> None:
    world.write({"Dockerfile": 'FROM scratch\nCOPY a.txt /a.txt\nWORKDIR /work\nRUN ["/nothing"]\n', "a.txt": "a\n"})
    with Terminal(world, "build", "--on-error=shell", ".") as terminal:
        terminal.until("# ")
        terminal.type("ls / | cat; cat /a.txt; echo $((6 * 7))")
        shown = terminal.until("42\r\n")
        assert b"\r\na.txt\r\n" in shown
        assert b"\r\na\r\n" in shown
        terminal.type("commit")
        assert terminal.end() == 0
    with Terminal(world, "shell", "@nothing") as terminal:
        terminal.until("# ")
        terminal.type("echo $((6 * 7)); exit 3")
        terminal.until("42\r\n")
        assert terminal.end() == 3


def test_without_any_shell_it_says_what_to_install(world: World) -> None:
    world.write({"Dockerfile": 'FROM scratch\nWORKDIR /work\nRUN ["/nothing"]\n'})
    programs = world.top / "programs"
    programs.mkdir(mode=0o755)
    for tool in ("newuidmap", "newgidmap", "setpriv"):
        if found := shutil.which(tool):
            (programs / tool).symlink_to(found)
    shutil.copy(os.path.realpath("/bin/true"), programs / "busybox")  # it does not run without libraries
    with Terminal(world, "build", "--on-error=shell", ".", PATH=str(programs)) as terminal:
        assert terminal.end() == 1
        shown = terminal.seen.replace(b"\r\n", b" ")
        assert b"no shell could be opened" in shown
        assert b"install busybox-static" in shown


def test_a_test_is_retried_and_not_committed(world: World, base_layout: Path) -> None:
    world.write(
        {
            "Buildfile": f"FROM oci-layout://{base_layout} AS app\nWORKDIR /work\nTEST test -e /work/x\n",
        }
    )
    arguments = ("--push", "-t", "localhost:1/none:1", "-f", "Buildfile", ".")
    with Terminal(world, "build", "--on-error=shell", *arguments) as terminal:
        assert b"commit" not in terminal.until(PROMPT)
        terminal.type("commit")
        terminal.until("not found")
        terminal.until(PROMPT)
        terminal.type("touch x; retry")
        assert terminal.end() == 7
        shown = b" ".join(terminal.seen.split())
        assert b"`app` waits for `[app] TEST test -e /work/x`, which was repaired by hand, and is not" in shown
    # What passed is nothing to look at later.
    assert json.loads(world.run("cache", "du", "--json").stdout)["failed"]["count"] == 0


def test_what_it_saves_is_saved_each_time_it_runs(world: World, base_layout: Path) -> None:
    world.write(
        {
            "Dockerfile": f"FROM oci-layout://{base_layout}\nWORKDIR /work\n"
            "RUN --save-always=report:kept/ echo ran >> report; test -e /work/x\n"
        }
    )
    report = world.project / "kept/report"
    with Terminal(world, "build", "--on-error=shell", ".") as terminal:
        at_prompt(terminal)
        assert report.read_text() == "ran\n"
        terminal.type("retry")
        at_prompt(terminal)
        assert report.read_text() == "ran\nran\n"
        terminal.type("touch x; retry")
        assert terminal.end() == 0
    assert report.read_text() == "ran\nran\nran\n"


def test_what_cannot_be_kept_takes_no_failures_place(world: World, base_layout: Path) -> None:
    both = "until test -e /c/1 -a -e /c/2; do sleep 0.1; done"  # else the second need not have begun
    stages = "".join(
        f"FROM oci-layout://{base_layout} AS s{n}\nWORKDIR /work\n"
        f"RUN --mount=type=cache,id=c,target=/c echo > is-{n}; touch /c/{n}; {both}; exit 4\n"
        for n in (1, 2)
    )
    world.write({"Dockerfile": f"{stages}FROM scratch\nCOPY --from=s1 /work /\nCOPY --from=s2 /work /\n"})
    with Terminal(world, "build", "--on-error=shell", "-j2", ".") as terminal:
        at_prompt(terminal)
        (world.store / "failed").rmdir()
        (world.store / "failed").write_text("no directory")
        terminal.type("exit")
        assert terminal.end() == 1
        shown = b" ".join(terminal.seen.split())
        # Of the step whose shell was left, and of the other one, which had none.
        assert shown.count(b"left could not be kept:") == 2
        assert shown.count(b"ended with exit code 4") >= 2
    (world.store / "failed").unlink()
    (world.store / "failed").mkdir()
    (build,) = json.loads(world.run("builds", "--json").stdout)
    assert build["state"] == "failed"


def test_what_a_person_does_with_a_secret_is_not_kept(project: World) -> None:
    project.write({"key": "correct-horse-battery\n"})
    with build(project) as terminal:
        at_prompt(terminal)
        terminal.type("cp /run/secrets/key copied; exit")
        assert terminal.end() == 1
        shown = b" ".join(terminal.seen.split())
        assert b"left could not be kept: the secret `key` is in `/work/copied`" in shown
    assert json.loads(project.run("cache", "du", "--json").stdout)["failed"]["count"] == 0


def test_a_signal_ends_the_build_and_gives_the_terminal_back(project: World) -> None:
    with build(project) as terminal:
        terminal.until(PROMPT)
        terminal.process.terminate()
        assert terminal.end() == 128 + signal.SIGTERM
    assert project.build(*given(project), ok=False).returncode == 1


def test_an_interrupt_while_it_runs_again_ends_the_build(world: World, base_layout: Path) -> None:
    world.write(
        {
            "Dockerfile": f"FROM oci-layout://{base_layout}\nWORKDIR /work\n"
            "RUN test -e again || exit 5; echo sleeps-$((1 + 1)); sleep 300\n"
        }
    )
    with Terminal(world, "build", "--on-error=shell", ".") as terminal:
        at_prompt(terminal)
        terminal.type("touch again; retry")
        terminal.until("sleeps-2")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 128 + signal.SIGINT
    assert json.loads(world.run("cache", "du", "--json").stdout)["work"]["count"] <= 1
    assert world.run("shell", "@again", "--", "ls").stdout == "again\n"


def test_whether_there_is_a_terminal_is_seen_in_each_build(world: World, base_layout: Path) -> None:
    world.write(
        {
            "Dockerfile": f"FROM oci-layout://{base_layout}\nWORKDIR /work\nCOPY a.txt .\n"
            "RUN test $(cat a.txt) = good\n",
            "a.txt": "good\n",
        }
    )
    argv = ("build", "--on-error=shell", ".")
    with Terminal(world, *argv) as terminal:
        assert terminal.end() == 0
    # From here on the graph is the one that the first build made.
    world.write({"a.txt": "bad\n"})
    done = world.run(*argv, ok=False, TERM="xterm")
    assert done.returncode == 1
    assert "there is no terminal for a shell" in done.stderr
    world.write({"a.txt": "good\n"})
    world.run(*argv, TERM="xterm")
    world.write({"a.txt": "worse\n"})
    with Terminal(world, *argv) as terminal:
        at_prompt(terminal)
        terminal.type("commit")
        assert terminal.end() == 0
    with Terminal(world, *argv) as terminal:  # and no memo answers with what was repaired
        at_prompt(terminal)
        terminal.type("exit")
        assert terminal.end() == 1


def test_without_a_terminal_it_keeps_what_was_left_and_says_so(project: World) -> None:
    done = project.build("--on-error=shell", *given(project), ok=False)
    assert done.returncode == 1
    assert "there is no terminal for a shell; `pybuild shell` opens what the step left" in done.stderr
    assert project.run("shell", *given(project), "", "--", "ls").stdout == "count\n"
