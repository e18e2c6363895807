"""A copied context has the same bytes, modes, links and attributes, and other times and owners."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from buildkit_py.api.copied_context import copy_context
from buildkit_py.errors import ContextError


def shape(top: Path) -> dict[str, tuple[object, ...]]:
    """What is to be the same."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        body = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(top))] = (status.st_mode, status.st_nlink if path.is_file() else 0, body)
    return found


@pytest.fixture
def context(tmp_path: Path) -> Path:
    top = tmp_path / "context"
    (top / "sub" / "closed").mkdir(parents=True)
    (top / ".git" / "objects").mkdir(parents=True)
    (top / "program").write_bytes(b"\0program")
    (top / "program").chmod(0o4755)
    (top / "sub" / "one").write_text("one")
    os.link(top / "sub" / "one", top / "two")
    os.symlink("nowhere", top / "link")
    os.mkfifo(top / "pipe")
    (top / "sub" / "closed" / "x").write_text("x")
    (top / "sub" / "closed").chmod(0o555)
    os.utime(top / "sub" / "one", (1, 1))
    return top


def test_the_same_but_for_accidents(context: Path, tmp_path: Path) -> None:
    copy_context(str(context), str(tmp_path / "copy"))
    assert shape(tmp_path / "copy") == shape(context)
    assert (tmp_path / "copy" / "sub" / "one").stat().st_mtime > 1000


def test_attributes_travel(context: Path, tmp_path: Path) -> None:
    try:
        os.setxattr(context / "program", "user.note", b"kept")
    except OSError:
        pytest.skip("no extended attributes here")
    copy_context(str(context), str(tmp_path / "copy"))
    assert os.getxattr(tmp_path / "copy" / "program", "user.note") == b"kept"


def test_what_is_left_out(context: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(context / "socket"))
        copy_context(str(context), str(tmp_path / "copy"), skip=(str(context / "sub"),))
    assert sorted(os.listdir(tmp_path / "copy")) == [".git", "link", "pipe", "program", "two"]


def test_what_is_left_out_is_found_by_any_of_its_names(context: Path, tmp_path: Path) -> None:
    """Also a place for the copy that lies in the context, which would be copied into itself for ever."""
    (tmp_path / "alias").symlink_to(context)
    (context / "copies").mkdir()
    copy_context(str(tmp_path / "alias"), str(context / "copies" / "one"), skip=(str(context / "copies"),))
    assert sorted(os.listdir(context / "copies" / "one")) == [".git", "link", "pipe", "program", "sub", "two"]
    copy_context(
        str(context), str(tmp_path / "copy"), skip=(str(tmp_path / "alias" / "copies"), str(tmp_path / "alias/sub"))
    )
    assert sorted(os.listdir(tmp_path / "copy")) == [".git", "link", "pipe", "program", "two"]


@pytest.mark.privileged
def test_owners(context: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    copy_context(str(context), str(tmp_path / "copy"), owner=4242)
    copy = tmp_path / "copy"
    given = {path.relative_to(copy).parts[0]: path.lstat().st_uid for path in sorted(copy.rglob("*"))}
    assert given == {".git": 0, "link": 4242, "pipe": 4242, "program": 4242, "sub": 4242, "two": 4242}
    assert copy.stat().st_uid == 0
    assert stat.S_IMODE((copy / "program").stat().st_mode) == 0o4755


def test_what_cannot_be_copied(context: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ContextError, match="File exists"):
        copy_context(str(context), str(tmp_path / "there"))
