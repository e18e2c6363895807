"""What of a sandbox goes to the next: the mounts of its control groups, and nothing if they are not there yet."""

from __future__ import annotations

import _socket
import os
from pathlib import Path

from buildkit_py.sandbox.heirloom import Heirloom
from buildkit_py.sandbox.launch import Launcher
from tests.sandbox.test_launch import Steps, _eventually, _output, _waiting

_LOOK = (
    "grep cgroup /proc/self/mountinfo | cut -d' ' -f3-; ls -lR /sys/fs/cgroup 2>&1 | head -40; cat /proc/self/cgroup"
)


def _pair() -> tuple[_socket.socket, _socket.socket]:
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return ours, theirs


def test_it_is_inherited_once() -> None:
    before = len(os.listdir("/proc/self/fd"))
    server, ours = _pair()
    heirloom = Heirloom()
    heirloom.prepare()
    assert heirloom.inherit() == -1
    memory = os.memfd_create("tree")
    there = os.fstat(memory)
    Heirloom().hand_on(ours, memory)
    ours.close()
    heirloom.follow(server)
    heirloom.prepare()
    tree = heirloom.inherit()
    assert os.path.samestat(os.fstat(tree), there)
    os.close(tree)
    assert heirloom.inherit() == -1
    heirloom.prepare()
    assert heirloom.inherit() == -1
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_not_there_yet_or_nobody_takes_is_let_go() -> None:
    before = len(os.listdir("/proc/self/fd"))
    heirloom = Heirloom()
    server, ours = _pair()
    heirloom.follow(server)
    heirloom.prepare()  # does not wait
    assert heirloom.inherit() == -1
    heirloom.hand_on(ours, os.memfd_create("tree"))  # the other end has gone
    ours.close()
    for _ in range(2):  # the second in place of the first
        server, ours = _pair()
        heirloom.hand_on(ours, os.memfd_create("tree"))
        ours.close()
        heirloom.follow(server)
    heirloom.prepare()
    heirloom.let_go()
    assert heirloom.inherit() == -1
    assert len(os.listdir("/proc/self/fd")) == before


def test_sandboxes_that_inherit_see_what_the_first_saw(rootfs: Path, place: Path) -> None:
    base = place / "heirloom"
    base.mkdir()
    steps = Steps(rootfs, base)
    seen: list[list[str]] = []
    with Launcher.start() as launcher:
        for _ in range(4):
            launcher.prepare()
            assert _eventually(lambda: len(_waiting(launcher)) == 1)
            code, said = _output(launcher, steps("sh", "-c", _LOOK))
            assert code == 0
            seen.append(said.decode().splitlines())
        assert _eventually(lambda: not _waiting(launcher))
        open_there = len(os.listdir(f"/proc/{launcher._pid}/fd"))
        for _ in range(3):
            launcher.prepare()
            assert _eventually(lambda: len(_waiting(launcher)) == 1)
            _output(launcher, steps("true"))
        assert _eventually(lambda: len(os.listdir(f"/proc/{launcher._pid}/fd")) <= open_there)
    of_tmpfs = [[line for line in lines if " - tmpfs " in line] for lines in seen]
    others = [[line for line in lines if " - tmpfs " not in line] for lines in seen]
    assert others[1:] == others[:-1]
    if of_tmpfs[0]:  # version 1: a file system of the first's own that the others have a clone of
        assert of_tmpfs[1:] == of_tmpfs[:-1]
    assert Path("/sys/fs/cgroup").exists() == bool(others[0])
