"""The network of a project: who finds whom by which name, and what is left when they are gone."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from buildkit_py.runner import control
from buildkit_py.runner.shared_network import greeting, sit
from buildkit_py.sandbox.network.plan import SERVICES
from tests.behaviour.containers import LOOP, begin, hear, listed, log, named, removed_at_the_end, sh, supervisors, until
from tests.behaviour.test_ports import free_port, said
from tests.behaviour.world import World
from tests.needs import need, need_way_out

SERVE = "while :; do echo hello of $(hostname) | nc -l -p 80 >/dev/null; done"
SHOP = "--network=project:shop"


@pytest.fixture
def svc(svc: World) -> Iterator[World]:
    need_way_out(svc.mode)
    svc.env["PYBUILD_NETWORK"] = ""
    with removed_at_the_end(svc):
        yield svc
    until(lambda: not networks(svc))


def networks(world: World) -> list[int]:
    """The processes that have networks of projects of this world."""
    return named(world, "pybuild-network")


def asks(name: str) -> str:
    return f"until {hear(f'{name} 80')}; do sleep 0.1; done"


def test_they_find_each_other_by_name(svc: World) -> None:
    sh(svc, "shop-db", SERVE, SHOP, "--network-alias=db", "-h", "database")
    sh(svc, "shop-web", f"{asks('db')}; {asks('shop-db')}; {LOOP}", SHOP)
    until(lambda: log(svc, "shop-web") == "hello of database\n" * 2)
    sh(svc, "stranger", f"nc -w 1 10.219.64.0 80 </dev/null || echo nothing; cat /etc/hosts; {LOOP}")
    until(lambda: "nothing" in log(svc, "stranger"))
    assert "10.219." not in log(svc, "stranger")


def test_its_own_name_leads_to_where_the_others_reach_it(svc: World) -> None:
    """As what listens at, or tells others of, the address of its host name wants it."""
    sh(svc, "shop-db", f"hostname -i; {LOOP}", SHOP, "-h", "db")
    find = "while read address name; do [ $name = shop-db ] && echo $address; done </etc/hosts"
    sh(svc, "shop-web", f"{find}; {LOOP}", SHOP)
    own = until(lambda: log(svc, "shop-db"))
    assert own.startswith("10.")
    assert until(lambda: log(svc, "shop-web")) == own


def test_one_that_is_started_again_has_its_address_again(svc: World) -> None:
    sh(svc, "db", SERVE, SHOP, "-h", "db")
    sh(svc, "web", f"while :; do {hear('db 80', 1)}; sleep 0.1; done", SHOP)
    until(lambda: "hello of db" in log(svc, "web"))
    for command in (("stop", "-t", "0", "db"), ("start", "db")):
        svc.run(*command)
    before = log(svc, "web").count("hello")
    until(lambda: log(svc, "web").count("hello") > before + 2)
    # With all of them stopped the network ends; the next start makes it anew.
    svc.run("stop", "-t", "0", "db", "web")
    until(lambda: not networks(svc))
    before = log(svc, "web").count("hello")
    svc.run("start", "web")
    svc.run("start", "db")
    until(lambda: log(svc, "web").count("hello") > before)


def test_they_reach_out_and_are_published(svc: World) -> None:
    port = free_port()
    sh(svc, "web", SERVE, SHOP, "-h", "web", "-p", f"{port}:80")
    assert until(lambda: said(port)) == "hello of web\n"
    assert svc.run("exec", "web", "ip", "-4", "route").stdout.startswith("default via 10.")


def test_two_projects_are_apart(svc: World) -> None:
    for project in ("one", "two"):
        sh(svc, f"{project}-db", SERVE, f"--network=project:{project}", "--network-alias=db", "-h", project)
        sh(svc, f"{project}-web", f"{asks('db')}; {LOOP}", f"--network=project:{project}")
    for project in ("one", "two"):
        assert until(lambda project=project: log(svc, f"{project}-web")) == f"hello of {project}\n"


def test_a_network_that_is_killed_ends_its_containers_and_says_so(svc: World) -> None:
    sh(svc, "gone", LOOP, SHOP)
    sh(svc, "again", SERVE, SHOP, "--restart=always", "-h", "again")
    (network,) = networks(svc)
    os.kill(network, signal.SIGKILL)
    until(lambda: listed(svc, "gone")["status"] == "exited")
    assert listed(svc, "gone")["problem"] == "the network of its project has ended"
    until(lambda: listed(svc, "again")["restarts"] > 0 and listed(svc, "again")["status"] == "running")
    sh(svc, "web", f"{asks('again')}; {LOOP}", SHOP)
    assert until(lambda: log(svc, "web")) == "hello of again\n"


def test_one_that_is_removed_leaves_the_network(svc: World) -> None:
    sh(svc, "one", "exit 0", SHOP, "--rm")
    sh(svc, "two", LOOP, SHOP)
    until(lambda: not [line for line in svc.run("ps", "-a").stdout.splitlines() if "one" in line])
    svc.run("rm", "-f", "two")
    until(lambda: not (svc.store / "networks" / "shop").exists())
    until(lambda: not supervisors(svc) and not networks(svc))


def test_one_that_came_from_elsewhere_keeps_its_seat_over_a_down(svc: World) -> None:
    svc.write({"compose.yaml": "name: shop\nservices: {web: {image: svc, command: sleep 1000}}\n"})
    svc.run("up", "-d")
    sh(svc, "out", LOOP, SHOP)
    svc.run("down", "-t", "0")
    assert b"out" in (svc.store / "networks" / "shop" / "members").read_bytes()


def test_several_that_begin_at_once(svc: World) -> None:
    """One of them makes the network; of an ordinary user's the others go to its user namespace."""
    names = [f"shop-{number}" for number in range(5)]
    started = [begin(svc, "run", "-d", f"--name={name}", SHOP, "svc", "sh", "-c", LOOP) for name in names]
    for one in started:
        _, said = one.communicate(timeout=120)
        assert one.returncode == 0, said
    assert len(networks(svc)) == 1


