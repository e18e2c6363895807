"""Looking a user up in files that an image made as large as it may."""

from __future__ import annotations

import os
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from buildkit_py.sandbox.passwd import look_up

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 1 << 17


@pytest.mark.attack("S18")
@pytest.mark.parametrize("user", ["", "0", "app", "app:app"])
@pytest.mark.parametrize("filling", [b"::\n", b"x:x:1:1::/:\n", b"x:x:1:", b"\n", b":"])
def test_it_takes_no_more_memory_than_the_file_has_bytes(tmp_path: Path, user: str, filling: bytes) -> None:
    (tmp_path / "etc").mkdir()
    many = filling * (SIZE // len(filling)) + b"\n"
    (tmp_path / "etc" / "passwd").write_bytes(many + b"app:x:7:8::/home/app:/bin/sh\n")
    (tmp_path / "etc" / "group").write_bytes(b"other:x:9:" + b"x," * (SIZE // 2) + b"app\n" + many + b"app:x:10:\n")
    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    tracemalloc.start()
    try:
        found = look_up(root, user)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        os.close(root)
    wanted = {"": (0, [0]), "0": (0, [0]), "app": (7, [8, 9]), "app:app": (7, [10])}
    assert (found.uid, found.groups) == wanted[user]
    assert peak < 2 * (1 << 20) + 10 * SIZE  # it is read in pieces of a mebibyte
