"""Projects of compose files: brought up in order, waited for, replaced where they changed, ended, looked at."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time

import pytest

from buildkit_py.frontend.compose.unnamed_volumes import unnamed_volume
from tests.behaviour.containers import LOOP, hear, until
from tests.behaviour.projects import SERVE, compose, in_foreground, rows, service, states
from tests.behaviour.world import World
from tests.needs import need_way_out

DEAF = f"trap '' TERM; echo ready; {LOOP}"
HEALTHY = "healthcheck: {test: 'test -e /up', interval: 100ms, retries: 50}"


@pytest.fixture
def svc(svc: World) -> World:
    """With the network of a project, where this machine has it for its user."""
    need_way_out(svc.mode)
    svc.env["PYBUILD_NETWORK"] = ""
    return svc


def waits(**conditions: str) -> str:
    inner = ", ".join(f"{name}: {{condition: service_{condition}}}" for name, condition in conditions.items())
    return f"depends_on: {{{inner}}}"


def log(world: World, name: str) -> str:
    """What a service's container wrote; nothing while another one takes its place."""
    return world.run("logs", f"shop-{name}-1", ok=False).stdout


def test_a_life(svc: World) -> None:
    compose(svc, web=service(SERVE, "labels: {tier: front}"), db=service(SERVE, "environment: {A: b}"))
    said = svc.run("up", "-d").stderr
    assert "web: started" in said
    found = rows(svc)
    assert {name: (one["status"], one["name"]) for name, one in found.items()} == {
        "web": ("running", "shop-web-1"),
        "db": ("running", "shop-db-1"),
    }
    assert (found["web"]["project"], found["web"]["labels"]) == ("shop", {"tier": "front"})
    svc.run("run", "-d", "--name=other", "svc", "sh", "-c", SERVE)
    assert svc.run("ps", "--format=name").stdout.split()[0] == "other"
    assert len(svc.run("ps", "-q").stdout.split()) == 3
    assert set(svc.run("ps", "--format=name", "-f", "compose.yaml").stdout.split()) == {"shop-web-1", "shop-db-1"}
    assert svc.run("exec", "shop-db-1", "sh", "-c", "echo $A").stdout == "b\n"
    until(lambda: "ready" in log(svc, "web"))
    shown = svc.run("logs", "-p", "shop").stdout.splitlines()
    assert sorted(shown) == ["db  | ready", "web | ready"]
    assert svc.run("logs", "--file=compose.yaml", "-n1", "db").stdout == "db | ready\n"
    again = svc.run("up", "-d").stderr
    assert "web: runs as it is to be" in again
    assert rows(svc)["web"]["id"] == found["web"]["id"]
    down = svc.run("down").stderr
    assert "web: ended" in down
    assert states(svc) == {}
    assert svc.run("ps", "--format=name").stdout == "other\n"
    assert svc.run("down").stderr == ""


def test_how_long_containers_have_to_end_in(svc: World) -> None:
    """This one hears nothing, and says ten minutes: for which the test would not wait."""
    svc.write({"compose.yaml": f"name: shop\nservices:\n  web: {service(DEAF).replace('20s', '10m')}\n"})
    svc.run("up", "-d")
    first = rows(svc)["web"]
    svc.run("restart", "-t", "0.2")
    again = rows(svc)["web"]
    assert (first["status"], again["status"], again["id"]) == ("running", "running", first["id"])
    svc.run("up", "-d", "--force-recreate", "-t", "0.2")
    assert rows(svc)["web"]["id"] != first["id"]
    svc.write({"compose.yaml": f"name: shop\nservices:\n  db: {service(SERVE)}\n"})
    svc.run("up", "-d", "--remove-orphans", "-t", "0.2")
    assert states(svc) == {"db": "running"}
    svc.write({"compose.yaml": f"name: shop\nservices:\n  web: {service(DEAF).replace('20s', '10m')}\n"})
    svc.run("up", "-d")
    svc.run("down", "--timeout=0", "-p", "shop")
    assert states(svc) == {}
    for command in (("up", "-t", "soon"), ("down", "-t", "soon"), ("restart", "-t", "")):
        assert svc.run(*command, ok=False).returncode == 2, command
    with in_foreground(svc, "-t", "0.2") as up:
        until(lambda: states(svc) == {"web": "running"} and "ready" in log(svc, "web"))
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=200)
    assert up.returncode == 130


