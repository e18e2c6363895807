"""Published ports: what is reached at them, by whom, and what is left of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.containers import LOOP, listed, log, named, removed_at_the_end, sh, supervisors, until
from tests.behaviour.world import World
from tests.needs import need, need_way_out

SERVE = "while :; do echo hello of $0 | nc -l -p 80 >/dev/null; done"

ECHO = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("0.0.0.0", 53))
while True:
    sock.sendto(*sock.recvfrom(1 << 16))
"""


@pytest.fixture
def svc(svc: World) -> Iterator[World]:
    need_way_out(svc.mode)
    svc.env["PYBUILD_NETWORK"] = ""
    with removed_at_the_end(svc):
        yield svc


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def said(port: int, address: str = "127.0.0.1") -> str:
    """What a server says to who connects; "" for nothing."""
    try:
        with socket.create_connection((address, port), 3) as sock:
            sock.settimeout(3)
            sock.shutdown(socket.SHUT_WR)
            return sock.recv(100).decode()
    except OSError:
        return ""


def end(process: subprocess.Popen[bytes]) -> None:
    """As somebody who presses Ctrl-C until it helps: a shell that is process 1 does not hear it."""

    def ended() -> bool:
        process.terminate()
        return process.poll() is not None

    until(ended)


def forwarders(world: World) -> list[int]:
    return named(world, "pybuild-ports")


def test_a_service_is_reached_until_it_ends(svc: World) -> None:
    port = free_port()
    sh(svc, "web", SERVE.replace("$0", "web"), "-p", f"{port}:80")
    assert until(lambda: said(port)) == "hello of web\n"
    assert svc.run("port", "web").stdout == f"80/tcp -> 127.0.0.1:{port}\n"
    assert svc.run("port", "web", "80").stdout == f"127.0.0.1:{port}\n"
    assert f"127.0.0.1:{port}->80/tcp" in svc.run("ps").stdout
    assert listed(svc, "web")["ports"] == [
        {"host_ip": "127.0.0.1", "host_port": port, "container_port": 80, "protocol": "tcp"}
    ]
    none = svc.run("port", "web", "81", ok=False)
    assert none.returncode == 2
    assert "the port 81/tcp of the container `web` is not published" in none.stderr
    svc.run("stop", "-t", "0", "web")
    assert said(port) == ""
    assert svc.run("port", "web").stdout == ""
    assert not forwarders(svc)
    svc.run("start", "web")
    assert until(lambda: said(port)) == "hello of web\n"


def test_its_own_ports_are_not_used_up(svc: World) -> None:
    """The client ends first, so that the forwarder's end of the other connection keeps its port: one of four, here."""
    if os.geteuid() != 0:
        pytest.skip("only root changes the sysctls of a container's network from outside")
    need("nsenter")
    port = free_port()
    sh(svc, "echo", "while :; do nc -l -p 80 -e cat; done", "-p", f"{port}:80")

    def echoed() -> bool:
        with socket.create_connection(("127.0.0.1", port), 30) as sock:
            sock.settimeout(30)
            try:
                sock.sendall(b"x")
                sock.shutdown(socket.SHUT_WR)
                return sock.recv(10) == b"x" and sock.recv(10) == b""
            except OSError:
                return False

    until(echoed)
    inside = ("nsenter", "--net", f"--target={forwarders(svc)[0]}", "sh", "-c")
    subprocess.run((*inside, "echo 40000 40003 > /proc/sys/net/ipv4/ip_local_port_range"), check=True)
    for _ in range(8):
        assert any(echoed() or threading.Event().wait(0.1) for _ in range(200)), "a port is kept for a minute"


def test_two_want_the_same_port_inside(svc: World) -> None:
    for name in ("one", "two"):
        sh(svc, name, SERVE.replace("$0", name), "-p", "80")
    ports = {name: listed(svc, name)["ports"][0]["host_port"] for name in ("one", "two")}
    for name, port in ports.items():
        assert until(lambda port=port: said(port)) == f"hello of {name}\n"


