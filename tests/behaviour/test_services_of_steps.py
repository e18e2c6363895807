"""Services beside steps and tests: started for those that run, waited for, each step its own, and none left behind."""

from __future__ import annotations

import json
import os
import re
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.behaviour.containers import begin, hear, until
from tests.behaviour.terminal import Terminal
from tests.behaviour.watched import leftovers, watch
from tests.behaviour.world import World
from tests.needs import need, need_way_out
from tests.processes import processes

INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL
WEB = """\
SERVICE web FROM site --port=80
FROM busybox AS site
RUN mkdir /www && echo hello > /www/index.html
CMD ["httpd", "-f", "-v", "-p", "80", "-h", "/www"]
FROM busybox
"""
# Process 1 that says when it is up, counts its beginnings, and ends cleanly when it is asked to.
SERVER = (
    "trap 'echo bye; rm -f /up; exit 0' TERM; test -e /up && echo dirty; echo begin >> /data; touch /up; echo up; "
    "while :; do sleep 0.05; done"
)
DATABASE = f"""\
FROM busybox AS server
CMD ["sh", "-c", "{SERVER}"]
"""


@pytest.fixture
def project(world: World) -> World:
    need_way_out(world.mode)
    return world


@pytest.fixture
def busybox(base_layout: Path) -> str:
    return f"--build-context=busybox=oci-layout://{base_layout}"


def build(project: World, busybox: str, text: str, *options: str, ok: bool = True, **env: str) -> str:
    project.write({"Dockerfile": text})
    return project.build(busybox, *options, ok=ok, **env).stderr


def test_a_step_reaches_it_by_its_name(project: World, busybox: str) -> None:
    said = build(project, busybox, WEB + "RUN --with=web wget -qO- http://web/ && cat /etc/hosts\n")
    assert " hello\n" in said
    assert "\tweb\n" in said
    assert " web | " in said, "what it writes is progress of the step"
    assert "response:200" in project.run("logs", "", "wget").stdout
    assert ", service web\n" in project.run("logs").stdout
    again = build(project, busybox, WEB + "RUN --with=web wget -qO- http://web/ && cat /etc/hosts\n")
    assert "web | " not in again, "a cached step starts nothing"


def test_its_key_is_what_it_is_and_not_where(project: World, busybox: str) -> None:
    step = "RUN --with=web wget -qO- http://web/\n"
    build(project, busybox, WEB + step)
    assert "all 4 steps are cached" in project.run("plan", busybox, ".").stdout
    build(project, busybox, WEB.replace("--port=80", "--port=80 --env=A=1 --timeout=5s") + step)
    assert "of the service `web` the variable A is new" in project.run("why").stdout
    build(project, busybox, WEB.replace("hello", "other").replace("--port=80", "--port=80 --env=A=1") + step)
    assert "other" in project.run("logs", "", "wget").stdout


def test_it_is_as_a_container_would_be(project: World, busybox: str) -> None:
    script = "id -u; pwd; hostname; echo $HOME $MODE; ls /sys/class/net | wc -l; sleep 100"
    text = (
        "SERVICE db FROM made --ready='test -e ready' --env=MODE=given\nFROM busybox AS made\n"
        "WORKDIR /home/app\nRUN chown app .\nUSER app\nENV MODE=image\n"
        f'CMD ["sh", "-c", "{script.replace("sleep", "touch ready; sleep")}"]\nFROM busybox\nRUN --with=db true\n'
    )
    said = build(project, busybox, text)
    lines = [line.partition(" db | ")[2] for line in said.splitlines() if " db | " in line]
    assert lines == ["77", "/home/app", "db", "/home/app given", "2"]


def test_they_start_in_order_and_reach_those_before(project: World, busybox: str) -> None:
    text = (
        "SERVICE second FROM late --ready='test -e /seen'\nSERVICE first FROM site --port=80\n"
        + WEB.replace("SERVICE web FROM site --port=80\n", "").removesuffix("FROM busybox\n")
        + 'FROM busybox AS late\nCMD ["sh", "-c", "wget -qO /seen http://first/ && sleep 100"]\n'
        "FROM busybox\nRUN --with=first,second echo it ran\n"
    )
    assert " it ran\n" in build(project, busybox, text)


