from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_py.store.remove import remove_tree


def test_every_kind_of_file_goes_and_nothing_outside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_text("alive")
    home = tmp_path / "home"
    tree = home / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "file").write_text("x")
    (tree / "name with \n newline").write_text("x")
    (tree / "to_dir").symlink_to(outside)
    (tree / "a" / "to_file").symlink_to(outside / "canary")
    (tree / "dangling").symlink_to("nowhere")
    os.link(outside / "canary", tree / "hard")
    os.mkfifo(tree / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "socket"))
    remove_tree(str(tree))
    assert os.listdir(home) == []
    assert (outside / "canary").read_text() == "alive"


def test_a_link_instead_of_a_tree_goes_alone(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "canary").touch()
    (tmp_path / "link").symlink_to("dir")
    remove_tree(str(tmp_path / "link"))
    remove_tree(str(tmp_path / "link"))  # nothing there is fine
    remove_tree(str(tmp_path / "absent" / "tree"))
    assert (tmp_path / "dir" / "canary").exists()


def test_a_tree_deeper_than_any_path_or_descriptor_limit(tmp_path: Path) -> None:
    """4,000 levels: a path of 40 kB, four times as many directories as a process may have files open."""
    tree = tmp_path / "tree"
    tree.mkdir()
    fd = os.open(tree, os.O_RDONLY)
    for _ in range(4000):
        os.mkdir("directory", dir_fd=fd)
        below = os.open("directory", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    remove_tree(str(tree))
    assert os.listdir(tmp_path) == []


def test_directories_without_permissions(tmp_path: Path) -> None:
    """As an ordinary user: root may read anything, so as root the script changes its uid."""
    script = """
import ctypes, os
from buildkit_py.store.remove import remove_tree
if os.geteuid() == 0:
    os.chown(".", 65534, 65534)
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: a process that changed its uid has no /proc/self/fd else
os.makedirs("home/tree/a/b/c"); os.mkdir("home/tree/full")
open("home/tree/a/b/file", "w").close(); open("home/tree/full/file", "w").close()
for path, mode in (("a/b/c", 0), ("a/b", 0o400), ("a", 0o500), ("full", 0), ("", 0o100)):
    os.chmod("home/tree/" + path, mode)
remove_tree("home/tree")
assert os.listdir("home") == [], os.listdir("home")
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files immutable")
def test_an_immutable_file_is_an_error_and_not_a_loop(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").touch()
    if subprocess.run(["chattr", "+i", tree / "file"], capture_output=True, check=False).returncode:
        pytest.skip("this filesystem has no immutable files")
    try:
        with pytest.raises(PermissionError) as caught:
            remove_tree(str(tree))
        assert caught.value.filename == str(tree)
    finally:
        subprocess.run(["chattr", "-i", tree / "file"], check=True)