def test_the_order_of_dependencies_and_their_conditions(svc: World) -> None:
    """Each says in a file that all share what it saw when it started."""
    share = "volumes: ['./share:/share']"
    svc.write({"share/.keep": ""})
    os.chmod(svc.project / "share", 0o777)
    compose(
        svc,
        web=service(
            f"ls /share; {SERVE}", share, waits(db="healthy", migrate="completed_successfully", cache="started")
        ),
        migrate=service("ls /share; sleep 0.3; touch /share/migrated", share, waits(db="healthy")),
        db=service(f"sleep 0.4; touch /share/db /up; {SERVE}", share, HEALTHY),
        cache=service(SERVE),
    )
    svc.run("up", "-d")
    until(lambda: "ready" in log(svc, "web"))
    assert log(svc, "migrate").split() == ["db"]
    assert log(svc, "web").split() == ["db", "migrated", "ready"]
    assert states(svc) == {"web": "running", "migrate": "exited", "db": "running", "cache": "running"}
    assert rows(svc)["db"]["health"]["status"] == "healthy"


def test_an_image_that_was_never_run_before(svc: World) -> None:
    """Nor is it anything new that what was remembered of an image is gone."""
    svc.write({"Dockerfile": "FROM busybox\nLABEL a=b\nEXPOSE 80\nRUN echo never > /run-before\n"})
    svc.run("build", "-t", "fresh", "--build-context=busybox=oci-layout://" + str(svc.env["BASE"]), ".")
    compose(svc, web=service(SERVE, image="fresh"))
    assert "web: started" in svc.run("up", "-d").stderr
    assert "web: runs as it is to be" in svc.run("up", "-d").stderr
    for memo in (svc.store / "memo").glob("run-*"):
        memo.unlink()
    assert "web: runs as it is to be" in svc.run("up", "-d").stderr


def test_only_what_changed_is_replaced(svc: World) -> None:
    svc.write({"app/Dockerfile": "FROM busybox\nCOPY text /text\n", "app/text": "one\n"})
    build = "build: {context: app, additional_contexts: {busybox: 'oci-layout://" + str(svc.env["BASE"]) + "'}}"
    web = "{" + build + f', command: [sh, -c, "cat /text; {SERVE}"]' + ", depends_on: [db], stop_grace_period: 20s}"
    compose(svc, web=web, db=service(SERVE), tools=service(SERVE, waits(db="started"), "hostname: a"))
    svc.run("up", "-d")
    before = rows(svc)
    svc.write({"app/text": "two\n"})
    said = svc.run("up", "-d").stderr
    assert "web: replaced" in said
    assert "db: runs as it is to be" in said
    after = rows(svc)
    assert after["web"]["id"] != before["web"]["id"]
    assert [after[name]["started"] for name in ("db", "tools")] == [before[name]["started"] for name in ("db", "tools")]
    until(lambda: "ready" in log(svc, "web"))
    assert log(svc, "web") == "two\nready\n"
    compose(svc, web=web, db=service(SERVE), tools=service(SERVE, waits(db="started"), "hostname: b"))
    said = svc.run("up", "-d").stderr
    assert "tools: replaced" in said
    assert rows(svc)["web"]["id"] == after["web"]["id"]
    # One alone, with what it depends on; nothing else is looked at.
    compose(svc, web=web, db=service(SERVE, "user: '0'"), tools=service(SERVE, waits(db="started"), "hostname: c"))
    said = svc.run("up", "-d", "web").stderr
    assert "db: replaced" in said
    assert "tools" not in said
    said = svc.run("up", "-d", "--force-recreate", "--no-build", "db", ok=True).stderr
    assert said == "db: replaced\n"


