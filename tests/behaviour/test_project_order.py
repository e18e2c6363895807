"""What `pybuild up` and `down` do in which order, and what they find wrong before they do anything."""

from __future__ import annotations

import signal
import time

import pytest

from tests.behaviour.containers import LOOP, begin, until
from tests.behaviour.projects import SERVE, compose, in_foreground, rows, service, states
from tests.behaviour.test_ports import free_port
from tests.behaviour.test_projects import svc, waits
from tests.behaviour.world import World

__all__ = ["svc"]
NEVER = "healthcheck: {test: 'exit 1', interval: 100ms, retries: 100000}"
FAILS = "healthcheck: {test: 'exit 1', interval: 100ms, retries: 2}"


def would_like(name: str, condition: str) -> str:
    return f"{name}: {{condition: service_{condition}, required: false}}"


def test_containers_that_were_started_after_each_other_end(svc: World) -> None:
    """Each was made at another time, when the files had another order."""
    compose(svc, web=service(SERVE, waits(db="started")), db=service(SERVE))
    svc.run("up", "-d")
    after = f"depends_on: {{{would_like('web', 'started')}}}"
    compose(svc, web=service(SERVE, "profiles: [other]"), db=service(SERVE, after))
    svc.run("up", "-d")
    assert states(svc) == {"web": "running", "db": "running"}
    svc.run("down")
    assert states(svc) == {}


def test_who_comes_after_others_than_before_is_replaced(svc: World) -> None:
    """The order in which all end is what their containers know of it."""
    compose(svc, web=service(SERVE), db=service(SERVE))
    svc.run("up", "-d")
    before = rows(svc)
    compose(svc, web=service(SERVE, waits(db="started")), db=service(SERVE))
    said = svc.run("up", "-d").stderr
    assert ("web: replaced" in said, "db: runs as it is to be" in said) == (True, True)
    assert rows(svc)["db"]["id"] == before["db"]["id"]
    compose(svc, web=service(SERVE, waits(db="started"), "labels: {a: b}"), db=service(SERVE))
    assert "web: replaced" in svc.run("up", "-d").stderr
    assert rows(svc)["web"]["labels"] == {"a": "b"}


def test_in_which_order_others_are_named_is_nothing(svc: World) -> None:
    others = {name: service(SERVE) for name in ("a", "b")}
    compose(svc, web=service(SERVE, "depends_on: [a, b]"), **others)
    svc.run("up", "-d")
    compose(svc, web=service(SERVE, "depends_on: [b, a]"), **others)
    assert "web: runs as it is to be" in svc.run("up", "-d").stderr


def test_going_on_without_one_is_said_once(svc: World) -> None:
    conditions = f"depends_on: {{{would_like('db', 'healthy')}, job: {{condition: service_completed_successfully}}}}"
    compose(svc, web=service(SERVE, conditions), db=service(SERVE, FAILS), job=service("sleep 1"))
    said = svc.run("up", "-d").stderr
    assert said.count("web: goes on without what it would have liked") == 1
    assert states(svc) == {"web": "running", "db": "running", "job": "exited"}


def test_nobody_waits_longer_for_what_it_would_have_liked(svc: World) -> None:
    compose(svc, web=service(SERVE, f"depends_on: {{{would_like('db', 'healthy')}}}"), db=service(SERVE, NEVER))
    said = svc.run("up", "-d", "--wait-timeout=1").stderr
    assert "web: goes on without what it would have liked: `web` waits for `db` to be healthy, and that did" in said
    assert states(svc) == {"web": "running", "db": "running"}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("cap_add: [NOPE]", "`NOPE` is no capability"),
        ("stop_signal: NEVER", "`NEVER` is no signal"),
        ("security_opt: ['apparmor:x']", "is not understood"),
        ("secrets: [gone]", "`/run/secrets/gone` is to come from `$PYBUILD_TEST_GONE`, which is not set"),
    ],
)
def test_mistakes_are_found_before_anything_is_done(svc: World, keys: str, said: str) -> None:
    compose(svc, db=service(SERVE), web=service(SERVE, waits(db="started"), keys))
    with (svc.project / "compose.yaml").open("a") as file:
        file.write("secrets: {gone: {environment: PYBUILD_TEST_GONE}}\n")
    done = svc.run("up", "-d", ok=False)
    assert said in done.stderr
    assert "error: compose.yaml:" in done.stderr
    assert states(svc) == {}


