"""Looking at a program before it is executed: paths, scripts, and interpreters that the kernel would bring in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_py.sandbox.program import EVERYTHING, MOUNTS, NOTHING, Program, Refused
from buildkit_py.sandbox.spec import SandboxMount
from tests.sandbox.conftest import Box, interpreter


def _inspect(path: str, interpreters: tuple[bytes, ...] = ()) -> None:
    Program((path,), {b"PATH": b"/bin"}, interpreters, changing=NOTHING).inspect()


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


@pytest.mark.parametrize("character", ["\f", "\v", "\r", "\x1c", "\x85", "\xa0"])
def test_what_ends_the_path_of_an_interpreter(tmp_path: Path, character: str) -> None:
    """Blanks, tabs and NUL, and nothing else that may be taken for a blank."""
    (tmp_path / f"d{character}").mkdir()
    script = tmp_path / "script"
    script.write_text(f"#!{tmp_path}/d{character}/../{'../' * 20}proc/self/exe\n")
    with pytest.raises(Refused):
        _inspect(str(script))


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
from buildkit_py.sandbox.spec import SandboxMount
Program(tuple(sys.argv[4:]), {b"PATH": sys.argv[3].encode()}, (), changing=int(sys.argv[2])).start()
"""


def _start(path: str, *argv: str, how: int) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", _START, root, str(how), path, *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("how", [NOTHING, MOUNTS, EVERYTHING])
def test_the_search_skips_what_cannot_be_executed(tmp_path: Path, how: int) -> None:
    (tmp_path / "a/tool").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/tool").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/tool").write_text("#!/bin/sh\necho ran $1\n")
    (tmp_path / "c/tool").chmod(0o755)
    found = _start(f"{tmp_path}/none:{tmp_path}/a::{tmp_path}/b:{tmp_path}/c", "tool", "it", how=how)
    assert (found.returncode, found.stdout) == (0, "ran it\n")
    denied = _start(f"{tmp_path}/a:{tmp_path}/b:{tmp_path}/none", "tool", how=how)
    assert (denied.returncode, denied.stderr) == (126, 'exec: "tool": permission denied\n')
    missing = _start(f"{tmp_path}/none", "tool", how=how)
    assert (missing.returncode, missing.stderr) == (127, 'exec: "tool": executable file not found in $PATH\n')


def test_what_others_may_change_is_started_as_the_kernel_would_start_it(tmp_path: Path) -> None:
    """From descriptors: programs, scripts with one argument or none, scripts of scripts, and what cannot be run."""
    files = {
        "show": '#!/bin/sh\nfor word; do echo "[$word]"; done\n',
        "one": f"#! \t{tmp_path}/show  -a  b\t c \t\nrest\n",
        "two": f"#!{tmp_path}/one\n",
        "loop": f"#!{tmp_path}/loop\n",
        "carriage": "#!/bin/sh\r\n",
        "none": "#! \t\n",
        "gone": "#!/no/such/interpreter\n",
        "text": "echo no script\n",
        "elf": "\x7fELF and no more",
        "plain": "#!/bin/sh\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644 if name == "plain" else 0o755)
    # What no kernel runs, but says so: a program whose own loader is not there.
    data = Path(os.path.realpath("/bin/sh")).read_bytes()
    (tmp_path / "lost").write_bytes(data.replace(b"/ld-linux", b"/xx-linux"))
    (tmp_path / "lost").chmod(0o755)
    cases = [("/bin/echo", "a"), *((f"{tmp_path}/{name}", "x", "y") for name in [*files, "lost", "absent"])]
    for argv in cases:
        kernels, ours = (_start("/bin", *argv, how=how) for how in (NOTHING, EVERYTHING))
        assert (ours.returncode, ours.stdout, ours.stderr) == (kernels.returncode, kernels.stdout, kernels.stderr), argv
    assert (
        _start("/bin", f"{tmp_path}/two", "x", how=EVERYTHING).stdout
        == f"[-a  b\t c]\n[{tmp_path}/one]\n[{tmp_path}/two]\n[x]\n"
    )


def test_what_others_may_change_has_its_own_name(tmp_path: Path) -> None:
    """In `ps`, as it is killed by name."""
    (tmp_path / "link").symlink_to(shutil.which("cat", path="/bin") or "")
    assert _start("/bin", "cat", "/proc/self/comm", how=EVERYTHING).stdout == "cat\n"
    done = _start("/bin", f"{tmp_path}/link", "/proc/self/comm", how=EVERYTHING)
    assert done.stdout == os.path.basename(os.path.realpath("/bin/cat")) + "\n"
    found = _start("/bin", "cat", "/proc/self/environ", how=EVERYTHING).stdout
    assert found == "PATH=/bin\0"


def test_a_program_of_the_root_beside_mounts_is_started_by_its_path(box: Box, place: Path) -> None:
    """So it is called what it was called by. What a mount has a part in is not: others may change that meanwhile."""
    mounts = (SandboxMount("bind", "/s", source=str(place)),)
    layers = [{"script": b"#!/bin/sh\ncat /proc/$$/comm\n", "m/cat": b"->/s/../bin/cat", "links/cat": b"->../bin/cat"}]
    for argv, name in (
        (("cat", "/proc/self/comm"), "cat"),
        (("/links/cat", "/proc/self/comm"), "cat"),
        (("/script",), "script"),
        (("/m/cat", "/proc/self/comm"), "busybox"),
    ):
        result = box.run(*argv, mounts=mounts, layers=layers)
        assert (result.code, result.out) == (0, f"{name}\n"), result


def test_a_program_without_its_loader_is_not_copied_first(tmp_path: Path) -> None:
    """One for this processor has nothing to gain by that, and memory to lose: here none may be written to."""
    data = Path(os.path.realpath("/bin/sh")).read_bytes().replace(b"/ld-linux", b"/xx-linux")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    root = str(Path(__file__).parents[2])
    (tmp_path / "lost").write_bytes(data)
    (tmp_path / "lost").chmod(0o755)
    command = [sys.executable, "-c", limit + _START, root, str(EVERYTHING), "/bin", str(tmp_path / "lost")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (127, f'exec: "{tmp_path}/lost": no such file or directory\n')


def test_a_program_that_may_be_run_and_not_read(place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root becomes another user")
    tool = place / "not-to-be-read"
    shutil.copy("/bin/echo", tool)
    tool.chmod(0o711)
    before = "import os; os.setgid(77); os.setuid(77)\n"
    root = str(Path(__file__).parents[2])
    command = [interpreter(), "-c", before + _START, root, str(EVERYTHING), "/bin", str(tool), "it runs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "it runs\n", "")
