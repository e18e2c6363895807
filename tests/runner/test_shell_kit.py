"""The shell kit: which shell it takes, what it brings where there is none, and the words that are said through it."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from buildkit_py.errors import SandboxError
from buildkit_py.runner.shell_kit import PLACE, ShellKit, shell_of
from buildkit_py.sandbox.spec import RootFilesystem, SandboxSpec
from tests.needs import need


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A filesystem whose /bin is a link, as Debian's is."""
    (tmp_path / "root" / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "root" / "bin").symlink_to("usr/bin")
    return tmp_path / "root"


def spec(*env: tuple[str, str]) -> SandboxSpec:
    return SandboxSpec(RootFilesystem(), ("false",), env=env)


def test_the_images_own_shell_is_found_through_links(root: Path, tmp_path: Path) -> None:
    assert shell_of([str(root)]) == ""
    (root / "usr/bin/dash").write_bytes(b"a program")
    (root / "usr/bin/sh").symlink_to("/usr/bin/dash")
    assert shell_of([str(root)]) == "", "no program"
    os.chmod(root / "usr/bin/dash", 0o755)
    assert shell_of([str(root)]) == "/bin/sh"
    changed = tmp_path / "upper" / "usr" / "bin"
    changed.mkdir(parents=True)
    (changed / "sh").mkdir()
    assert shell_of([str(root), str(tmp_path / "upper")]) == ""


def test_with_a_shell_and_nothing_to_say_the_image_is_left_alone(root: Path, tmp_path: Path) -> None:
    (root / "usr/bin/sh").write_bytes(b"a program")
    os.chmod(root / "usr/bin/sh", 0o755)
    equipped = ShellKit(str(tmp_path / "kit"), [str(root)]).equip(spec(("PATH", "/mine")))
    assert (equipped.argv, equipped.mounts, equipped.terminal) == (("/bin/sh",), (), True)
    assert dict(equipped.env)["PATH"] == "/mine"
    equipped = ShellKit(str(tmp_path / "other"), [str(root)], ("retry",)).equip(spec(("PATH", "/mine")))
    assert dict(equipped.env)["PATH"].split(":") == [f"{PLACE}/bin", "/mine", f"{PLACE}/busybox"]
    assert [mount.target for mount in equipped.mounts] == [PLACE]


def test_busybox_comes_under_all_its_names(root: Path, tmp_path: Path) -> None:
    need("busybox")
    before = os.umask(0o077)
    try:
        kit = ShellKit(str(tmp_path / "kit"), [str(root)])
    finally:
        os.umask(before)
    assert kit.equip(spec()).argv == (f"{PLACE}/busybox/sh",)
    done = subprocess.run(
        [tmp_path / "kit/busybox/sh", "-c", "echo $((6 * 7))"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "42\n"
    assert (tmp_path / "kit/busybox/ls").is_symlink()
    assert all((tmp_path / "kit" / name).stat().st_mode & 0o777 == 0o755 for name in ("", "bin", "busybox"))


def test_a_busybox_with_libraries_is_none(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    for content in (b"", b"#!/bin/sh\n", Path(os.path.realpath("/bin/true")).read_bytes()):
        (programs / "busybox").write_bytes(content)
        os.chmod(programs / "busybox", 0o755)
        with pytest.raises(SandboxError, match="no busybox to bring in") as caught:
            ShellKit(str(tmp_path / f"kit-{len(content)}"), [str(root)])
        assert "busybox-static" in caught.value.hint


class Ended:
    """In place of a sandbox: it can be ended."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def destroy(self) -> None:
        self.ended.set()


def test_a_word_is_heard_and_ends_the_sandbox_and_other_words_do_not(root: Path, tmp_path: Path) -> None:
    (root / "usr/bin/sh").write_bytes(b"a program")
    os.chmod(root / "usr/bin/sh", 0o755)
    cases = {"retry\n": "retry", "x" * 9000 + "\nnothing\n\xff\n": "", "com": "", "a\ncommit\n": "commit"}
    for said, heard in cases.items():
        place = str(tmp_path / f"kit-{len(said)}")
        kit = ShellKit(place, [str(root)], ("retry", "commit"))
        sandbox = Ended()
        kit.to(sandbox)
        with open(f"{place}/ask", "w", encoding="latin-1") as pipe:
            pipe.write(said)
        if heard:
            assert sandbox.ended.wait(30)
        kit.close()
        kit.close()
        assert kit.said == heard
        assert sandbox.ended.is_set() is bool(heard)
        shutil.rmtree(place)
