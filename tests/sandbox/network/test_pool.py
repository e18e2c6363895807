"""Who gets which namespace: many at once each their own, one after another the same, unless it was used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox.network.conftest import on_a_machine

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a machine")

_BUILDER = """
import os, sys, threading
sys.path.insert(0, sys.argv[1])
from buildkit_py.sandbox.launch import Launcher
from buildkit_py.sandbox.network.plan import draw
from buildkit_py.sandbox.spec import RootFilesystem, SandboxSpec
layer, base, uplink = sys.argv[2:5]
numbers = iter(range(10_000))
def run(script, **fields):
    number = next(numbers)
    for name in ("upper", "work"):
        os.makedirs(f"{base}/{name}{number}")
    root = RootFilesystem(layers=(layer,), upper=f"{base}/upper{number}", work=f"{base}/work{number}")
    fields.setdefault("network", "isolated")
    spec = SandboxSpec(root=root, argv=("sh", "-c", script), env=(("PATH", "/bin"),), **fields)
    reader, writer = os.pipe()
    sandbox = launcher.spawn(spec, stdout=writer, stderr=2)
    os.close(writer)
    with os.fdopen(reader) as file:
        said = file.read().strip()
    assert sandbox.wait().code == 0, said
    return said
def at_once(count, script):
    said = []
    threads = [threading.Thread(target=lambda: said.append(run(script))) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said
launcher = Launcher.start()
launcher.connect(draw().replace(uplinks=(uplink,)))
ME = "cat /sys/class/net/eth0/address"  # the number is in it, and nothing is sent
"""


def _said(script: str, rootfs: Path, base: Path, uplink: str = "bridge") -> list[str]:
    base.mkdir()
    command = [sys.executable, "-c", _BUILDER + script + "\nlauncher.close()"]
    command += [str(Path(__file__).parents[3]), str(rootfs), str(base), uplink]
    done = subprocess.run(
        on_a_machine(base / "scratch", command), capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_many_at_once_have_each_their_own(rootfs: Path, place: Path) -> None:
    script = "for one in at_once(12, f'{ME}; sleep 0.5; nc -w 5 203.0.113.10 7000 </dev/null'): print(one)"
    lines = _said(script, rootfs, place / "many")
    assert lines.count("world 192.0.2.2") == 12
    assert len(set(lines)) == 13


def test_one_after_another_they_get_the_same(rootfs: Path, place: Path) -> None:
    lines = _said("for _ in range(12): print(run(ME))", rootfs, place / "same")
    assert len(lines) == 12
    # Usually two or three; one that the kernel sends a report in while it is looked at is thrown away.
    assert len(set(lines)) < 12


def test_with_those_that_were_begun_before_as_well(rootfs: Path, place: Path) -> None:
    lines = _said("for _ in range(12): launcher.prepare('isolated'); print(run(ME))", rootfs, place / "begun")
    assert len(set(lines)) < 12


@pytest.mark.parametrize(
    ("use", "fields"),
    [
        ("nc -w 5 203.0.113.10 7000 </dev/null >/dev/null", ""),
        ("(echo x | nc -l -p 7009 >/dev/null &) ; nc -w 1 127.0.0.1 7009 </dev/null >/dev/null; true", ""),
        ("true", ", capabilities=(1 << 41) - 1, seccomp=False, insecure=True"),
    ],
    ids=["world", "itself", "insecure"],
)
def test_what_was_used_does_not_come_again(use: str, fields: str, rootfs: Path, place: Path) -> None:
    script = f"for _ in range(6): print(run(f'{{ME}}; {use}'{fields}))"
    lines = _said(script, rootfs, place / f"used-{abs(hash(use + fields))}")
    assert len(set(lines)) == 6


def test_another_network_in_between(rootfs: Path, place: Path) -> None:
    script = """
for network in ("isolated", "host", "none", "isolated", "host", "none"):
    launcher.prepare(network if network != "none" else "host")
    print(network, *run("ls /sys/class/net", network=network).split())
"""
    lines = _said(script, rootfs, place / "between")
    assert lines[0] == lines[3] == "isolated eth0 lo"
    assert lines[2] == lines[5] == "none lo"
    assert lines[1].startswith("host eth0 lo")
    assert "pyb" in lines[1], "the way out is seen from the machine"


def test_a_network_that_rests_is_gone_and_comes_again(rootfs: Path, place: Path) -> None:
    script = """
def processes():
    with open(f"/proc/{launcher._pid}/task/{launcher._pid}/children") as file:
        return len(file.read().split())
launcher.rest()
print(run("nc -w 5 203.0.113.10 7000 </dev/null"), processes())
launcher.rest()
while processes():
    pass
launcher.prepare("isolated")
print(*at_once(3, "nc -w 5 203.0.113.10 7000 </dev/null"))
launcher.prepare("isolated")
slow = threading.Thread(target=lambda: print(run("sleep 1; nc -w 5 203.0.113.10 7000 </dev/null")))
slow.start()
print(run("true"))
launcher.rest()
slow.join()
while processes():
    pass
"""
    lines = _said(script, rootfs, place / "rest")
    world = "world 192.0.2.2"
    assert lines == [f"{world} 1", " ".join([world] * 3), "", world]


def test_a_network_that_rests_again_and_again(rootfs: Path, place: Path) -> None:
    script = """
for number in range(30):
    launcher.prepare("isolated")
    run("true")
    launcher.rest()
print(run("nc -w 5 203.0.113.10 7000 </dev/null"))
"""
    assert _said(script, rootfs, place / "again") == ["world 192.0.2.2"]


SERVE = """
from buildkit_py.sandbox.network.plan import SERVICES, as_text
plan = draw()
def serve(number, says):
    script = f"while :; do echo {says} | nc -l -p 80 >/dev/null; done"
    for name in ("upper", "work"):
        os.makedirs(f"{base}/{name}-{number}-{says}")
    root = RootFilesystem(
        layers=(layer,), upper=f"{base}/upper-{number}-{says}", work=f"{base}/work-{number}-{says}"
    )
    argv = ("sh", "-c", script)
    spec = SandboxSpec(root=root, argv=argv, env=(("PATH", "/bin"),), network="isolated", number=number)
    return launcher.spawn(spec, stdin=-1, stdout=2, stderr=2)
def ask(number):
    address = as_text(plan.address(number))
    # Its input stays open: a server that hears of the end ends, whether it has said anything or not.
    return f"mkfifo /open; for i in 1 2 3 4 5 6 7 8 9; do nc -w 2 {address} 80 <>/open && break; sleep 0.1; done"
"""


def test_services_are_reached_by_the_others_at_addresses_that_are_known_before(rootfs: Path, place: Path) -> None:
    script = """
one, two = serve(SERVICES, "one"), serve(SERVICES + 1, "two")
print(run(ask(SERVICES)), run(ask(SERVICES + 1)))
print(run(ask(SERVICES), number=SERVICES + 2))
print(run("cat /sys/class/net/eth0/address; nc -w 5 203.0.113.10 7000 </dev/null", number=SERVICES + 2))
one.destroy()
again = serve(SERVICES, "again")
print(run(ask(SERVICES)))
for service in (two, again):
    service.destroy()
"""
    lines = _said(SERVE + script, rootfs, place / "services")
    assert lines == ["one two", "one", "02:70:62:00:40:02", "world 192.0.2.2", "again"]