def test_each_step_has_its_own(project: World, busybox: str) -> None:
    ask = f"RUN --with=db {hear('db 9', 5)} > /got; cat /got"
    counts = 'CMD ["sh", "-c", "while :; do echo x >> /count; wc -l < /count | nc -l -p 9; done"]'
    stages = "".join(f"FROM busybox AS s{number}\n{ask} # {number}\n" for number in range(3))
    copies = "".join(f"COPY --from=s{number} /got /{number}\n" for number in range(3))
    text = f"SERVICE db FROM counts --port=9\nFROM busybox AS counts\n{counts}\n{stages}FROM scratch\n{copies}"
    project.write({"Dockerfile": text})
    out = project.out(busybox, "-j3")
    assert [(out / str(number)).read_text().strip() for number in range(3)] == ["1", "1", "1"]


def test_what_it_writes_is_no_part_of_the_image(project: World, busybox: str) -> None:
    text = f"SERVICE db FROM server --ready='test -e /up'\n{DATABASE}FROM busybox\nRUN --with=db echo x > /x\n"
    project.write({"Dockerfile": text})
    out = project.out(busybox)
    assert (out / "x").exists()
    assert not (out / "data").exists()


@pytest.mark.parametrize(
    ("flags", "command", "said", "note"),
    [
        ("--port=7 --timeout=1s", "sleep 100", "was not ready within 1s", "nothing in it listens on port 7"),
        (
            "--port=7 --timeout=1s",
            "httpd -f -p 127.0.0.1:7",
            "was not ready within 1s",
            "it listens on port 7 of its loopback only, where no other reaches it",
        ),
        (
            "--ready='echo not yet; exit 3' --timeout=1s",
            "echo begun; sleep 100",
            "was not ready within 1s",
            "did not succeed in it: it ends with exit code 3, and says: not yet",
        ),
        ("--ready='sleep 100' --timeout=1s", "sleep 100", "was not ready within 1s", "it does not end"),
        ("--ready='sleep 100; true' --timeout=1s", "sleep 100", "was not ready within 1s", "it does not end"),
        ("--port=7", "echo last words; exit 9", "ended with exit code 9 before it was ready", "db | last words"),
    ],
)
def test_one_that_is_never_ready_fails_the_step(
    project: World, busybox: str, flags: str, command: str, said: str, note: str
) -> None:
    stage = f'FROM busybox AS it\nCMD ["sh", "-c", "{command}"]\nFROM busybox\n'
    text = f"SERVICE db FROM it {flags}\n{stage}RUN --with=db true\n"
    out = build(project, busybox, text, ok=False)
    assert f"Dockerfile:5:1: the service `db` {said}" in out
    assert note in out
    assert leftovers(project) == []


def test_one_that_cannot_be_started_fails_the_step(project: World, busybox: str) -> None:
    text = 'SERVICE db FROM it\nFROM busybox AS it\nCMD ["/nothing"]\nFROM busybox\nRUN --with=db sleep 1; exit 1\n'
    said = build(project, busybox, text, ok=False)
    assert "the service `db` ended with exit code 127" in said


def test_one_that_dies_is_said(project: World, busybox: str) -> None:
    dies = 'FROM busybox AS it\nCMD ["sh", "-c", "echo alive; sleep 0.3; exit 4"]\nFROM busybox\n'
    said = build(project, busybox, f"SERVICE db FROM it\n{dies}RUN --with=db sleep 1; exit 2\n", ok=False)
    assert "warning: Dockerfile:5:1: the service `db` ended with exit code 4 while" in said
    assert "note: the service `db` ended with exit code 4 before the step did\n  alive\n" in said
    assert "ended with exit code 2" in said
    assert "ended with exit code 4 while" in build(
        project, busybox, f"SERVICE db FROM it\n{dies}RUN --with=db sleep 1\n"
    )


def test_the_last_lines_of_one_that_lives_are_shown_when_the_step_fails(project: World, busybox: str) -> None:
    said = build(project, busybox, WEB + "RUN --with=web wget -q http://web/none; exit 5\n", ok=False)
    assert "note: the last lines of the service `web`:\n" in said
    assert "url:/none" in said.partition("note:")[2] or "response:404" in said.partition("note:")[2]


