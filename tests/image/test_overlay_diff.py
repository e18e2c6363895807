"""The difference that a real overlay recorded, as root and in a user namespace of one id."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_py.errors import StoreError
from buildkit_py.image import overlay_marks
from buildkit_py.image.entry import DIR, FIFO, FILE, HARDLINK, SYMLINK, WHITEOUT
from buildkit_py.image.overlay_diff import diff
from buildkit_py.image.overlay_marks import prefix
from buildkit_py.image.union import Union
from tests.image.layers import AS_ROOT
from tests.needs import need

WAYS = [
    pytest.param("root", marks=pytest.mark.skipif(not AS_ROOT, reason="needs real root")),
    pytest.param("userns"),
]
CHANGES = """
import os, socket
os.remove("gone"); os.remove("also"); os.remove("sub/gone")
os.chmod("sub/deep/mode", 0o4750)
import shutil
shutil.rmtree("replaced"); os.mkdir("replaced"); open("replaced/new", "w").write("n")
shutil.rmtree("dropped")
os.remove("becomes-dir"); os.mkdir("becomes-dir")
open("made", "w").write("made"); os.link("made", "sub/hard"); os.symlink("/nowhere", "link")
os.mkfifo("pipe", 0o600)
s = socket.socket(socket.AF_UNIX); s.bind("socket")
"""


def lower(root: Path) -> None:
    for name in ("gone", "also", "sub/gone", "sub/deep/mode", "replaced/old", "dropped/x", "becomes-dir", "kept"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / "sub").chmod(0o711)


def in_overlay(way: str, tmp: Path, program: str) -> Path:
    """Run Python in a mounted overlay; the upper directory that it left."""
    need("unshare", "mount")
    for name in ("lower", "upper", "work", "merged"):
        (tmp / name).mkdir(exist_ok=True)
    option = "userxattr" if way == "userns" else "redirect_dir=off"  # which userxattr implies
    namespaces = ["--user", "--map-root-user", "--mount"] if way == "userns" else ["--mount"]
    options = f"lowerdir=lower,upperdir=upper,workdir=work,{option}"
    script = f'mount -t overlay -o {options} x merged && cd merged && exec "$0" -c "$1"'
    command = ["unshare", *namespaces, "sh", "-c", script, sys.executable, program]
    subprocess.run(command, cwd=tmp, check=True, timeout=60)
    return tmp / "upper"


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_change(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "userns":  # which root looks into here
        monkeypatch.setattr(overlay_marks, "_known", overlay_marks.USER)
    (tmp_path / "lower").mkdir()
    lower(tmp_path / "lower")
    upper = in_overlay(way, tmp_path, CHANGES)
    found = {entry.path: entry for entry in diff(str(upper), hash_files=True)}
    kinds = {path: entry.kind for path, entry in found.items()}
    assert kinds == {
        "also": WHITEOUT,
        "becomes-dir": DIR,
        "dropped": WHITEOUT,
        "gone": WHITEOUT,
        "link": SYMLINK,
        "made": FILE,
        "pipe": FIFO,
        "replaced": DIR,
        "replaced/new": FILE,
        "sub": DIR,
        "sub/deep": DIR,
        "sub/deep/mode": FILE,
        "sub/gone": WHITEOUT,
        "sub/hard": HARDLINK,
    }
    assert list(found) == sorted(found)
    assert found["replaced"].opaque
    assert not found["sub"].opaque
    assert found["sub"].mode == 0o711
    assert found["sub/deep/mode"].mode == 0o4750
    assert found["sub/hard"].target == "made"
    assert found["made"].digest is not None
    assert all(entry.xattrs == () for entry in found.values())  # overlay's own are not the layer's
    assert Path(found["made"].source).read_text() == "made"


@pytest.mark.parametrize("way", WAYS)
def test_nothing_changed_is_no_entry(way: str, tmp_path: Path) -> None:
    (tmp_path / "lower").mkdir()
    lower(tmp_path / "lower")
    assert diff(str(in_overlay(way, tmp_path, "open('kept').read()")), hash_files=False) == []


def test_a_layer_keeps_user_xattrs_and_capabilities_only(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    os.setxattr(path, "user.note", b"\0v")
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    expected: list[tuple[str, bytes]] = [("user.note", b"\0v")]
    if AS_ROOT:
        os.setxattr(path, "security.capability", capability)
        os.setxattr(path, "trusted.other", b"1")
        os.setxattr(path, "trusted.overlay.origin", b"1")
        expected.insert(0, ("security.capability", capability))
    os.setxattr(path, "user.overlay.origin", b"1")
    (entry,) = diff(str(tmp_path), hash_files=False)
    assert entry.xattrs == tuple(expected)


def test_the_xattr_form_of_whiteouts(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    os.setxattr(tmp_path / "dir", prefix() + "opaque", b"x")
    (tmp_path / "dir" / "gone").touch()
    os.setxattr(tmp_path / "dir" / "gone", prefix() + "whiteout", b"")
    directory, gone = diff(str(tmp_path), hash_files=False)
    assert (directory.opaque, gone.kind) == (False, WHITEOUT)


@pytest.mark.skipif(not AS_ROOT, reason="only root of the machine has another kind of mark")
@pytest.mark.parametrize("mark", ["opaque", "whiteout", "redirect"])
def test_what_another_kind_of_mount_takes_for_a_mark_is_none(tmp_path: Path, mark: str) -> None:
    """Nor is it an attribute of the layer: where that comes next it may be one."""
    for layer in ("lower", "upper"):
        (tmp_path / layer / "dir").mkdir(parents=True)
        (tmp_path / layer / "dir" / layer).touch()
    for path in (tmp_path / "upper" / "dir", tmp_path / "upper" / "dir" / "upper"):
        os.setxattr(path, f"user.overlay.{mark}", b"y")
    directory, file = diff(str(tmp_path / "upper"), hash_files=False)
    assert (directory.opaque, directory.xattrs) == (False, ())
    assert (file.kind, file.xattrs) == (FILE, ())
    both = Union((str(tmp_path / "lower"), str(tmp_path / "upper")))
    assert {entry.path: entry.kind for entry in both.walk("dir")} == {"lower": FILE, "upper": FILE}


@pytest.mark.parametrize("mark", ["redirect", "metacopy"])
def test_what_would_lose_files_is_refused(tmp_path: Path, mark: str) -> None:
    (tmp_path / "f").touch()
    os.setxattr(tmp_path / "f", prefix() + mark, b"/elsewhere")
    with pytest.raises(StoreError, match="recorded f as moved or half-copied"):
        diff(str(tmp_path), hash_files=False)


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "up").symlink_to("/etc")
    (entry,) = diff(str(tmp_path), hash_files=True)
    assert (entry.kind, entry.target) == (SYMLINK, "/etc")


def test_directories_nested_deeper_than_python_nests_calls(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    assert len(diff(str(tmp_path), hash_files=False)) == 1200
    subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


def test_paths_longer_than_the_kernel_takes_are_an_error(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=fd)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    with pytest.raises(StoreError, match="nests too deeply"):
        diff(str(tmp_path), hash_files=False)
    subprocess.run(["rm", "-rf", str(tmp_path / ("d" * 200))], check=True)