def test_a_clash_names_who_holds_the_port(svc: World) -> None:
    port = free_port()
    sh(svc, "web", LOOP, "-p", f"{port}:80")
    second = svc.run("run", "-d", "--name=other", "-p", f"{port}:80", "svc", "sleep", "9", ok=False)
    assert second.returncode == 125
    assert f"127.0.0.1:{port}/tcp is taken by the container `web`" in second.stderr
    assert "publish another, as `HOST:80`" in second.stderr
    assert svc.run("ps", "-a", "--format=name").stdout.split() == ["web"]
    in_front = svc.run("run", "-p", f"{port}:80", "svc", "true", ok=False)
    assert in_front.returncode == 125
    assert "is taken by the container `web`" in in_front.stderr
    with socket.create_server(("127.0.0.1", 0)) as mine:
        taken = mine.getsockname()[1]
        third = svc.run("run", "-p", f"{taken}:80", "svc", "true", ok=False)
        holder = "another program" if svc.mode == "user" and os.geteuid() == 0 else f"process {os.getpid()} ("
        assert f"is taken by {holder}" in third.stderr
    assert third.returncode == 125
    # One that ended lets its port go, and does not get it back while another one has it.
    svc.run("stop", "-t", "0", "web")
    sh(svc, "other", LOOP, "-p", f"{port}:80")
    again = svc.run("start", "web", ok=False)
    assert "is taken by the container `other`" in again.stderr
    assert again.returncode != 0


def test_it_stays_published_when_the_service_is_started_again(svc: World) -> None:
    port = free_port()
    sh(svc, "web", "echo once | nc -l -p 80 >/dev/null; exit 3", "-p", f"{port}:80", "--restart=always")
    for _ in range(3):
        assert until(lambda: said(port)) == "once\n"
    svc.run("rm", "-f", "web")
    assert said(port) == ""


def test_datagrams(svc: World) -> None:
    port = free_port()
    svc.write({"Buildfile": "FROM host:// AS echo\n"})
    command = ("/usr/bin/python3", "-c", ECHO)
    svc.run("run", "-d", "--name=echo", "-p", f"127.0.0.1:{port}:53/udp", "./Buildfile:echo", "--", *command)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(0.2)

        def answered() -> bytes:
            sock.send(b"are you there")
            try:
                return sock.recv(100)
            except OSError:
                return b""

        assert until(answered) == b"are you there"


def test_only_this_machine_reaches_it_unless_told_otherwise(svc: World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("203.0.113.1", 9))  # nothing is sent
        own = str(sock.getsockname()[0])
    sh(svc, "web", SERVE, "-p", "80", "-p", "0.0.0.0::80")
    here, everywhere = (port["host_port"] for port in listed(svc, "web")["ports"])
    assert until(lambda: said(here)).startswith("hello")
    assert said(here, own) == ""
    assert until(lambda: said(everywhere, own)).startswith("hello")


def test_all_that_the_image_exposes(svc: World, base_layout: Path) -> None:
    svc.write({"Dockerfile": "FROM busybox\nEXPOSE 80 81/udp\n"})
    svc.run("build", "-t", "open", f"--build-context=busybox=oci-layout://{base_layout}", ".")
    svc.run("run", "-d", "--name=all", "-P", "open", "sh", "-c", SERVE)
    rows = listed(svc, "all")["ports"]
    assert [(row["container_port"], row["protocol"]) for row in rows] == [(80, "tcp"), (81, "udp")]
    assert until(lambda: said(rows[0]["host_port"])).startswith("hello")
    svc.run("run", "-d", "--name=again", "-P", "open", "sh", "-c", SERVE)  # of what is remembered of the first run
    assert len(listed(svc, "again")["ports"]) == 2


def test_what_an_image_of_another_builder_exposes(svc: World, base_layout: Path) -> None:
    """Ports as text: nobody has looked at them before us."""
    layout = svc.project / "foreign"
    expose(base_layout, layout, ["80", "81-82/TCP", "82/tcp", "83/foo", "0/tcp", "99999/tcp", "84/sctp", "x", "9-8"])
    done = svc.run("run", "-d", "--name=all", "-P", f"oci-layout://{layout}", "sh", "-c", SERVE)
    rows = listed(svc, "all")["ports"]
    assert sorted([(row["container_port"], row["protocol"]) for row in rows]) == [(80, "tcp"), (81, "tcp"), (82, "tcp")]
    assert until(lambda: said(next(row["host_port"] for row in rows if row["container_port"] == 80)))
    for text in ("83/foo", "0/tcp", "99999/tcp", "84/sctp", "x", "9-8"):
        assert f"the image exposes `{text}`, which is not published: " in done.stderr
    assert done.stderr.count("is not published") == 6