def test_who_depends_on_one_that_is_replaced_is_restarted_if_it_says_so(svc: World) -> None:
    def write(text: str) -> None:
        bound = "depends_on: {db: {condition: service_started, restart: true}}"
        compose(svc, db=service(SERVE, f"environment: {{A: {text}}}"), web=service(SERVE, bound), other=service(SERVE))

    write("one")
    svc.run("up", "-d")
    before = rows(svc)
    write("two")
    said = svc.run("up", "-d").stderr
    assert "web: restarted" in said
    after = rows(svc)
    assert after["web"]["id"] == before["web"]["id"]
    assert after["web"]["started"] > before["web"]["started"]
    assert after["other"]["started"] == before["other"]["started"]
    assert svc.run("restart", "db").stderr.split() == ["db:", "restarted", "web:", "restarted"]
    assert rows(svc)["web"]["started"] > after["web"]["started"]
    assert svc.run("restart", "-p", "shop", "other").stderr == "other: restarted\n"
    wrong = svc.run("restart", "nobody", ok=False)
    assert wrong.returncode == 2
    assert "the project `shop` has no container of a service `nobody`" in wrong.stderr


def test_in_the_foreground(svc: World) -> None:
    compose(
        svc,
        web=service(f"echo to-err >&2; {SERVE}", waits(db="started")),
        db=service(SERVE),
    )
    with in_foreground(svc) as up:
        until(lambda: states(svc) == {"web": "running", "db": "running"})
        until(lambda: "ready" in log(svc, "web"))
        up.send_signal(signal.SIGINT)
        out, err = up.communicate(timeout=60)
    assert up.returncode == 130
    lines = out.splitlines()
    assert sorted(lines[:2]) == ["db  | ready", "web | ready"]
    # What others depend on ends last.
    assert lines[2:] == ["web | bye", "db  | bye"]
    assert "web | to-err" in err
    assert err.splitlines()[-2:] == ["web: ended", "db: ended"]
    assert states(svc) == {"web": "exited", "db": "exited"}
    assert all(one["code"] == 0 for one in rows(svc).values())


def test_a_second_signal_kills(svc: World) -> None:
    compose(svc, web=service(f"trap '' TERM; echo ready; {LOOP}"))
    with in_foreground(svc) as up:
        until(lambda: states(svc) == {"web": "running"} and "ready" in log(svc, "web"))
        up.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert up.poll() is None
        assert states(svc) == {"web": "running"}
        up.send_signal(signal.SIGINT)
        _, err = up.communicate(timeout=15)
    assert up.returncode == 143
    assert "killing what is left" in err
    assert rows(svc)["web"]["code"] == 137


def test_when_nobody_reads_any_more_all_are_ended(svc: World) -> None:
    chatty = "trap 'exit 0' TERM; while :; do echo more; sleep 0.05; done"
    compose(svc, web=service(chatty), db=service(SERVE))
    with in_foreground(svc, errors=svc.top / "errors") as up:
        assert up.stdout is not None
        assert up.stdout.readline().startswith(("web | more", "db  | ready"))
        until(lambda: states(svc) == {"web": "running", "db": "running"})
        up.stdout.close()
        assert up.wait(60) == 141
    assert states(svc) == {"web": "exited", "db": "exited"}
    # Neither at the messages of pybuild itself.
    command = subprocess.list2cmdline(svc.command("up"))
    script = f"{command} 2>&1 | head -n 1"
    subprocess.run(["sh", "-c", script], cwd=svc.project, env=svc.environment(), check=True, capture_output=True)
    until(lambda: states(svc) == {"web": "exited", "db": "exited"})


def test_a_dependency_that_one_can_do_without(svc: World) -> None:
    without = "depends_on: {db: {condition: service_healthy, required: false}}"
    never = "healthcheck: {test: 'exit 1', interval: 100ms, retries: 2}"
    compose(svc, web=service(SERVE, without), db=service(SERVE, never))
    said = svc.run("up", "-d").stderr
    assert "web: goes on without what it would have liked: `web` waits for `db` to be healthy, and it is un" in said
    assert states(svc) == {"web": "running", "db": "running"}


