"""What a build takes down about itself, and what it must not take for proof."""

from __future__ import annotations

import os
import time
from pathlib import Path

from buildkit_py.api.witness import Witness


def test_a_name_that_another_process_moved_meanwhile_proves_nothing(tmp_path: Path) -> None:
    """The tag stood for `a` when the build resolved it; a pull moved it before the memo was written."""
    tag = tmp_path / "tag"
    tag.write_text("sha256:b\nbusybox\n1\n")
    witness = Witness()
    witness.name(str(tag), "sha256:a")
    assert witness.unprovable
    tag.write_text("sha256:a\nbusybox\n1\n")
    good = Witness()
    good.name(str(tag), "sha256:a")
    assert good.names == {str(tag): b"sha256:a\nbusybox\n1\n"}
    assert not good.unprovable


def test_a_name_that_is_gone_proves_nothing(tmp_path: Path) -> None:
    witness = Witness()
    witness.name(str(tmp_path / "tag"), "sha256:a")
    assert witness.unprovable


def test_a_file_written_a_moment_ago_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "Buildfile").write_text("FROM scratch\n")
    witness = Witness()
    witness.file(str(tmp_path / "Buildfile"))
    assert not witness.unprovable


def test_a_file_of_whole_seconds_proves_nothing(tmp_path: Path) -> None:
    """A file system that keeps whole seconds: in a second of its last change another would not show."""
    (tmp_path / "Buildfile").write_text("FROM scratch\n")
    second = (time.time_ns() // 10**9 + 1) * 10**9
    os.utime(tmp_path / "Buildfile", ns=(second, second))
    witness = Witness()
    witness.file(str(tmp_path / "Buildfile"))
    assert witness.unprovable


def test_a_file_that_is_not_there_counts(tmp_path: Path) -> None:
    witness = Witness()
    witness.file(str(tmp_path / "missing"))
    assert witness.files == {str(tmp_path / "missing"): None}
    assert not witness.unprovable