def test_a_retry_has_a_new_one(project: World, busybox: str) -> None:
    text = (
        f"SERVICE db FROM server --ready='test -e /up'\n{DATABASE}FROM busybox\n"
        "RUN --mount=type=cache,target=/c --retry=1 --with=db test -e /c/second || { touch /c/second; exit 1; }\n"
    )
    said = build(project, busybox, text)
    assert said.count(" db | up\n") == 2
    assert "dirty" not in said


def _said(shown: str, line: str) -> bool:
    """Whether a step wrote a line, and not just has it in its name."""
    return re.search(rf"^#\d+ [\d.]+ {line}$", shown, re.MULTILINE) is not None


SEEDED = (
    "SERVICE db FROM server --ready='test -e /up' --env=A=1 "
    f"--seed='echo $(hostname) $A >> /data; echo it is done'\n{DATABASE}FROM busybox\n"
)


def test_a_seed_is_made_once_and_kept(project: World, busybox: str) -> None:
    text = SEEDED + "RUN --with=db sleep 0.3\n"
    first = build(project, busybox, text)
    assert _said(first, "it is done")
    assert " db | bye\n" in first, "it was asked to end"
    assert first.count("] SEED") == 1
    assert " dirty\n" not in first, "it ended cleanly before its files were kept"
    assert "[service db] SEED echo $(hostname)" in project.run("plan", busybox, ".").stdout
    second = build(project, busybox, text + "RUN --with=db echo another\n")
    assert not _said(second, "it is done")
    assert second.count(" db | up\n") == 1
    third = build(project, busybox, text.replace("A=1", "A=2"))
    assert _said(third, "it is done")
    assert "of the service `db` the variable A: `1` → `2`" in project.run("why").stdout


def test_what_a_command_in_a_service_starts_may_outlive_it(project: World, busybox: str) -> None:
    text = (
        "SERVICE db FROM server --ready='test -e /up && { sleep 300 & }' --seed='sleep 301 & echo seeded > /data'\n"
        f"{DATABASE}FROM busybox\nRUN --with=db echo it ran\n"
    )
    assert _said(build(project, busybox, text), "it ran")
    assert leftovers(project) == []


@pytest.mark.parametrize(
    ("ready", "seed"), [("yes & test -e /up", "echo one"), ("test -e /up", "yes $(printf %01000d) & sleep 0.1")]
)
def test_what_a_command_in_a_service_starts_may_write_on(project: World, busybox: str, ready: str, seed: str) -> None:
    """Without a pause: there is always something to be read."""
    text = (
        f"SERVICE db FROM server --ready='{ready}' --seed='{seed}'\n{DATABASE}FROM busybox\nRUN --with=db echo it ran\n"
    )
    assert _said(build(project, busybox, text), "it ran")
    assert leftovers(project) == []


def test_each_use_begins_with_the_seed(project: World, busybox: str) -> None:
    server = "trap 'exit 0' TERM; echo more >> /data; while :; do cat /data | nc -l -p 9 & wait; done"
    text = (
        "SERVICE db FROM serve --port=9 --seed='echo seeded >> /data'\n"
        f'FROM busybox AS serve\nCMD ["sh", "-c", "{server}"]\n'
        f"FROM busybox AS a\nRUN --with=db {hear('db 9', 3)} > /got\n"
        f"FROM busybox AS b\nRUN --with=db {hear('db 9', 3)} > /got # b\n"
        "FROM scratch\nCOPY --from=a /got /a\nCOPY --from=b /got /b\n"
    )
    project.write({"Dockerfile": text})
    out = project.out(busybox)
    assert [(out / name).read_text() for name in "ab"] == ["more\nseeded\nmore\n"] * 2


def test_a_seed_that_fails_is_not_kept(project: World, busybox: str) -> None:
    text = SEEDED.replace("echo it is done", "exit 6") + "RUN --with=db true\n"
    said = build(project, busybox, text, ok=False)
    assert "[service db] SEED" in said
    assert "ended with exit code 6" in said
    assert "the last lines of the service `db`:\n  up\n" in said
    assert "ended with exit code 6" in build(project, busybox, text, ok=False)