def test_a_seat_is_for_who_asked_for_it(svc: World) -> None:
    """Who goes before it has one leaves a descriptor's number to the next, and not the seat."""
    if os.geteuid() != 0:
        pytest.skip("only root looks into a container's network from outside")
    need("nsenter", "ip")
    sh(svc, "one", LOOP, SHOP)
    for number in range(40, 60):
        with connection(svc) as gone:
            control.send(gone, "sit", SERVICES + number)
        with connection(svc) as network:
            seat = sit(network, SERVICES + number + 100)
            command = ["nsenter", f"--net=/proc/self/fd/{seat.fd}", "ip", "-4", "-o", "addr", "show", "dev", "eth0"]
            shown = subprocess.run(command, pass_fds=[seat.fd], capture_output=True, text=True, check=True).stdout
            os.close(seat.fd)
            assert seat.address(SERVICES + number + 100) in shown


def connection(world: World) -> control.Socket:
    """One to the network of the project `shop`, which has said how it is."""
    network = control.connect(str(world.store / "networks" / "shop"))
    assert network is not None
    pidfd, _ = greeting(network)
    os.close(pidfd)
    return network


def test_what_is_asked_for_wrongly(svc: World) -> None:
    for options, message in (
        (("--network=projct:x",), "`--network projct:x` is no network"),
        (("--network=project:",), "is no network"),
        (("--network=project:a/b", "-d"), "`a/b` cannot be the name of a project"),
        ((SHOP,), "for containers in the background"),
        (("--network-alias=x", "-d"), "is for the network of a project"),
        (("--network-alias=x\n6.6.6.6 evil", "-d", SHOP), r"'x\n6.6.6.6 evil' cannot be a name in a network"),
        (("--network-alias=a b", "-d", SHOP), "'a b' cannot be a name in a network"),
        (("--network-alias=#a", "-d", SHOP), "'#a' cannot be a name in a network"),
        (("--network-alias=", "-d", SHOP), "'' cannot be a name in a network"),
        (("--network-alias=a\udcff", "-d", SHOP), r"'a\udcff' cannot be a name in a network"),
    ):
        done = svc.run("run", *options, "svc", "true", ok=False)
        assert done.returncode == 125
        assert message in done.stderr
