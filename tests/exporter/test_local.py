"""Whole filesystems: layers flattened, written as a tar and copied into a directory."""

from __future__ import annotations

import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from buildkit_py.errors import ExportError
from buildkit_py.exporter.flatten import flatten
from buildkit_py.exporter.local import export_local
from buildkit_py.exporter.tar import export_tar

ROOT = os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split()[:2] == ["0", "0"]


def whiteout(path: Path) -> None:
    # Allowed to everyone: a whiteout is no device (mknod(2), Linux 5.8).
    os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))


def make_opaque(path: Path) -> None:
    try:
        os.setxattr(path, "trusted.overlay.opaque", b"y")
    except PermissionError:
        os.setxattr(path, "user.overlay.opaque", b"y")


@pytest.fixture
def trees(tmp_path: Path) -> list[str]:
    """Three layers that add, change, hide and replace."""
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    for path in (one, two, three):
        path.mkdir()
    (one / "etc/deep").mkdir(parents=True)
    (one / "etc/kept").write_text("one")
    (one / "etc/changed").write_text("one")
    (one / "etc/removed").write_text("one")
    (one / "etc/deep/old").write_text("one")
    (one / "dir").mkdir()
    (one / "dir/below").write_text("one")
    (one / "file").write_text("one")
    (one / "gone").mkdir()
    (one / "gone/below").write_text("one")
    (one / "link").symlink_to("/etc/kept")
    (one / "first").write_text("shared")
    os.link(one / "first", one / "second")
    os.link(one / "first", one / "third")
    os.mkfifo(one / "fifo")
    (two / "etc/deep").mkdir(parents=True)
    make_opaque(two / "etc/deep")
    (two / "etc/deep/new").write_text("two")
    (two / "etc/changed").write_text("two")
    whiteout(two / "etc/removed")
    whiteout(two / "gone")
    whiteout(two / "first")
    (two / "dir").write_text("now a file")
    (two / "file").mkdir(mode=0o750)
    (two / "file").chmod(0o750)
    (two / "file/in").write_text("two")
    (three / "gone").mkdir()
    (three / "gone/again").write_text("three")
    (three / "run").write_text("#!/bin/sh\n")
    (three / "run").chmod(0o4755)
    os.utime(three / "run", (1_600_000_000, 1_600_000_000))
    return [str(path) for path in (one, two, three)]


EXPECTED = [
    "dir",
    "etc",
    "etc/changed",
    "etc/deep",
    "etc/deep/new",
    "etc/kept",
    "fifo",
    "file",
    "file/in",
    "gone",
    "gone/again",
    "link",
    "run",
    "second",
    "third",
]


def test_flattening(trees: list[str]) -> None:
    entries = {entry.path: entry for entry in flatten(trees)}
    assert list(entries) == EXPECTED
    assert entries["second"].kind == "file", "the name that led is gone, the next one leads"
    assert entries["second"].size == len("shared")
    assert (entries["third"].kind, entries["third"].target) == ("hardlink", "second")
    assert not any(entry.opaque for entry in entries.values())


def test_no_layers() -> None:
    assert flatten([]) == []


@pytest.mark.privileged
@pytest.mark.skipif(not ROOT, reason="mounting an overlay needs root")
def test_it_is_what_a_mounted_overlay_shows(trees: list[str], tmp_path: Path) -> None:
    merged = tmp_path / "merged"
    merged.mkdir()
    options = "ro,lowerdir=" + ":".join(reversed(trees))
    script = 'mount -t overlay overlay -o "$1" "$2" && cd "$2" && find . -mindepth 1 -printf "%P %y %m %s\\n" | sort'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", options, str(merged)], check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"no overlay here: {done.stderr}")
    shown = {}
    for line in done.stdout.splitlines():
        path, kind, mode, size = line.rsplit(" ", 3)
        shown[path] = (kind, mode, size if kind == "f" else "")
    kinds = {"file": "f", "hardlink": "f", "dir": "d", "symlink": "l", "fifo": "p"}
    sizes = {entry.path: entry.size for entry in flatten(trees)}
    ours = {
        entry.path: (
            kinds[entry.kind],
            f"{entry.mode:o}",
            str(sizes[entry.target] if entry.kind == "hardlink" else entry.size) if kinds[entry.kind] == "f" else "",
        )
        for entry in flatten(trees)
    }
    assert ours == shown