def test_colours_and_what_is_ended_by_itself(svc: World) -> None:
    compose(svc, a=service("echo one; printf 'no newline'"), b=service("printf 'x\\033[2J\\n'; exit 3"))
    done = svc.run("up", FORCE_COLOR="1")
    assert sorted(done.stdout.splitlines()) == [
        "\x1b[33mb |\x1b[0m x\\x1b[2J",
        "\x1b[36ma |\x1b[0m no newline",
        "\x1b[36ma |\x1b[0m one",
    ]
    assert "b: ended (code 3)" in done.stderr
    again = svc.run("up", NO_COLOR="1", FORCE_COLOR="1").stdout
    assert sorted(again.splitlines()) == ["a | no newline", "a | one", "b | x\\x1b[2J"]


def test_the_exit_code_of_one(svc: World) -> None:
    compose(svc, tests=service("echo testing; exit 7", waits(db="healthy")), db=service(f"touch /up; {SERVE}", HEALTHY))
    done = svc.run("up", "--exit-code-from=tests", ok=False)
    assert done.returncode == 7
    assert "tests | testing" in done.stdout
    assert states(svc) == {"tests": "exited", "db": "exited"}


@pytest.mark.parametrize("detached", [True, False])
def test_one_that_never_becomes_healthy(svc: World, detached: bool) -> None:
    never = "healthcheck: {test: 'echo not yet; exit 1', interval: 100ms, retries: 2}"
    compose(svc, web=service(SERVE, waits(db="healthy")), db=service(f"echo starting; {SERVE}", never))
    done = svc.run("up", *["-d"] * detached, ok=False)
    assert done.returncode == 1
    message = done.stderr[done.stderr.index("error:") :]
    assert message.startswith("error: compose.yaml:3:")
    assert "`web` waits for `db` to be healthy, and it is unhealthy" in message
    for line in ("note: not yet", "note: the last lines of shop-db-1:", "note: starting", "note: ready"):
        assert line in message
    assert "hint: `pybuild logs shop-db-1` shows all that it wrote" in message
    # In the background it is left to be looked at, in the foreground all are ended.
    assert states(svc) == {"db": "running" if detached else "exited"}


def test_one_that_is_not_healthy_in_time(svc: World) -> None:
    slow = "healthcheck: {test: 'exit 1', interval: 100ms, retries: 100000}"
    compose(svc, web=service(SERVE, waits(db="healthy")), db=service(SERVE, slow))
    done = svc.run("up", "-d", "--wait-timeout=1", ok=False)
    assert done.returncode == 1
    assert "`web` waits for `db` to be healthy, and that did not come in 1 seconds" in done.stderr
    compose(svc, db=service(SERVE, slow))
    done = svc.run("up", "--wait", "--wait-timeout=1", ok=False)
    assert "`db` is not healthy after 1 seconds" in done.stderr


def test_one_that_ends_too_early(svc: World) -> None:
    compose(
        svc,
        web=service(SERVE, waits(migrate="completed_successfully")),
        migrate=service("echo cannot migrate; exit 9"),
    )
    done = svc.run("up", "-d", ok=False)
    assert done.returncode == 1
    assert "`web` waits for `migrate` to end well, and it ended with the code 9" in done.stderr
    assert "note: cannot migrate" in done.stderr
    compose(svc, web=service(SERVE, waits(db="healthy")), db=service("echo gone; exit 4", HEALTHY))
    done = svc.run("up", "-d", "--remove-orphans", ok=False)
    assert "to be healthy, and it ended with the code 4" in done.stderr
    assert set(states(svc)) == {"db"}
    compose(svc, web=service(SERVE, waits(db="healthy")), db=service(SERVE))
    done = svc.run("up", "-d", ok=False)
    assert done.returncode == 3
    assert "`web` waits for `db` to be healthy, and nobody checks that" in done.stderr


