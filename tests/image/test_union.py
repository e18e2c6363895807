"""The union view, compared with the overlay that the kernel mounts from the same layers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_py.errors import ContextError
from buildkit_py.image.entry import CHAR, DIR, FILE, HARDLINK, SYMLINK, WHITEOUT, Entry
from buildkit_py.image.union import Union
from tests.image.layers import AS_ROOT, ME, SECOND, file, packed, unpacked
from tests.needs import need


def layer(tmp: Path, name: str, entries: list[Entry]) -> str:
    result, blob = packed(entries)
    unpacked(blob, tmp / name, result.media_type)
    return str(tmp / name)


def directory(path: str, mode: int = 0o755, **rest: object) -> Entry:
    return Entry(path, DIR, mode, *ME, mtime=SECOND, **rest)  # type: ignore[arg-type]


def link(path: str, target: str) -> Entry:
    return Entry(path, SYMLINK, 0o777, *ME, target=target)


@pytest.fixture
def layers(tmp_path: Path) -> list[str]:
    """Four layers that do everything to each other that layers can."""
    first = [
        directory("etc", 0o711), file("etc/passwd", b"root"), file("etc/gone"), directory("etc/deep"),
        file("etc/deep/x", b"x1"), directory("opaque"), file("opaque/old"), directory("usr"), directory("usr/lib"),
        file("usr/lib/so", b"so"), link("lib", "usr/lib"), file("file-then-dir"), directory("dir-then-file"),
        file("dir-then-file/inner"), directory("twice"), file("twice/a"),
    ]  # fmt: skip
    second = [
        directory("etc", 0o755), Entry("etc/gone", WHITEOUT, 0), file("etc/passwd", b"changed"),
        directory("opaque", opaque=True), file("opaque/new", b"n"), Entry("file-then-dir", WHITEOUT, 0),
        file("dir-then-file", b"f"), Entry("twice", WHITEOUT, 0), directory("usr"), link("usr/abs", "/etc"),
        link("usr/up", "../../../../etc/passwd"), link("loop", "loop"), link("dangling", "nowhere/at/all"),
    ]  # fmt: skip
    third = [
        directory("file-then-dir"), file("file-then-dir/in"), directory("twice"), file("twice/b"),
        directory("etc"), directory("etc/deep"), file("etc/deep/y"), file("etc/gone", b"back"),
        file("hard", b"h"), Entry("same", HARDLINK, target="hard"),
    ]  # fmt: skip
    fourth = [directory("etc"), Entry("etc/deep", DIR, 0o700, *ME, opaque=True), Entry("hard", WHITEOUT, 0)]
    return [layer(tmp_path, f"layer{number}", entries) for number, entries in enumerate((first, second, third, fourth))]


WALK = """
import json, os, stat
out = {}
for where, names, files in os.walk(".", followlinks=False):
    for name in names + files:
        path = os.path.join(where, name)[2:]
        st = os.lstat(path)
        text = os.readlink(path) if stat.S_ISLNK(st.st_mode) else ""
        data = open(path).read() if stat.S_ISREG(st.st_mode) else ""
        out[path] = [stat.S_IFMT(st.st_mode), stat.S_IMODE(st.st_mode), text, data]
