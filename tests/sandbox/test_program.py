"""Looking at a program before it is executed: paths, scripts, and interpreters that the kernel would bring in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_py.sandbox.program import Program, Refused


def _inspect(path: str, interpreters: tuple[bytes, ...] = ()) -> None:
    Program((path,), {b"PATH": b"/bin"}, interpreters).inspect()


@pytest.mark.parametrize("path", ["/proc/self/exe", "/proc/self/root/bin/sh", "/proc/self/fd/0", "/proc/self/cwd/x"])
def test_magic_links(path: str, tmp_path: Path) -> None:
    with pytest.raises(Refused):
        _inspect(path)
    script = tmp_path / "script"
    script.write_text(f"#! \t{path} -x\n")
    with pytest.raises(Refused):
        _inspect(str(script))
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(Refused):
        _inspect(str(tmp_path / "link"))


def test_an_interpreter_of_binfmt_misc_that_the_image_made_a_magic_link(tmp_path: Path) -> None:
    (tmp_path / "qemu").symlink_to("/proc/self/exe")
    with pytest.raises(Refused):
        _inspect("/bin/sh", (os.fsencode(tmp_path / "qemu"),))
    _inspect("/bin/sh", (b"/no/such/interpreter",))


def test_what_is_not_there_or_not_a_script_is_left_to_the_kernel(tmp_path: Path) -> None:
    for data in (b"", b"#", b"#!", b"#!\n", b"#! \0", b"\x7fELF", b"#!/no/such"):
        (tmp_path / "file").write_bytes(data)
        _inspect(str(tmp_path / "file"))
    _inspect("/no/such")
    os.mkfifo(tmp_path / "fifo")
    _inspect(str(tmp_path / "fifo"))


def test_a_script_that_is_its_own_interpreter_ends(tmp_path: Path) -> None:
    script = tmp_path / "loop"
    script.write_text(f"#!{script}\n")
    _inspect(str(script))


_START = """
import sys; sys.path.insert(0, sys.argv[1])
from buildkit_py.sandbox.program import Program
Program(tuple(sys.argv[3:]), {b"PATH": sys.argv[2].encode()}, ()).start()
"""


def _start(path: str, *argv: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", _START, root, path, *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_search_skips_what_cannot_be_executed(tmp_path: Path) -> None:
    (tmp_path / "a/tool").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/tool").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/tool").write_text("#!/bin/sh\necho ran $1\n")
    (tmp_path / "c/tool").chmod(0o755)
    found = _start(f"{tmp_path}/none:{tmp_path}/a::{tmp_path}/b:{tmp_path}/c", "tool", "it")
    assert (found.returncode, found.stdout) == (0, "ran it\n")
    denied = _start(f"{tmp_path}/a:{tmp_path}/b:{tmp_path}/none", "tool")
    assert (denied.returncode, denied.stderr) == (126, 'exec: "tool": permission denied\n')
    missing = _start(f"{tmp_path}/none", "tool")
    assert (missing.returncode, missing.stderr) == (127, 'exec: "tool": executable file not found in $PATH\n')