def test_waiting_until_all_are_healthy(svc: World) -> None:
    compose(svc, db=service(f"sleep 0.5; touch /up; {SERVE}", HEALTHY), once=service("exit 0"))
    svc.run("up", "--wait")
    assert rows(svc)["db"]["health"]["status"] == "healthy"


def test_what_cannot_be_started(svc: World) -> None:
    compose(
        svc, web=service(SERVE, waits(db="started")), db="{image: svc, command: [/nothing/here], stop_grace_period: 1s}"
    )
    done = svc.run("up", "-d", ok=False)
    assert done.returncode == 127
    assert "error: compose.yaml:4:3: `/nothing/here` cannot be started: no such file or directory" in done.stderr
    assert {name: (one["status"], one["code"]) for name, one in rows(svc).items()} == {"db": ("exited", 127)}
    compose(svc, db=service(SERVE, "user: nobody-at-all"))
    done = svc.run("up", "-d", ok=False)
    assert done.returncode == 6
    assert "error: compose.yaml:3:3: " in done.stderr
    assert "nobody-at-all" in done.stderr


def test_a_mistake_shows_its_line(svc: World) -> None:
    compose(svc, web="{image: svc, prots: [80]}")
    done = svc.run("up", ok=False)
    assert done.returncode == 3
    assert done.stderr == (
        "error: compose.yaml:3:21: `prots` is no key of the service `web`\n"
        "    web: {image: svc, prots: [80]}\n"
        "                      ^^^^^^\n\n"
        "hint: did you mean `ports`?\n"
    )
    compose(svc, a=service(SERVE, "depends_on: [b]"), b=service(SERVE, "depends_on: [a]"))
    done = svc.run("up", ok=False)
    assert (done.returncode, "services wait for each other: `a` → `b` → `a`" in done.stderr) == (3, True)
    assert svc.run("up", "nobody", ok=False).returncode == 2
    assert svc.run("up", "-f", "gone.yaml", ok=False).returncode == 4


SECRETS = """
secrets: {token: {file: token}, password: {environment: PASSWORD}}
configs: {inline: {content: "port = ${PORT:-80}\\n"}}
volumes: {data: }
"""


def test_volumes_secrets_and_configs(svc: World) -> None:
    svc.write({"token": "hush\n", "conf/a": "from-here\n"})
    script = "cd /run/secrets; cat token password /etc/inline /conf/a; ls -l owned; echo x >> /data/x; cat /data/x"
    owned = "{source: token, target: owned, uid: '5', mode: 0400}"
    more = (
        f"secrets: [token, password, {owned}], configs: [{{source: inline, target: /etc/inline}}]",
        "volumes: ['data:/data', './conf:/conf:ro', './made/here:/made', '/anonymous']",
    )
    compose(svc, web=service(script, *more))
    with (svc.project / "compose.yaml").open("a") as file:
        file.write(SECRETS)
    done = svc.run("up", PASSWORD="secret\n")
    lines = [line.removeprefix("web | ") for line in done.stdout.splitlines()]
    assert lines[:4] == ["hush", "secret", "port = 80", "from-here"]
    assert lines[4].split()[:3] == ["-r--------", "1", "5"]
    assert lines[5:] == ["x"]
    assert (svc.project / "made" / "here").is_dir()
    # They outlive their containers, until `down -v`.
    svc.run("down")
    assert svc.run("up", PASSWORD="secret\n").stdout.splitlines()[-2:] == ["web | x", "web | x"]
    assert svc.run("volume", "ls", "-q").stdout.split() == ["shop_data", unnamed_volume("shop", "web", "/anonymous")]
    missing = svc.run("up", ok=False)
    assert (missing.returncode, "error: compose.yaml:5:" in missing.stderr) == (3, True)
    assert "`/run/secrets/password` is to come from `$PASSWORD`, which is not set" in missing.stderr
    said = svc.run("down", "-v", "-p", "shop").stderr
    assert "the volume shop_data was removed" in said
    assert svc.run("volume", "ls", "-q").stdout == ""


