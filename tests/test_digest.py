"""SHA-256 of few bytes and of many: the same, whoever takes it."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from buildkit_py.digest import digest_of, sha256


@pytest.mark.parametrize("expected", [0, 1 << 20, (1 << 20) + 1, sys.maxsize])
def test_it_is_sha256(expected: int) -> None:
    hasher = sha256(expected)
    hasher.update(b"a" * 1000)
    hasher.update(memoryview(b"b"))
    assert hasher.hexdigest() == hashlib.sha256(b"a" * 1000 + b"b").hexdigest()


@pytest.mark.parametrize("data", [b"", b"abc", b"x" * (2 << 20)])
def test_what_names_bytes(data: bytes) -> None:
    assert digest_of(data) == "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(("expected", "loads"), [(1 << 20, False), ((1 << 20) + 1, True)])
def test_openssl_is_loaded_only_for_many_bytes(expected: int, loads: bool) -> None:
    program = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from buildkit_py.digest import digest_of, sha256\n"
        f"hasher = sha256({expected}); hasher.update(b'abc')\n"
        "print(hasher.hexdigest(), 'hashlib' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [hashlib.sha256(b"abc").hexdigest(), str(loads)]