def test_a_tar(trees: list[str], tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar"):
        export_tar(trees, str(tmp_path / name), epoch=1_500_000_000)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as archive:
        members = {member.name: member for member in archive}
        assert sorted(members) == EXPECTED
        assert members["third"].islnk()
        assert members["run"].mode == 0o4755
        assert all(member.mtime <= 1_500_000_000 for member in members.values())
        file = archive.extractfile("etc/changed")
        assert file is not None
        assert file.read() == b"two"
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xf", str(tmp_path / "a.tar"), "-C", str(tmp_path / "out")], check=True)


def test_a_directory(trees: list[str], tmp_path: Path) -> None:
    dest = tmp_path / "new/out"
    copied = export_local(trees, str(dest), privileged=ROOT)
    assert copied.left_out == ()
    assert copied.files == 11
    found = sorted(str(path.relative_to(dest)) for path in dest.rglob("*"))
    assert found == sorted(EXPECTED)
    assert (dest / "etc/changed").read_text() == "two"
    assert os.readlink(dest / "link") == "/etc/kept"
    assert (dest / "second").stat().st_ino == (dest / "third").stat().st_ino
    status = (dest / "run").stat()
    assert stat.S_IMODE(status.st_mode) == 0o4755
    assert status.st_mtime == 1_600_000_000
    assert stat.S_IMODE((dest / "file").stat().st_mode) == 0o750
    assert (dest / "file").stat().st_mtime_ns == Path(trees[1], "file").stat().st_mtime_ns


def test_what_is_there_stays_unless_it_is_in_the_way(trees: list[str], tmp_path: Path) -> None:
    dest, outside = tmp_path / "out", tmp_path / "outside"
    (dest / "mine").mkdir(parents=True)
    (dest / "mine/file").write_text("mine")
    outside.mkdir()
    (outside / "changed").write_text("outside")
    (dest / "etc").symlink_to(outside)
    (dest / "run").symlink_to(outside / "changed")
    (dest / "second").write_text("older")
    export_local(trees, str(dest), privileged=ROOT)
    export_local(trees, str(dest), privileged=ROOT)
    assert (dest / "mine/file").read_text() == "mine"
    assert (outside / "changed").read_text() == "outside"
    assert os.listdir(outside) == ["changed"]
    assert not (dest / "etc").is_symlink()
    assert not (dest / "run").is_symlink()
    assert (dest / "second").read_text() == "shared"
    assert sorted(os.listdir(dest)) == sorted({path.partition("/")[0] for path in EXPECTED} | {"mine"})


@pytest.mark.parametrize("letter", ["x", "漢", "é"])
def test_names_as_long_as_a_file_system_has_them(tmp_path: Path, letter: str) -> None:
    name = letter * (255 // len(letter.encode()))
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / name).write_text("long")
    export_local([str(tmp_path / "tree")], str(tmp_path / "out"), privileged=ROOT)
    assert (tmp_path / "out" / name).read_text() == "long"


def test_a_directory_in_the_way_is_not_removed(trees: list[str], tmp_path: Path) -> None:
    (tmp_path / "out/run").mkdir(parents=True)
    (tmp_path / "out/run/mine").write_text("mine")
    with pytest.raises(ExportError, match="`run` is a directory there"):
        export_local(trees, str(tmp_path / "out"), privileged=ROOT)
    assert (tmp_path / "out/run/mine").read_text() == "mine"
    assert not [name for name in os.listdir(tmp_path / "out") if name.startswith(".pybuild-")]


def test_a_file_where_the_directory_should_be(trees: list[str], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ExportError, match="the destination is a file") as caught:
        export_local(trees, str(tmp_path / "out"), privileged=ROOT)
    assert "type=tar" in caught.value.hint


@pytest.mark.privileged
@pytest.mark.skipif(not ROOT, reason="other owners and devices need root")
def test_owners_and_devices_as_root(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_text("x")
    os.chown(tree / "file", 1234, 5678)
    os.setxattr(tree / "file", "user.note", b"kept")
    os.mknod(tree / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    copied = export_local([str(tree)], str(tmp_path / "out"), privileged=ROOT)
    assert copied.left_out == ()
    status = (tmp_path / "out/file").stat()
    assert (status.st_uid, status.st_gid) == (1234, 5678)
    assert os.getxattr(tmp_path / "out/file", "user.note") == b"kept"
    assert (tmp_path / "out/null").stat().st_rdev == os.makedev(1, 3)


@pytest.mark.privileged
@pytest.mark.skipif(not ROOT, reason="other owners and devices need root")
def test_who_is_told_to_be_unprivileged_gives_nothing_away(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_text("x")
    os.chown(tree / "file", 1234, 5678)
    os.mknod(tree / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    copied = export_local([str(tree)], str(tmp_path / "out"), privileged=False)
    assert copied.left_out == ("null",)
    status = (tmp_path / "out/file").stat()
    assert (status.st_uid, status.st_gid) == (0, 0)


@pytest.mark.privileged
@pytest.mark.skipif(not ROOT, reason="the test makes what it gives to another user as root")
def test_owners_and_devices_as_an_ordinary_user(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "closed").mkdir(parents=True)
    (tree / "closed/file").write_text("x")
    (tree / "closed").chmod(0o555)
    os.mknod(tree / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    out = tmp_path / "out"
    out.mkdir()
    os.chown(out, 65534, 65534)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for above in (tmp_path, *tmp_path.parents):
                if not above.stat().st_mode & 0o001:
                    above.chmod(above.stat().st_mode | 0o011)
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            for _ in range(2):
                copied = export_local([str(tree)], str(out), privileged=False)
            found = (out / "closed/file").stat()
            status = 0 if copied.left_out == ("null",) and found.st_uid == 65534 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sorted(os.listdir(out)) == ["closed"]
    assert stat.S_IMODE((out / "closed").stat().st_mode) == 0o555


@pytest.mark.privileged
@pytest.mark.skipif(not ROOT, reason="mounting a small filesystem needs root")
def test_a_full_disk(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "large").write_bytes(bytes(3_000_000))
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        for export in (
            lambda: export_local([str(tree)], str(small / "out"), privileged=ROOT),
            lambda: export_tar([str(tree)], str(small / "x.tar")),
        ):
            with pytest.raises(ExportError, match="no space left"):
                export()
        assert not (small / "x.tar").exists()
        assert not list(small.rglob(".*"))
    finally:
        subprocess.run(["umount", str(small)], check=True)