def test_external_volumes_and_sources_that_are_not_there(svc: World) -> None:
    compose(svc, web=service("true", "volumes: ['theirs:/x']"))
    with (svc.project / "compose.yaml").open("a") as file:
        file.write("volumes: {theirs: {external: true}}\n")
    done = svc.run("up", ok=False)
    assert (done.returncode, "the volume `theirs` is external" in done.stderr) == (2, True)
    compose(
        svc, web=service("true", "volumes: [{type: bind, source: ./gone, target: /x, bind: {create_host_path: false}}]")
    )
    done = svc.run("up", ok=False)
    assert (done.returncode, "error: compose.yaml:3:" in done.stderr, "/gone`" in done.stderr) == (3, True, True)


BUILDFILE = """
from buildkit_py import Image, target


@target
def web(word: str = "default") -> Image:
    return Image("busybox").run(f"echo {word} > /word")
"""


def test_builds_in_other_forms(svc: World) -> None:
    base = f"additional_contexts: {{busybox: 'oci-layout://{svc.env['BASE']}'}}, context: ."
    inline = r"dockerfile_inline: 'FROM busybox\n\nARG A=inline\n\nRUN echo $$A > /word'".replace(r"\n", "\n\n")
    svc.write({"Buildfile.py": BUILDFILE})
    compose(
        svc,
        inline=f"{{build: {{{inline}, {base}}}, command: cat /word}}",
        tagged=f"{{image: 'mine:dev', build: {{{inline}, args: [A=arg], {base}}}, command: cat /word}}",
        ours=f"{{build: {{dockerfile: Buildfile.py, target: web, args: {{word: ours}}, {base}}}, command: cat /word}}",
    )
    done = svc.run("up")
    assert sorted(done.stdout.splitlines()) == ["inline | inline", "ours   | ours", "tagged | arg"]
    assert "mine" in svc.run("images").stdout
    # What is there is taken, and nothing else is.
    before = rows(svc)["tagged"]["id"]
    assert svc.run("up", "--no-build", "tagged").stdout == "tagged | arg\n"
    assert rows(svc)["tagged"]["id"] == before  # it is the image that was built
    svc.run("up", "tagged")
    assert rows(svc)["tagged"]["id"] == before
    done = svc.run("up", "--no-build", ok=False)
    assert (done.returncode, "`shop-inline` of `inline` is not here" in done.stderr) == (3, True)


def test_images_that_cannot_be_had(svc: World) -> None:
    compose(svc, gone="{build: ./nowhere}")
    done = svc.run("up", ok=False)
    assert (done.returncode, "there is no directory" in done.stderr) == (3, True)
    svc.write({"bad/Dockerfile": "FROM svc\nRUN exit 5\n"})
    compose(svc, gone="{build: ./bad}")
    assert svc.run("up", "-d", ok=False).returncode == 1
    compose(svc, gone="{image: 'localhost:1/none:1', pull_policy: never}")
    done = svc.run("up", "-d", ok=False)
    assert (done.returncode, "compose.yaml:3:" in done.stderr) == (4, True)
    assert "hint: `pybuild pull localhost:1/none:1` fetches it; so does another `pull_policy`" in done.stderr
    assert "--offline" not in done.stderr
    assert states(svc) == {}