def expose(base: Path, layout: Path, ports: list[str]) -> None:
    """Write a layout as another one, but for the ports that its image exposes."""
    shutil.copytree(base, layout)

    def blob(digest: str) -> Path:
        return layout / "blobs" / digest.replace(":", "/")

    def put(value: object) -> dict[str, object]:
        data = json.dumps(value).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        blob(digest).write_bytes(data)
        return {"digest": digest, "size": len(data)}

    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]["digest"]).read_text())
    config = json.loads(blob(manifest["config"]["digest"]).read_text())
    config["config"]["ExposedPorts"] = {port: {} for port in ports}
    manifest["config"] |= put(config)
    index["manifests"][0] |= put(manifest)
    (layout / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("options", [(), ("-p", "80")])
def test_starts_that_fail_leave_nothing(svc: World, options: tuple[str, ...]) -> None:
    """Neither processes nor descriptors: a policy of restarts may have it fail for months."""
    place = svc.project / "place"
    svc.write({"place/here": ""})
    script = "while [ -e /m/here ]; do sleep 0.05; done"
    sh(svc, "web", script, "--restart=always", "-v", f"{place}:/m", *options)
    (supervisor,) = supervisors(svc)

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{supervisor}/fd"))

    def states() -> list[str]:
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        return [Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] for child in children]

    before = descriptors()
    shutil.rmtree(place)
    until(lambda: listed(svc, "web")["restarts"] >= 5)
    assert listed(svc, "web")["problem"].startswith(f"{place}: cannot bind: ")
    until(lambda: listed(svc, "web")["status"] == "restarting" and "Z" not in states())
    assert descriptors() < before


def test_one_port_for_two(svc: World) -> None:
    port = free_port()
    for first in ("", "0.0.0.0:"):
        done = svc.run("run", "-p", f"{first}{port}:80", "-p", f"{port}:81", "svc", "true", ok=False)
        assert done.returncode == 125
        assert f"127.0.0.1:{port}/tcp is asked for twice: for 80 and for 81" in done.stderr


def test_in_the_foreground(svc: World) -> None:
    port = free_port()
    command = svc.command("run", "-p", f"{port}:80", "svc", "sh", "-c", SERVE.replace("$0", "front"))
    with subprocess.Popen(command, cwd=svc.project, env=svc.environment(), start_new_session=True) as process:
        assert until(lambda: said(port)) == "hello of front\n"
        end(process)
    assert said(port) == ""
    until(lambda: not forwarders(svc))


def test_a_target_that_is_built_first(svc: World, base_layout: Path) -> None:
    port = free_port()
    svc.write({"Buildfile": f"FROM oci-layout://{base_layout} AS web\nRUN echo hi\n"})
    command = svc.command("run", "-p", f"{port}:80", "./Buildfile:web", "sh", "-c", SERVE.replace("$0", "target"))
    with subprocess.Popen(command, cwd=svc.project, env=svc.environment(), start_new_session=True) as process:
        assert until(lambda: said(port)) == "hello of target\n"
        end(process)
    assert said(port) == ""


def test_a_supervisor_that_is_killed_lets_the_port_go(svc: World) -> None:
    port = free_port()
    sh(svc, "web", SERVE, "-p", f"{port}:80")
    assert until(lambda: said(port)).startswith("hello")
    for pid in supervisors(svc):
        os.kill(pid, 9)
    until(lambda: not forwarders(svc))
    assert said(port) == ""
    assert listed(svc, "web")["ports"] == []
    svc.run("start", "web")
    assert until(lambda: said(port)).startswith("hello")


def test_a_network_without_ports(svc: World) -> None:
    done = svc.run("run", "--network=host", "-p", "80", "svc", "echo", "ran")
    assert done.stdout == "ran\n"
    assert "published ports mean nothing on this machine's network" in done.stderr
    none = svc.run("run", "--network=none", "-p", "80", "svc", "echo", "ran", ok=False)
    assert none.returncode == 125
    assert "isolated network only" in none.stderr
    bad = svc.run("run", "-p", "80:x", "svc", "true", ok=False)
    assert (bad.returncode, "`-p 80:x`: `x` in `80:x` is not a port" in bad.stderr) == (125, True)


def test_whoever_writes_the_state_of_an_older_version_is_understood(svc: World) -> None:
    """States had no ports."""
    sh(svc, "web", "exit 0")
    until(lambda: listed(svc, "web")["status"] == "exited")
    assert json.loads(svc.run("ps", "-a", "--json").stdout)[0]["ports"] == []
    assert log(svc, "web") == ""