# A command that ends well once its `sleep` is killed, and a service that ends as soon as that command is gone.
MARK = f"4711.{os.getpid()}"
ASKED = f"echo $$ > /asked; sleep {MARK} || true"
CRASHES = (
    f"until test -s /asked; do sleep 0.01; done; while test -e /proc/$(cat /asked); do sleep 0.01; done; "
    f"echo no password given; exit 3; {MARK}"
)


def of_words(*words: str) -> list[int]:
    """The processes with that command line."""
    found = []
    for process in processes():
        with suppress(OSError):
            if (process / "cmdline").read_bytes() == "".join(f"{word}\0" for word in words).encode():
                found.append(int(process.name))
    return found


@pytest.mark.parametrize(
    "flags", [f"--seed='{ASKED}'", f"--ready='{ASKED}' --seed='echo seeded'"], ids=["after", "before"]
)
def test_one_that_ends_by_itself_is_no_seed(project: World, busybox: str, flags: str) -> None:
    """Before the command, or after it: the build stands still from when it waits for `ASKED` until both are gone."""
    stage = f"FROM busybox AS it\nCMD {json.dumps(['sh', '-c', CRASHES])}\nFROM busybox\n"
    project.write({"Dockerfile": f"SERVICE db FROM it {flags}\n{stage}RUN --with=db true\n"})
    process = begin(project, "build", "--progress=plain", busybox, ".")
    try:
        until(lambda: of_words("sleep", MARK))
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)  # its other threads go on until one of them has seen the signal
        service = of_words("sh", "-c", CRASHES)
        os.kill(of_words("sleep", MARK)[0], TERM)
        until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in service))
    finally:
        process.send_signal(signal.SIGCONT)
    said = process.communicate()[1]
    assert process.returncode == 1, said
    assert "error: Dockerfile:1:1: the service `db` ended with exit code 3 while it was seeded\n" in said
    assert "\ndb | no password given\n" in said
    assert leftovers(project) == []


def test_one_that_ends_by_itself_with_the_command_in_it_is_told(project: World, busybox: str) -> None:
    """The kernel kills the command then, of which its exit code would tell only that."""
    waits = "until test -e /go; do sleep 0.01; done; echo no password; exit 3"
    stage = f'FROM busybox AS it\nCMD ["sh", "-c", "{waits}"]\nFROM busybox\n'
    text = f"SERVICE db FROM it --seed='touch /go; sleep 100'\n{stage}RUN --with=db true\n"
    said = build(project, busybox, text, ok=False)
    assert "error: Dockerfile:1:1: the service `db` ended with exit code 3 while it was seeded\n" in said
    assert "\ndb | no password\n" in said


@pytest.mark.parametrize("code", [0, 3])
def test_one_that_ends_by_itself_though_it_was_asked_to_is_no_seed(project: World, busybox: str, code: int) -> None:
    """Process 1 does not hear a signal that it has no handler for."""
    stage = f'FROM busybox AS it\nCMD ["sh", "-c", "sleep 1; echo no password; exit {code}"]\nFROM busybox\n'
    said = build(project, busybox, f"SERVICE db FROM it --seed=true\n{stage}RUN --with=db true\n", ok=False)
    assert f"error: Dockerfile:1:1: the service `db` ended with exit code {code} while it was seeded\n" in said
    assert "\ndb | no password\n" in said


def test_the_exit_code_of_one_that_was_stopped_is_said(project: World, busybox: str) -> None:
    text = SEEDED.replace("exit 0", "exit 7") + "RUN --with=db echo it ran\n"
    said = build(project, busybox, text)
    assert "warning: Dockerfile:1:1: the service `db` ended with exit code 7 when it was stopped\n" in said
    assert _said(said, "it ran")
    assert "was stopped" not in build(project, busybox, text.replace("exit 7", "exit 143"))


def test_a_secret_that_a_service_writes_is_hidden(project: World, busybox: str) -> None:
    text = WEB + "RUN --mount=type=secret,id=key --with=web wget -q http://web/$(cat /run/secrets/key) || true\n"
    secret = project.project / "key"
    secret.write_text("s3cr3t-value-of-it")
    said = build(project, busybox, text, f"--secret=id=key,src={secret}")
    assert " web | " in said
    assert "s3cr3t" not in said
    assert "s3cr3t" not in project.run("logs").stdout


