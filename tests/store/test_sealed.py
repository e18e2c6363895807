from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildkit_py.store.sealed import read_regular, seal, sealed_bytes, unseal, unsealed_bytes

VALUE = ("text \udcff", 12, None, True, ("x", b"\x00\xff"))


def test_a_value_comes_back() -> None:
    assert unseal(seal(VALUE)) == VALUE
    assert unsealed_bytes(sealed_bytes(b"")) == b""


def test_every_flipped_bit_and_every_truncation_is_noticed() -> None:
    whole = seal(VALUE)
    for at in range(len(whole)):
        for bit in range(8):
            with pytest.raises(ValueError, match="seal"):
                unseal(whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
        with pytest.raises(ValueError, match="seal"):
            unseal(whole[:at])
    with pytest.raises(ValueError, match="seal"):
        unseal(whole + b"x")


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "dir").mkdir()
    os.mkfifo(tmp_path / "fifo")
    assert read_regular(str(file)) == b"0123456789"
    assert read_regular(str(file), 4) == b"0123"
    assert read_regular(str(file), 40) == b"0123456789"
    assert read_regular(str(tmp_path / "absent")) is None
    for name in ("link", "dir", "fifo", "file/below"):
        with pytest.raises(ValueError, match=r"regular|readable"):
            read_regular(str(tmp_path / name))
