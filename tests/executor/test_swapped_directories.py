"""A directory of a context that becomes a link between listing and reading leads to no other file, whoever reads."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from buildkit_py.errors import ContextError
from buildkit_py.executor.context_tree import ContextTree
from buildkit_py.executor.listed_file import hash_listed
from buildkit_py.executor.secret_gate import SecretGate
from buildkit_py.executor.unpack_archive import archive_entries
from buildkit_py.executor.write_tree import write_tree
from buildkit_py.image.content import hash_file
from buildkit_py.image.pack import pack
from buildkit_py.sandbox.userns import Identity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from buildkit_py.image.entry import Entry

ME = Identity(privileged=os.geteuid() == 0, userns=False, single_id=False, uid=os.geteuid(), gid=os.getegid())
TIME = 10**18


def archive(name: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    return out.getvalue()


def write(entry: Entry, work: Path) -> object:
    os.mkdir(work / "tree")
    return write_tree([entry], str(work / "tree"), ME)


def look_for_secrets(entry: Entry, work: Path) -> object:
    gate = SecretGate(lambda id: b"a secret that is not there", ("id",), lambda event: None)
    gate.secret("id")
    return gate.entries([entry])


READERS: list[Callable[[Entry, Path], object]] = [
    write,
    look_for_secrets,
    lambda entry, work: hash_listed(entry),
    lambda entry, work: hash_file(entry.source),
    lambda entry, work: archive_entries(entry, str(work)),
    lambda entry, work: pack([entry], lambda piece: None, compression="none"),
]


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_outside_is_not_read(tmp_path: Path, reader: Callable[[Entry, Path], object], large: bool) -> None:
    data = {"inside": archive("true"), "outside": archive("evil")}
    for name, content in data.items():
        (tmp_path / name / "a").mkdir(parents=True)
        file = tmp_path / name / "a" / "file"
        file.write_bytes(content + b"\0" * 300_000 * large)
        os.utime(file, ns=(TIME, TIME))
    (entry,) = [one for one in ContextTree(str(tmp_path / "inside")).walk("a") if one.path == "file"]
    reader(entry, tmp_path)
    (tmp_path / "inside" / "a").rename(tmp_path / "inside" / "b")
    (tmp_path / "inside" / "a").symlink_to(tmp_path / "outside" / "a")
    (tmp_path / "again").mkdir()
    with pytest.raises((ContextError, OSError)) as caught:
        reader(entry, tmp_path / "again")
    assert not isinstance(caught.value, FileNotFoundError)