def test_a_shell_where_a_step_failed_has_its_services(project: World, busybox: str) -> None:
    text = WEB.removesuffix("FROM busybox\n") + "FROM busybox AS last\nRUN --with=web touch /left; exit 3\n"
    build(project, busybox, text, ok=False)
    done = project.run("shell", busybox, "", "--", "sh", "-c", "ls /left; wget -qO- http://web/")
    assert done.stdout == "/left\nhello\n"


# One that works, one that never is ready, and one behind that.
NEVER = (
    "SERVICE two FROM site --port=7 --timeout=2s\nSERVICE three FROM site --port=80\n"
    f"{WEB}RUN --with=web,two,three touch /left\n"
)
WAITING = "waiting until the service `two` is ready, for at most 2s"
NOT_READY = "the service `two` was not ready within 2s: nothing in it listens on port 7"


def test_a_shell_opens_though_a_service_is_not_ready(project: World, busybox: str) -> None:
    build(project, busybox, NEVER, ok=False)
    done = project.run("shell", busybox, "", "--", "sh", "-c", "cat /etc/hosts; wget -qO- http://web/")
    hosts, answered, _ = done.stdout.partition("hello\n")
    assert [line.partition("\t")[2] for line in hosts.splitlines()[2:]] == ["web", "two"]
    assert answered
    assert f"{WAITING}\n" in done.stderr
    assert f"{NOT_READY}\nhint: the shell opens without `three`\n" in done.stderr
    assert leftovers(project) == []


def test_a_shell_in_a_build_opens_though_a_service_is_not_ready(project: World, busybox: str) -> None:
    project.write({"Dockerfile": NEVER})
    with Terminal(project, "build", "--on-error=shell", busybox, ".") as terminal:
        for shown in ("This shell is where it ran", WAITING, NOT_READY, "/ # "):
            terminal.until(shown)
        terminal.type("wget -qO- http://web/; exit")
        terminal.until("\r\nhello\r\n")
        assert terminal.end() == 1
    assert leftovers(project) == []


def test_a_shell_that_still_waits_for_a_service_can_be_given_up(project: World, busybox: str) -> None:
    text = NEVER.replace("timeout=2s", "timeout=5m")
    project.write({"Dockerfile": text})
    end = watch(project, "shell", busybox, "@touch", "--", "echo", "it opened", until="waiting until", signals=[INT])
    assert end.code == 130, end.output
    assert "it opened" not in end.output
    assert leftovers(project) == []


def test_files_of_a_seed_in_a_buildfile_py(project: World, busybox: str) -> None:
    door = (
        "from buildkit_py import Image, context, service, target\n"
        "src = context('.')\n"
        "@target\ndef app() -> Image:\n"
        "    box = Image('busybox')\n"
        "    server = box.cmd('sh', '-c', 'trap \"exit 0\" TERM; '\n"
        "        'cat /docker-entrypoint-initdb.d/* >> /data; touch /up; '\n"
        "        'while :; do cat /data | nc -l -p 9 & wait; done')\n"
        "    db = service(server, port=9, ready='test -e /up', seed=src['a.sql', 'b.sql'])\n"
        f"    return box.run('{hear('db 9', 3)} > /got', services={{'db': db}}).output('/got')\n"
    )
    project.write({"Buildfile.py": door, "a.sql": "first\n", "b.sql": "second\n"})
    options = ("build", "--progress=plain", busybox, "-f", "Buildfile.py", ".")
    project.run(*options)
    got = project.project / "got"
    assert got.read_text() == "first\nsecond\n", "the second time there are no files any more"
    assert "SEED" not in "".join(project.ran(project.run(*options)))
    project.write({"b.sql": "third\n"})
    ran = project.ran(project.run(*options))
    assert any("SEED with files" in name for name in ran)
    assert got.read_text() == "first\nthird\n"


def test_a_test_with_a_service(project: World, busybox: str) -> None:
    text = WEB + "TEST --name=asks --with=web wget -qO- http://web/\nTEST --name=fails --with=web exit 3\n"
    project.write({"Dockerfile": text})
    done = project.run("test", busybox, ".", ok=False)
    assert done.returncode == 1
    assert "1 passed, 1 failed" in done.stdout + done.stderr


