"""A layer written as files is the layer that would have been packed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildkit_py.errors import ContextError
from buildkit_py.executor.context_tree import ContextTree
from buildkit_py.executor.write_tree import write_tree
from buildkit_py.image.overlay_diff import diff
from buildkit_py.image.pack import pack
from buildkit_py.sandbox.userns import Identity

ME = Identity(privileged=os.geteuid() == 0, userns=False, single_id=False, uid=os.geteuid(), gid=os.getegid())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "file").write_bytes(b"x" * 100_000)
    (root / "a" / "empty").touch()
    (root / "a" / "b" / "set-id").write_text("s")
    (root / "a" / "b" / "set-id").chmod(0o4711)
    (root / "link").symlink_to("a/file")
    os.link(root / "a" / "file", root / "z")
    (root / "a").chmod(0o1777)
    return root


@pytest.mark.skipif(os.geteuid() != 0, reason="entries of a context belong to root")
def test_it_is_the_layer_that_packing_gives(source: Path, tmp_path: Path) -> None:
    entries = list(ContextTree(str(source)).walk(""))
    dest = tmp_path / "tree"
    dest.mkdir()
    content = write_tree(entries, str(dest), ME)
    straight = pack(entries, lambda piece: None, compression="none", hash_files=True)
    again = pack(diff(str(dest), hash_files=True), lambda piece: None, compression="none", hash_files=True)
    assert content == straight.content == again.content
    assert straight.diff_id == again.diff_id


def test_a_file_that_changed_since_it_was_listed_is_an_error(source: Path, tmp_path: Path) -> None:
    entries = [entry for entry in ContextTree(str(source)).walk("a") if entry.path == "file"]
    (source / "a" / "file").write_text("other")
    dest = tmp_path / "tree"
    dest.mkdir()
    with pytest.raises(ContextError, match="changed while it was being read"):
        write_tree(entries, str(dest), ME)