def test_volumes_that_nothing_knows_any_more_are_not_removed_in_silence(svc: World) -> None:
    compose(svc, db=service(f"echo x > /data/x; {SERVE}", "volumes: ['data:/data']"))
    with (svc.project / "compose.yaml").open("a") as file:
        file.write("volumes: {data: }\n")
    svc.run("up", "-d")
    svc.run("down", "-p", "shop")
    done = svc.run("down", "-v", "-p", "shop")
    assert "no container is left that knows the volumes of `shop`: none was removed" in done.stderr
    assert "shop_data" in svc.run("volume", "ls").stdout
    assert "the volume shop_data was removed" in svc.run("down", "-v").stderr


def test_commands_at_once(svc: World) -> None:
    """One after the other: what the one has just removed, or made, is no failure of the other."""
    keys = "network_mode: none"
    compose(svc, a=service(SERVE, keys), b=service(SERVE, keys, "depends_on: [a]"), c=service(SERVE, keys))
    for commands in ((("up", "-d"),) * 2, (("down",),) * 2):
        started = [begin(svc, *command) for command in commands]
        for one in started:
            _, said = one.communicate(timeout=120)
            assert one.returncode == 0, said
    assert states(svc) == {}


def test_a_volume_that_another_one_has_stays_and_the_others_go(svc: World) -> None:
    svc.run("run", "-d", "--name=other", "-v", "shared:/v", "svc", "sh", "-c", SERVE)
    compose(svc, a=service("true", "network_mode: none", "volumes: ['theirs:/v', 'own:/own']"))
    with (svc.project / "compose.yaml").open("a") as file:
        file.write("volumes: {theirs: {name: shared}, own: }\n")
    svc.run("up")
    done = svc.run("down", "-v", ok=False)
    assert (done.returncode, "the volume `shared` is in use" in done.stderr) == (2, True), done.stderr
    assert svc.run("volume", "ls", "-q").stdout == "shared\n"


def test_a_volume_that_is_external_now_stays(svc: World) -> None:
    for external in ("", ", external: true"):
        compose(svc, a=service(SERVE, "network_mode: none", "volumes: ['data:/data', /unnamed]"))
        with (svc.project / "compose.yaml").open("a") as file:
            file.write(f"volumes: {{data: {{name: keep{external}}}}}\n")
        svc.run("up", "-d")
    said = svc.run("down", "-v").stderr
    assert "the volume shop_a_unnamed-" in said
    assert svc.run("volume", "ls", "-q").stdout == "keep\n"


def test_signals_are_heard_while_one_is_replaced(svc: World) -> None:
    """The first keeps the next one from being made, and the second kills the one that has a minute to end in."""
    deaf = f"trap '' TERM; echo ready; {LOOP}"
    for number in range(2):
        keys = ("network_mode: none", f"labels: {{number: '{number}'}}")
        compose(svc, a=service(deaf, *keys).replace("stop_grace_period: 20s", "stop_grace_period: 1000s"))
        if number == 0:
            svc.run("up", "-d")
            until(lambda: "ready" in svc.run("logs", "shop-a-1").stdout)
    before = rows(svc)["a"]["id"]
    with in_foreground(svc) as up:
        time.sleep(2)
        up.send_signal(signal.SIGINT)
        time.sleep(0.5)
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=120)
    assert up.returncode == 130
    assert (rows(svc)["a"]["id"], rows(svc)["a"]["code"]) == (before, 137)


@pytest.mark.parametrize("order", [(), (waits(db="started"),)], ids=["together", "one after the other"])
def test_ports_that_services_exchange(svc: World, order: tuple[str, ...]) -> None:
    def ports() -> dict[str, int]:
        return {name: row["ports"][0]["host_port"] for name, row in rows(svc).items()}

    def write(one: int, other: int) -> None:
        web, db = (f"ports: ['{port}:80']" for port in (one, other))
        compose(svc, web=service(SERVE, web, *order), db=service(SERVE, db), other=service(SERVE, "ports: ['80']"))

    first, second = free_port(), free_port()
    write(first, second)
    svc.run("up", "-d")
    other = rows(svc)["other"]["id"]
    write(second, first)
    said = svc.run("up", "-d").stderr
    assert ("web: replaced" in said, "db: replaced" in said) == (True, True)
    assert (ports()["web"], ports()["db"]) == (second, first)
    assert states(svc) == {"web": "running", "db": "running", "other": "running"}
    assert rows(svc)["other"]["id"] == other
    # One that stays as it is keeps its port, whoever else wants it.
    write(second, second)
    assert f"127.0.0.1:{second}/tcp is taken by the container `shop-web-1`" in svc.run("up", "-d", ok=False).stderr
    assert (states(svc)["web"], ports()["web"]) == ("running", second)