def test_an_isolated_network_is_asked_for_whatever_the_others_have(project: World, busybox: str) -> None:
    step = WEB + "RUN --with=web wget -qO- http://web/ # {}\n"
    assert " hello\n" in build(project, busybox, step.format(1), PYBUILD_NETWORK="host")
    assert " hello\n" in build(project, busybox, step.format(2), "--network=host", "--allow=network.host")
    said = build(project, busybox, step.format(3), ok=False, PYBUILD_NETWORK="none")
    assert "on the network `none` a step does not reach its services (web)" in said
    assert "PYBUILD_NETWORK or `network` of the configuration says so" in said


def test_a_shell_has_the_services_of_its_step(project: World, busybox: str) -> None:
    project.write({"Dockerfile": WEB.removesuffix("FROM busybox\n") + "FROM busybox AS last\nRUN --with=web echo it\n"})
    done = project.run("shell", busybox, "last@echo it", "--", "wget", "-qO-", "http://web/")
    assert done.stdout == "hello\n"
    assert leftovers(project) == []


@pytest.mark.parametrize("signals", [[INT], [TERM], [INT] * 3, [KILL]], ids=str)
@pytest.mark.parametrize("moment", ["db | up", "begun"])
def test_nothing_is_left_when_the_build_is_ended(project: World, busybox: str, signals: list[int], moment: str) -> None:
    ready = "false" if moment == "db | up" else "test -e /up"
    text = f"SERVICE db FROM server --ready='{ready}'\n{DATABASE}FROM busybox\nRUN --with=db echo begun; sleep 300\n"
    project.write({"Dockerfile": text})
    end = watch(project, "build", "--progress=plain", busybox, ".", until=f"{moment}\n", signals=signals)
    assert end.code in (130, 143, -KILL), end.output
    if signals != [KILL]:  # what a killed one had in work the next one removes
        assert leftovers(project) == []
    assert " up\n" in build(project, busybox, text.replace("false", "true").replace("; sleep 300", ""))
    assert leftovers(project) == []


@pytest.mark.parametrize("signum", [INT, TERM], ids=str)
def test_a_seed_whose_service_was_still_stopping_when_the_build_was_ended_is_not_kept(
    project: World, busybox: str, signum: int
) -> None:
    text = SEEDED.replace("echo bye", "echo stopping; sleep 2; echo bye") + "RUN --with=db true\n"
    project.write({"Dockerfile": text})
    end = watch(project, "build", "--progress=plain", busybox, ".", until="db | stopping\n", signals=[signum])
    assert end.code in (130, 143), end.output
    assert _said(build(project, busybox, text), "it is done")


POSTGRES = "/usr/lib/postgresql"


def test_debians_postgresql(project: World) -> None:
    """The real thing, of this machine's own files."""
    versions = sorted(os.listdir(POSTGRES)) if os.path.isdir(POSTGRES) else []
    if not versions:
        need("postgres")
    need("psql")
    if project.mode == "user":
        pytest.skip("a cluster wants an owner of its own, whom an ordinary user's host:// does not have")
    programs = f"{POSTGRES}/{versions[-1]}/bin"
    seed = "psql -h 127.0.0.1 -U postgres -c 'create table t as select 7 as n'"
    text = f"""\
SERVICE db FROM server --port=5432 --ready="{programs}/pg_isready -q -h 127.0.0.1" --seed="{seed}"
FROM host:// AS server
RUN mkdir /cluster && chown postgres /cluster
USER postgres
RUN {programs}/initdb -A trust -D /cluster > /dev/null && echo "host all all all trust" >> /cluster/pg_hba.conf
STOPSIGNAL SIGINT
CMD ["{programs}/postgres", "-D", "/cluster", "-h", "*", "-k", "/cluster"]
FROM host://
RUN --with=db psql -h db -U postgres -tc 'select n * 6 from t'
"""
    project.write({"Dockerfile": text})
    said = project.build().stderr
    assert " 42\n" in said
    assert "was not properly shut down" not in said
