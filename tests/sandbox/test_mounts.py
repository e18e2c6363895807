"""Mounts that a spec asks for: kinds, options, places, and that nothing of them stays in the layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.sandbox.spec import SandboxMount
from tests.sandbox.conftest import Box


@pytest.fixture
def source(place: Path, request: pytest.FixtureRequest) -> Path:
    directory = place / f"source-{abs(hash(request.node.nodeid))}"
    (directory / "sub").mkdir(parents=True)
    (directory / "file").write_text("from the host\n")
    (directory / "up").symlink_to("../../../etc/passwd")
    directory.chmod(0o777)
    return directory


def test_a_read_only_bind(box: Box, source: Path) -> None:
    mount = SandboxMount("bind", "/in/side", source=str(source))
    result = box.sh("cat /in/side/file; touch /in/side/x", mounts=(mount,))
    assert (result.out, result.code) == ("from the host\n", 1)
    assert "Read-only" in result.err
    assert result.upper == {}


def test_a_writable_bind_and_a_file(box: Box, source: Path) -> None:
    mounts = (
        SandboxMount("bind", "/w", source=str(source), read_only=False),
        SandboxMount("bind", "/etc/one", source=str(source / "file")),
    )
    assert box.lines("echo out > /w/new; cat /etc/one", mounts=mounts) == ["from the host"]
    assert (source / "new").read_text() == "out\n"


def test_a_bind_that_is_not_there(box: Box) -> None:
    result = box.sh("true", mounts=(SandboxMount("bind", "/x", source="/no/such"),))
    assert (result.error, result.at) == ("cannot bind: no such file or directory", "/no/such")


def test_trees(box: Box, place: Path) -> None:
    for name, files in (("low", {"a": "low", "d/x": "1"}), ("high", {"a": "high", "d/y": "2"})):
        for path, text in files.items():
            file = place / f"tree-{box.mode}" / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    layers = tuple(str(place / f"tree-{box.mode}" / name) for name in ("low", "high"))
    mounts = (
        SandboxMount("tree", "/t", layers=layers),
        SandboxMount("tree", "/d", layers=layers, path="/d"),
        SandboxMount("tree", "/f", layers=layers, path="a"),
        SandboxMount("tree", "/w", layers=layers[:1], read_only=False),
        SandboxMount("tree", "/empty", layers=()),
    )
    result = box.sh("cat /t/a /f; ls /t/d /d /empty; touch /w/new && ls /w; touch /t/no", mounts=mounts)
    assert result.error == ""
    assert result.out.split() == ["highhigh/d:", "x", "y", "/empty:", "/t/d:", "x", "y", "a", "d", "new"]
    assert "Read-only" in result.err
    assert result.upper == {}
    assert not (place / f"tree-{box.mode}/low/new").exists()


@pytest.mark.attack("S5")
def test_paths_in_a_tree_stay_in_it(box: Box, place: Path) -> None:
    tree = place / f"links-{box.mode}"
    tree.mkdir()
    (tree / "out").symlink_to("/etc")
    (tree / "up").symlink_to("../../..")
    for path in ("/out", "../../etc", "/nothing"):
        result = box.sh("true", mounts=(SandboxMount("tree", "/m", layers=(str(tree),), path=path),))
        assert result.error == "cannot find in the mounted tree: no such file or directory", path
    result = box.sh("ls /m", mounts=(SandboxMount("tree", "/m", layers=(str(tree),), path="/up"),))
    assert result.out.split() == ["out", "up"]


def test_tmpfs(box: Box) -> None:
    mount = SandboxMount("tmpfs", "/scratch", size=1 << 16, mode=0o1777)
    result = box.sh(
        "stat -c %a /scratch; echo x > /scratch/x; cat /scratch/x; dd if=/dev/zero of=/scratch/big bs=1k count=100",
        mounts=(mount,),
    )
    assert result.out == "1777\nx\n"
    assert (result.code, "No space left" in result.err) == (1, True)
    assert result.upper == {}


def test_secrets_are_files_of_their_own(box: Box) -> None:
    mount = SandboxMount("file", "/run/secrets/key", data=b"s3cret", mode=0o400)
    result = box.sh(
        "cat /run/secrets/key; stat -c ' %a %u' /run/secrets/key; echo x > /run/secrets/key", mounts=(mount,)
    )
    assert result.out == "s3cret 400 0\n"
    assert "Read-only" in result.err
    assert result.upper == {}
    options = box.lines("grep secrets/key /proc/self/mountinfo", mounts=(mount,))[0].split()[5]
    assert set(options.split(",")) >= {"ro", "nosuid", "nodev", "noexec"}


def test_a_large_file_and_one_in_dev(box: Box) -> None:
    mounts = (
        SandboxMount("file", "/big", data=b"x" * (20 << 20)),
        SandboxMount("file", "/dev/pipes/EOF", data=b"#!/bin/sh\necho it runs\n", mode=0o755),
    )
    assert box.lines("wc -c < /big; /dev/pipes/EOF", mounts=mounts) == [str(20 << 20), "it runs"]


def test_the_owner_of_a_file(box: Box) -> None:
    if box.single_id:
        pytest.skip("no other id is mapped")
    mount = SandboxMount("file", "/s", data=b"x", mode=0o400, uid=1000, gid=1001)
    assert box.lines("stat -c '%u %g' /s; cat /s; echo", user="1000", mounts=(mount,)) == ["1000 1001", "x"]


@pytest.mark.attack("S7")
def test_mount_points_behind_links_of_the_image(box: Box) -> None:
    layer = {
        "etc/resolv.conf": b"->../run/stub/resolv.conf",
        "etc/hosts": b"->../../../../../etc/hosts-real",
        "t": b"->/var",
    }
    mounts = (SandboxMount("tmpfs", "/t/cache"), SandboxMount("tmpfs", "/t/deep/er"))
    result = box.sh(
        "cat /etc/resolv.conf /run/stub/resolv.conf /etc/hosts-real; ls -d /var/cache /var/deep/er",
        layers=[layer],
        mounts=mounts,
        resolv_conf=b"nameserver 192.0.2.1\n",
        hosts=b"h\n",
    )
    assert result.out == "nameserver 192.0.2.1\nnameserver 192.0.2.1\nh\n/var/cache\n/var/deep/er\n"
    assert result.upper == {}


def test_what_a_step_puts_beside_a_mount_point_stays(box: Box) -> None:
    layer = {"t": b"->/var"}
    mounts = (SandboxMount("tmpfs", "/t/cache/a"), SandboxMount("tmpfs", "/t/other"))
    result = box.sh("touch /var/cache/mine; chmod 700 /home", layers=[layer], mounts=mounts)
    assert sorted(result.upper) == ["home", "var", "var/cache", "var/cache/mine"]


def test_a_changed_parent_of_a_mount_point_stays(box: Box) -> None:
    result = box.sh("chmod 711 /var", layers=[{"t": b"->/var"}], mounts=(SandboxMount("tmpfs", "/t/x"),))
    assert {path: oct(entry[0]) for path, entry in result.upper.items()} == {"var": "0o40711"}


@pytest.mark.parametrize("target", ["/proc/sys", "/proc", "/link/x"])
def test_nothing_is_mounted_in_proc(box: Box, target: str) -> None:
    result = box.sh("true", mounts=(SandboxMount("tmpfs", target),), layers=[{"link": b"->/proc/self/root"}])
    assert result.error


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("what", [b"->/etc", b"a file", b"->/proc/self/root"])
@pytest.mark.attack("S3")
def test_images_with_traps_for_mount_points(box: Box, name: str, what: bytes) -> None:
    result = box.sh("true", layers=[{name: what}])
    assert result.error.startswith("cannot mount: the image has something other than a directory at")
    assert result.at == f"/{name}"


def test_kinds_and_targets_are_checked(box: Box) -> None:
    assert "unknown kind" in box.sh("true", mounts=(SandboxMount("magic", "/x"),)).error
    assert "absolute" in box.sh("true", mounts=(SandboxMount("tmpfs", "x"),)).error
    assert "the root itself" in box.sh("true", mounts=(SandboxMount("tmpfs", "/./"),)).error
    assert "mounted on a file" in box.sh("true", mounts=(SandboxMount("tmpfs", "/etc/passwd"),)).error
    assert "mounted on a directory" in box.sh("true", mounts=(SandboxMount("file", "/etc"),)).error
