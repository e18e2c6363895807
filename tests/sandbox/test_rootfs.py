"""Many layers, layers in awkward order, and this machine's own root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildkit_py.sandbox.spec import RootFilesystem
from tests.sandbox.conftest import Box


@pytest.fixture(scope="session")
def many(place: Path) -> list[str]:
    """Layers that each write one file of their own and one that all write; paths longer than 256 bytes."""
    base = place / ("many-" + "x" * 200)
    out = []
    for number in range(1000):
        layer = base / f"{'y' * 60}{number}"
        layer.mkdir(parents=True)
        if number in (0, 100, 489, 490, 495, 499, 599, 899):
            (layer / f"own-{number}").write_text("")
            (layer / "all").write_text(str(number))
        out.append(str(layer))
    return out


@pytest.mark.parametrize("count", [1, 2, 100, 489, 490, 500, 600, 900])
def test_many_layers(box: Box, many: list[str], count: int) -> None:
    root = RootFilesystem(layers=(*many[: count - 1], str(box.rootfs), many[count - 1]), upper="@")
    lines = box.lines("ls -d /own-* | wc -l; cat /all; echo; touch /new", root=root)
    numbers = [number for number in (0, 100, 489, 490, 495, 499, 599, 899) if number < count]
    assert lines == [str(len(numbers)), str(numbers[-1])]


@pytest.mark.attack("K7")
def test_more_layers_than_the_kernel_can_stack(box: Box, many: list[str]) -> None:
    result = box.sh("true", root=RootFilesystem(layers=tuple(many), upper="@"))
    assert result.error == "mount the layers: there are more than 979"


def test_one_layer_twice(box: Box, many: list[str]) -> None:
    root = RootFilesystem(layers=(many[0], many[100], many[0], str(box.rootfs), many[0]), upper="@")
    assert box.lines("cat /all; echo; ls -d /own-*", root=root) == ["0", "/own-0", "/own-100"]


def test_whiteouts_reach_across_the_groups_of_a_long_list(box: Box, many: list[str], place: Path) -> None:
    if not box.privileged:
        pytest.skip("root makes the layers")
    os.setxattr(place, "trusted.pybuild-test", b"x")  # whiteouts and opaque marks need this
    hide, opaque = place / "hide", place / "opaque"
    for layer in (hide, opaque):
        layer.mkdir()
    os.mknod(hide / "own-0", 0o020000, os.makedev(0, 0))
    (opaque / "etc").mkdir()
    os.setxattr(opaque / "etc", "trusted.overlay.opaque", b"y")
    layers = (str(box.rootfs), *many[:300], str(opaque), *many[300:495], str(hide), *many[495:560])
    root = RootFilesystem(layers=layers, upper="@")
    assert box.lines("ls -d /own-*; ls /etc", root=root) == ["/own-100", "/own-489", "/own-490", "/own-495", "/own-499"]


def test_layers_below_are_never_changed(box: Box) -> None:
    before = sorted(os.listdir(box.rootfs)), (box.rootfs / "etc/passwd").read_text()
    box.sh("rm -rf /etc /home; echo x > /bin/sh2; chmod 777 /tmp; true")
    assert (sorted(os.listdir(box.rootfs)), (box.rootfs / "etc/passwd").read_text()) == before


HOST = RootFilesystem(host=True, upper="@")


def test_the_machine_itself_as_root(box: Box) -> None:
    result = box.run(
        "/bin/sh",
        "-c",
        "ls -A /tmp /home /root /run; mkdir -p /app/x; echo t > /tmp/t; echo r > /root/r; ls -A /etc | wc -l",
        root=HOST,
    )
    assert (result.code, result.error) == (0, ""), result
    listing, count = result.out.rsplit("\n", 2)[0], int(result.out.split()[-1])
    assert listing.split() == ["/home:", "/root:", "/run:", "/tmp:"]
    assert count > 3
    assert sorted(result.upper) == ["app", "app/x", "root", "root/r", "tmp", "tmp/t"]
    assert not os.path.exists("/app/x")


def test_what_is_mounted_on_the_machine_is_not_in_sight(box: Box, place: Path) -> None:
    result = box.run("/bin/sh", "-c", f"ls {place} /dev/shm; cat /proc/self/mountinfo", root=HOST)
    assert "No such file" in result.err
    assert "/mnt/" not in result.out


def test_host_layers_lie_over_the_machine(box: Box, place: Path) -> None:
    first, second = place / f"host-{box.mode}-1", place / f"host-{box.mode}-2"
    (first / "usr/share/pybuild-test").mkdir(parents=True)
    (first / "usr/share/pybuild-test/a").write_text("1")
    (first / "app").mkdir()
    (first / "app/b").write_text("1")
    (first / "tmp").mkdir()
    (first / "tmp/c").write_text("1")
    (second / "app").mkdir(parents=True)
    (second / "app/b").write_text("2")
    root = RootFilesystem(host=True, upper="@", layers=(str(first), str(second)))
    result = box.run("/bin/sh", "-c", "cat /usr/share/pybuild-test/a /app/b /tmp/c; ls -d /usr/bin /etc", root=root)
    assert (result.code, result.out) == (0, "121/etc\n/usr/bin\n"), result


def test_hidden_directories_of_the_machine(box: Box) -> None:
    root = RootFilesystem(host=True, upper="@", hide=("/usr/share", "/no/such"))
    result = box.run("/bin/sh", "-c", "ls -A /usr/share; touch /usr/share/x", root=root)
    assert (result.out, result.code != 0) == ("", True)
    assert "usr/share/x" not in result.upper


def test_a_host_root_without_an_upper_is_read_only(box: Box) -> None:
    result = box.run("/bin/sh", "-c", "ls /usr >/dev/null && touch /usr/x", root=RootFilesystem(host=True))
    assert (result.error, result.code) == ("", 1)
    assert "Read-only" in result.err
