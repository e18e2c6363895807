from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from buildkit_py.errors import UsageError
from buildkit_py.runner.init_program import PLACE, init_program, is_static, with_init
from tests.needs import need

NULL, LOAD, INTERP = 0, 1, 3


def elf(kinds: tuple[int, ...], *, bits: int = 64, order: str = "<") -> bytes:
    """The headers of a program with these segments, by the tables of elf(5)."""
    magic = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    words = "QQQ" if bits == 64 else "III"
    size, step = (64, 56) if bits == 64 else (52, 32)
    head = struct.pack(f"{order}HHI{words}IHHHHHH", 2, 62, 1, 0, size, 0, 0, size, step, len(kinds), 0, 0, 0)
    return magic + head + b"".join([struct.pack(f"{order}I", kind) + bytes(step - 4) for kind in kinds])


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("kinds", "static"), [((LOAD,), True), ((LOAD, NULL, LOAD), True), ((LOAD, INTERP), False), ((), False)]
)
def test_headers(tmp_path: Path, bits: int, order: str, kinds: tuple[int, ...], static: bool) -> None:
    path = tmp_path / "program"
    path.write_bytes(elf(kinds, bits=bits, order=order))
    assert is_static(str(path)) is static


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF", elf((LOAD, LOAD))[:-1], elf((LOAD,))[:40]])
def test_what_is_no_program(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "program"
    path.write_bytes(data)
    assert not is_static(str(path))
    assert not is_static(str(tmp_path / "absent"))
    assert not is_static(str(tmp_path))


def test_the_programs_of_this_machine() -> None:
    need("tini-static", "catatonit", "tini", "file")
    for name, static in (("tini-static", True), ("catatonit", True), ("tini", False)):
        path = subprocess.run(["which", name], capture_output=True, text=True, check=True).stdout.strip()
        assert is_static(path) is static
        said = subprocess.run(["file", "-bL", path], capture_output=True, text=True, check=True).stdout
        assert ("statically linked" in said) is static
    assert is_static(init_program())


def test_the_command_and_the_mount() -> None:
    need("tini-static")
    argv, mount = with_init(("sh", "-c", "--"), ["/devices", "/dev/shm", "/etc/hostname", "/dev/init2"])
    assert argv == (PLACE, "--", "sh", "-c", "--")
    assert (mount.kind, mount.target, mount.source, mount.read_only) == ("bind", PLACE, init_program(), True)


@pytest.mark.parametrize("target", ["/dev", "/dev/", "/dev/init", "/"])
def test_a_mount_that_is_in_its_way(target: str) -> None:
    with pytest.raises(UsageError, match="puts its program at /dev/init"):
        with_init(("true",), [target])