def test_watching(svc: World) -> None:
    svc.write({"app/Dockerfile": "FROM busybox\nCOPY text /text\n", "app/text": "one\n"})
    build = f"build: {{context: app, additional_contexts: {{busybox: 'oci-layout://{svc.env['BASE']}'}}}}"
    web = f'{{{build}, command: [sh, -c, "cat /text; {SERVE}"], stop_grace_period: 20s}}'
    compose(svc, web=web, db=service(SERVE))
    errors = svc.top / "errors"
    with in_foreground(svc, "--watch", errors=errors) as up:
        until(lambda: states(svc) == {"web": "running", "db": "running"} and "ready" in log(svc, "web"))
        db = rows(svc)["db"]["id"]
        svc.write({"app/text": "two\n"})
        until(lambda: "web" in states(svc) and "two\nready" in log(svc, "web"))
        # A mistake is said, and mended.
        svc.write({"app/Dockerfile": "FRM busybox\n"})
        until(lambda: "unknown instruction" in errors.read_text())
        assert "two" in log(svc, "web")
        svc.write({"app/Dockerfile": "FROM busybox\nCOPY text /text\nRUN echo three > /text\n"})
        until(lambda: "web" in states(svc) and "three\nready" in log(svc, "web"))
        assert rows(svc)["db"]["id"] == db
        compose(svc, web=web, db=service(SERVE, "hostname: other"), new=service(SERVE))
        until(lambda: states(svc).get("new") == "running" and "ready" in log(svc, "new"))
        assert rows(svc)["db"]["id"] != db
        up.send_signal(signal.SIGINT)
        out, _ = up.communicate(timeout=60)
    assert up.returncode == 130
    assert set(states(svc).values()) == {"exited"}
    assert "app/text changed" in errors.read_text()
    for line in ("web | one", "web | two", "web | three", "new | ready"):
        assert line in out


def test_a_port_that_is_taken(svc: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        compose(svc, db=service(SERVE), web=service(SERVE, f"ports: ['{port}:80']", waits(db="started")))
        done = svc.run("up", ok=False)
        assert done.returncode == 2
        assert "error: compose.yaml:4:3: " in done.stderr
        assert f"127.0.0.1:{port}/tcp is taken by" in done.stderr
        # What had been started is ended.
        assert states(svc)["db"] == "exited"
        done = svc.run("up", "-d", ok=False)
        assert done.returncode == 2
        assert states(svc)["db"] == "running"
        # What another one had started is not.
        done = svc.run("up", ok=False)
        assert (done.returncode, "hint: publish another, as `HOST:80`, or `80` for" in done.stderr) == (2, True)
        assert states(svc)["db"] == "running"
    svc.run("up", "-d")
    assert states(svc)["web"] == "running"
    assert rows(svc)["web"]["ports"][0]["host_port"] == port
    # Its own port is no hindrance to the one that takes its place.
    ports = f"ports: ['{port}:80']"
    compose(svc, db=service(SERVE), web=service(SERVE, ports, waits(db="started"), "hostname: other"))
    assert "web: replaced" in svc.run("up", "-d").stderr


def test_services_find_each_other_by_name(svc: World) -> None:
    """Also what starts before the one that it asks for, by service, container and alias, and after a replacement."""

    def write(text: str) -> None:
        ask = f"for name in db shop-db-1 other; do until {hear('$$name 5432', 1)}; do sleep 0.1; done; done"
        serve = f"while :; do echo {text} | nc -l -p 5432; done"
        alone = f"if {hear('db 5432', 1)}; then echo reached; else echo apart; fi"
        compose(
            svc,
            first=service(f"{ask}; {SERVE}"),
            db=service(serve, "networks: {default: {aliases: [other]}}", "init: true"),
            last=service(f"{ask}; {SERVE}", waits(db="started")),
            apart=service(f"{alone}; {SERVE}", waits(db="started"), "networks: [elsewhere]"),
            host=service(f"{alone}; {SERVE}", waits(db="started"), "network_mode: none"),
        )
        with (svc.project / "compose.yaml").open("a") as file:
            file.write("networks: {elsewhere: }\n")

    write("one")
    svc.run("up", "-d")
    until(lambda: all("ready" in log(svc, name) for name in ("first", "last", "apart", "host")))
    assert log(svc, "first") == log(svc, "last") == "one\none\none\nready\n"
    assert log(svc, "apart") == log(svc, "host") == "apart\nready\n"
    write("two")
    assert "first: runs as it is to be" in svc.run("up", "-d").stderr
    ask = f"until {hear('db 5432', 1)}; do sleep 0.1; done"
    assert svc.run("exec", "shop-first-1", "sh", "-c", ask).stdout == "two\n"
    svc.run("restart", "db")
    assert svc.run("exec", "shop-first-1", "sh", "-c", ask).stdout == "two\n"
    svc.run("down")
    assert not (svc.store / "networks").exists() or os.listdir(svc.store / "networks") == []
