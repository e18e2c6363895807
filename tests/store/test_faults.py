from __future__ import annotations

import errno

import pytest

from buildkit_py.errors import DiskFull, StoreError
from buildkit_py.store.faults import store_error


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_which_and_what_to_do(code: int) -> None:
    error = store_error(OSError(code, "x"), "/the/store", "write a blob")
    assert type(error) is DiskFull
    assert error.at == "/the/store"
    assert "cannot write a blob" in error.message
    assert "pybuild cache prune" in error.hint


@pytest.mark.parametrize(
    ("code", "hint"),
    [(errno.EROFS, "PYBUILD_HOME"), (errno.EPERM, "lsattr"), (errno.EMFILE, "ulimit"), (errno.EIO, "")],
)
def test_other_faults_name_the_path(code: int, hint: str) -> None:
    error = store_error(OSError(code, "x", "/the/store/blobs/1"), "/the/store", "write a blob")
    assert type(error) is StoreError
    assert error.at == "/the/store/blobs/1"
    assert error.hint == "" if not hint else hint in error.hint