print(json.dumps(out))
"""


def mounted(layers: list[str], cwd: Path, program: str) -> dict[str, list[object]]:
    """What Python says that runs in the overlay of the layers."""
    need("unshare", "mount")
    (cwd / "merged").mkdir()
    # By short names, as mount(8) gives the kernel no option of more than 255 bytes.
    options = "lowerdir=" + ":".join(os.path.relpath(one, cwd) for one in reversed(layers))
    options += "" if AS_ROOT else ",userxattr"
    script = f'mount -t overlay -o {options} x merged && cd merged && exec "$0" -c "$1"'
    namespaces = ["--mount"] if AS_ROOT else ["--user", "--map-root-user", "--mount"]
    command = ["unshare", *namespaces, "sh", "-c", script, sys.executable, program]
    done = subprocess.run(command, cwd=cwd, capture_output=True, check=True, text=True, timeout=60)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_it_shows_what_the_kernel_shows(layers: list[str], tmp_path: Path) -> None:
    union = Union(layers)
    kinds = {FILE: 0o100000, DIR: 0o040000, SYMLINK: 0o120000}
    found = {}
    for entry in union.walk("/"):
        node = union.lookup(entry.path, follow=False)
        assert node is not None
        assert union.entry(node)._replace(digest=None) == entry or entry.kind == HARDLINK
        data = (union.read_file(entry.path, 100) or b"").decode() if entry.kind == FILE else ""
        found[entry.path] = [kinds[entry.kind], entry.mode, entry.target, data]
    assert found == mounted(layers, tmp_path, WALK)
    for path, (kind, *_) in found.items():
        if kind == kinds[DIR]:
            below = sorted(other[len(path) + 1 :] for other in found if other.rpartition("/")[0] == path)
            assert union.listdir(path) == below


def test_looking_up_does_not_depend_on_what_was_looked_up_before(layers: list[str]) -> None:
    for path in [entry.path for entry in Union(layers).walk("")]:
        fresh = Union(layers).lookup(path, follow=False)
        assert fresh is not None
        assert fresh.real == f"{fresh.real.partition('/layer')[0]}/layer{fresh.real.partition('/layer')[2][0]}/{path}"


def test_links_stay_inside_the_root(layers: list[str]) -> None:
    union = Union(layers)
    assert union.read_file("usr/up", 100) == b"changed"
    assert union.read_file("/usr/abs/passwd", 100) == b"changed"
    assert union.read_file("lib/so", 100) == b"so"
    assert union.read_file("../../../etc/passwd", 100) == b"changed"
    node = union.lookup("usr/abs")
    assert node is not None
    assert (node.path, node.kind) == ("etc", DIR)
    unfollowed = union.lookup("usr/abs", follow=False)
    assert unfollowed is not None
    assert unfollowed.kind == SYMLINK
    assert union.lookup("dangling") is None
    assert union.lookup("etc/passwd/below") is None
    assert union.lookup("x" * 300) is None
    with pytest.raises(ContextError, match="more than 40 symbolic links"):
        union.lookup("loop")


def test_the_root_itself(layers: list[str], tmp_path: Path) -> None:
    for path in ("", "/", ".", "..", "etc/.."):
        node = Union(layers).lookup(path)
        assert node is not None
        assert (node.path, node.kind) == ("", DIR)
    empty = Union([]).lookup("/")
    assert empty is not None
    assert empty.kind == DIR
    assert Union([]).walk("/") == []
    assert Union([]).listdir("/") == []
    assert Union([]).lookup("etc") is None


def test_names_of_one_inode_are_links_of_each_other(tmp_path: Path) -> None:
    only = layer(tmp_path, "only", [file("b", b"1"), Entry("c", HARDLINK, target="b"), file("a/x", b"2")])
    found = {entry.path: (entry.kind, entry.target) for entry in Union([only]).walk("/")}
    assert found["b"] == (FILE, "")
    assert found["c"] == (HARDLINK, "b")


def test_files_have_a_limit(layers: list[str]) -> None:
    union = Union(layers)
    assert union.read_file("etc/passwd", 7) == b"changed"
    with pytest.raises(ContextError, match="more than 6 bytes"):
        union.read_file("etc/passwd", 6)
    assert union.read_file("etc", 6) is None
    assert union.read_file("missing", 6) is None


def test_xattrs_are_the_layers(tmp_path: Path) -> None:
    tagged = file("f", b"", xattrs=(("user.note", b"v"),))
    union = Union([layer(tmp_path, "l", [tagged, Entry("d", DIR, 0o755, *ME, opaque=True)])])
    node = union.lookup("f")
    assert node is not None
    assert union.xattrs(node) == (("user.note", b"v"),)
    directory_node = union.lookup("d")
    assert directory_node is not None
    assert union.xattrs(directory_node) == ()


def test_this_machines_own_root_below_a_layer(tmp_path: Path) -> None:
    top = layer(tmp_path, "top", [directory("etc"), file("etc/hostname-of-layer", b"l"), directory("proc")])
    union = Union(["/", top])
    assert union.read_file("etc/hostname-of-layer", 10) == b"l"
    passwd = union.lookup("/etc/passwd")
    assert passwd is not None
    assert passwd.real == os.path.realpath("/etc/passwd")
    assert {"etc", "usr", "proc"} <= set(union.listdir("/"))
    # What the kernel makes up is no file of a filesystem.
    assert union.listdir("/proc") == union.listdir("/sys") == union.listdir("/dev") == []


@pytest.mark.skipif(not AS_ROOT, reason="needs real root")
def test_devices_are_shown(tmp_path: Path) -> None:
    union = Union([layer(tmp_path, "l", [Entry("null", CHAR, 0o666, rdev=os.makedev(1, 3))])])
    assert union.walk("")[0].rdev == os.makedev(1, 3)


@pytest.mark.skipif(AS_ROOT, reason="root can read everything")
def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "l" / "d").mkdir(parents=True)
    (tmp_path / "l" / "d").chmod(0)
    union = Union([str(tmp_path / "l")])
    with pytest.raises(ContextError, match=r"d cannot be read \(Permission denied\)"):
        union.walk("")
    with pytest.raises(ContextError, match="cannot be read"):
        union.lookup("d/x")
