"""The local context: what it shows, what it notices, and what it need not read again."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from buildkit_py.errors import ContextError
from buildkit_py.executor.context_notes import Notes
from buildkit_py.executor.context_tree import ContextTree
from buildkit_py.image.entry import DIR, FILE, HARDLINK, SYMLINK
from buildkit_py.store.scan import Scan, packed
from tests.needs import need


@pytest.fixture
def root(tmp_path: Path) -> Path:
    top = tmp_path / "context"
    (top / "src" / "deep").mkdir(parents=True)
    (top / "src" / "a.py").write_text("a")
    (top / "src" / "deep" / "b.py").write_text("bb")
    (top / "src-more").write_text("c")
    (top / "link").symlink_to("src/a.py")
    (top / "docs").mkdir()
    (top / "docs" / "x.md").write_text("x")
    return top


def settle() -> None:
    """Let the clock tick, so that what was written is no longer racy."""
    time.sleep(0.03)


def paths(tree: ContextTree, at: str = "") -> list[str]:
    return [entry.path for entry in tree.walk(at)]


def test_walk_is_in_the_order_of_bytes_with_parents_first(root: Path) -> None:
    tree = ContextTree(str(root))
    assert paths(tree) == [
        "docs",
        "docs/x.md",
        "link",
        "src",
        "src-more",
        "src/a.py",
        "src/deep",
        "src/deep/b.py",
    ]
    assert paths(tree, "src") == ["a.py", "deep", "deep/b.py"]


def test_entries_belong_to_root_and_keep_mode_and_link(root: Path) -> None:
    (root / "src" / "a.py").chmod(0o4751)
    if os.geteuid() == 0:
        os.chown(root / "src", 123, 456)
    found = {entry.path: entry for entry in ContextTree(str(root)).walk("")}
    assert found["src/a.py"].kind == FILE
    assert found["src/a.py"].mode == 0o4751
    assert found["src"].kind == DIR
    assert (found["src"].uid, found["src"].gid) == (0, 0)
    assert (found["link"].kind, found["link"].target) == (SYMLINK, "src/a.py")


def test_ignored_things_are_not_there(root: Path) -> None:
    tree = ContextTree(str(root), ("src", "!src/deep", "**/*.md"))
    assert paths(tree) == ["docs", "link", "src", "src-more", "src/deep", "src/deep/b.py"]
    assert tree.lookup("src/a.py") is None
    assert tree.lookup("src/deep/b.py") is not None
    assert tree.lookup("link") is None, "a link to something ignored leads nowhere"
    assert "ignore file" in tree.explain("src/a.py")


def test_links_never_lead_out(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (root / "out").symlink_to("../secret")
    (root / "abs").symlink_to(str(tmp_path / "secret"))
    (root / "up").symlink_to("..")
    tree = ContextTree(str(root))
    assert tree.lookup("out") is None
    assert tree.lookup("abs") is None
    assert tree.lookup("up/secret") is None
    assert tree.lookup("../../../src/a.py").path == "src/a.py"
    assert tree.lookup("out", follow=False).kind == SYMLINK


def test_a_loop_of_links_is_an_error(root: Path) -> None:
    (root / "loop").symlink_to("loop")
    with pytest.raises(ContextError, match="too many symbolic links"):
        ContextTree(str(root)).lookup("loop")


@pytest.mark.attack("C15")
def test_hard_links_within_a_walk_stay_links(root: Path) -> None:
    os.link(root / "src" / "a.py", root / "src" / "z.py")
    found = {entry.path: entry for entry in ContextTree(str(root)).walk("src")}
    assert found["a.py"].kind == FILE
    assert (found["z.py"].kind, found["z.py"].target) == (HARDLINK, "a.py")


def test_equal_inodes_on_two_file_systems_are_two_files(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    need("mount")
    places = [root / "one", root / "two"]
    try:
        for place in places:  # a tmpfs counts its inodes from the start
            place.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
            (place / "a").write_text(place.name)
            os.link(place / "a", place / "b")
        assert places[0].joinpath("a").stat().st_ino == places[1].joinpath("a").stat().st_ino
        found = {entry.path: (entry.kind, entry.target) for entry in ContextTree(str(root)).walk("")}
    finally:
        for place in places:
            subprocess.run(["umount", place], check=False)
    assert found["two/a"] == (FILE, "")
    assert found["two/b"] == (HARDLINK, "two/a")


@pytest.mark.attack("C11")
def test_a_socket_is_an_empty_file_and_a_fifo_a_fifo(root: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
        os.mkfifo(root / "fifo")
        tree = ContextTree(str(root))
        tree.hash_files = True
        found = {entry.path: entry for entry in tree.walk("")}
    assert (found["socket"].kind, found["socket"].data) == (FILE, b"")
    assert found["fifo"].kind == "fifo"


def noted(root: Path) -> Notes:
    tree = ContextTree(str(root))
    tree.hash_files = True
    list(tree.walk(""))
    return Notes(*tree.notes())


def test_what_is_unchanged_is_not_read_again(root: Path) -> None:
    settle()
    notes = noted(root)
    tree = ContextTree(str(root), (), notes)
    digests = {entry.path: entry.digest for entry in tree.walk("") if entry.kind == FILE}
    assert all(digests.values()), "without hash_files, so they come from the notes"


def test_notes_of_another_scan_are_not_believed(root: Path) -> None:
    settle()
    tree = ContextTree(str(root))
    tree.hash_files = True
    list(tree.walk(""))
    _, notes = tree.notes()
    other = ContextTree(str(root))
    list(other.walk("docs"))
    scan, _ = other.notes()
    assert Notes(scan, notes).scan is None


@pytest.mark.attack("K5")
def test_damaged_notes_are_not_believed(root: Path) -> None:
    os.setxattr(root / "src" / "a.py", "user.k", b"A" * 32)
    settle()
    tree = ContextTree(str(root))
    tree.hash_files = True
    list(tree.walk(""))
    tree.made["step"] = "a" * 64
    scan, whole = tree.notes()
    assert Notes(scan, whole).made
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 2
        notes = Notes(scan, bytes(damaged))
        assert (notes.scan, notes.digests, notes.xattrs, notes.probed, notes.made) == (None, {}, {}, {}, {})


def rewrite_same_size_and_time(path: Path) -> None:
    before = path.stat()
    path.write_text("z" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "bytes": lambda root: (root / "src" / "a.py").write_text("other"),
    "bytes with size and time restored": lambda root: rewrite_same_size_and_time(root / "src" / "a.py"),
    "mode": lambda root: (root / "src" / "a.py").chmod(0o600),
    "mode of a directory": lambda root: (root / "src").chmod(0o700),
    "xattr": lambda root: os.setxattr(root / "src" / "a.py", "user.x", b"1"),
    "xattr of a directory": lambda root: os.setxattr(root / "src", "user.x", b"1"),
    "new file": lambda root: (root / "src" / "new").write_text(""),
    "new directory": lambda root: (root / "src" / "newdir").mkdir(),
    "removed": lambda root: (root / "src" / "a.py").unlink(),
    "renamed": lambda root: (root / "src" / "a.py").rename(root / "src" / "b.py"),
    "link": lambda root: ((root / "link").unlink(), (root / "link").symlink_to("docs/x.md")),
    "file to directory": lambda root: ((root / "src" / "a.py").unlink(), (root / "src" / "a.py").mkdir()),
    "swapped": lambda root: (
        (root / "src" / "a.py").rename(root / "t"),
        (root / "src" / "deep" / "b.py").rename(root / "src" / "a.py"),
        (root / "t").rename(root / "src" / "deep" / "b.py"),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_noticed(root: Path, change: str) -> None:
    settle()
    tree = ContextTree(str(root))
    tree.hash_files = True
    before = list(tree.walk(""))
    notes = Notes(*tree.notes())
    assert notes.scan is not None
    assert notes.scan.holds()
    try:
        CHANGES[change](root)
    except OSError as problem:
        if problem.errno == 95:
            pytest.skip("this file system has no extended attributes")
        raise
    assert not notes.scan.holds(), "the first tier must not believe it"
    again = ContextTree(str(root), (), notes)
    again.hash_files = True
    fresh = ContextTree(str(root))
    fresh.hash_files = True
    after = list(again.walk(""))
    assert after == list(fresh.walk("")), "with notes it sees what it sees without"

    def seen(entries: list[object]) -> list[object]:
        return [entry._replace(mtime=0, source="") for entry in entries]  # type: ignore[attr-defined]

    assert seen(after) != seen(before)


def test_a_change_within_one_tick_of_the_scan_is_noticed(root: Path) -> None:
    """The racy trap: written, scanned and written again before the clock ticks, with equal size and times."""
    target = root / "src" / "a.py"
    for number in range(200):
        target.write_text(f"{number:04}")
        tree = ContextTree(str(root))
        tree.hash_files = False
        list(tree.walk(""))
        scan_bytes, notes = tree.notes()
        before = target.stat()
        with target.open("r+") as file:
            file.write(f"{number + 5000:04}")
        os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
        scan = Scan.load(scan_bytes)
        assert scan is not None
        assert not scan.holds()
        again = ContextTree(str(root), (), Notes(scan_bytes, notes))
        found = again.lookup("src/a.py")
        assert found.digest is None, "nothing is known of a file that fresh"


def test_marks_of_overlays_do_not_travel(root: Path) -> None:
    """As a rootless engine leaves them with its files: in a layer they would hide what lies below."""
    for path in (root / "src", root / "src" / "a.py"):
        os.setxattr(path, "user.overlay.opaque", b"y")
        os.setxattr(path, "user.x", b"1")
    for ask in (lambda tree: {entry.path: entry for entry in tree.walk("")}, lambda tree: {"src": tree.lookup("src")}):
        assert ask(ContextTree(str(root)))["src"].xattrs == (("user.x", b"1"),)


def test_attributes_that_change_within_one_tick_of_the_scan_are_noticed(root: Path) -> None:
    """As on a kernel whose times move with the tick only: the file has the stamp that it had when it was seen."""
    target = root / "src" / "a.py"
    target.touch()
    tree = ContextTree(str(root))
    tree.walk("")
    try:
        os.setxattr(target, "user.x", b"1")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    now = target.stat()
    own, mode, names, stamps = tree.scan.listings["src"]
    at = 32 * names.index("a.py")
    same = packed((now.st_ctime_ns, now.st_mtime_ns, now.st_ino, now.st_size))
    tree.scan.listings["src"] = (own, mode, names, stamps[:at] + same + stamps[at + 32 :])
    again = ContextTree(str(root), (), Notes(*tree.notes()))
    found = {entry.path: entry for entry in again.walk("")}
    assert found["src/a.py"].xattrs == (("user.x", b"1"),)


def _copied(root: Path, *, wrong: bool = False) -> tuple[ContextTree, Path]:
    """A tree that was walked as soon as it was written, and whose digests came from copying it."""
    target = root / "src" / "a.py"
    target.write_text("just now")
    tree = ContextTree(str(root))
    entries = tree.walk("")
    read = {entry.source: blake3(Path(entry.source).read_bytes()).digest() for entry in entries if entry.kind == FILE}
    if wrong:
        read[str(target)] = bytes(32)
    tree.learn(list(read), b"".join(read.values()))
    return tree, target


def test_what_was_fresh_is_believed_when_it_is_the_same_later(root: Path) -> None:
    tree, target = _copied(root)
    settle()
    scan = Scan.load(tree.notes()[0])
    assert scan is not None
    assert scan.holds()
    before = target.stat()
    target.write_text("just then")
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not scan.holds()


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "src" / "a.py").write_text("JUST NOW"),
        lambda root: (root / "src" / "new").touch(),
        lambda root: (root / "docs" / "x.md").unlink(),
        lambda root: (root / "docs" / "x.md").chmod(0o600),
        lambda root: ((root / "link").unlink(), (root / "link").symlink_to("src/b.py")),
    ],
)
def test_what_was_fresh_is_not_believed_when_it_is_another_later(root: Path, change: Callable[[Path], object]) -> None:
    tree, _ = _copied(root)
    change(root)
    settle()
    scan = Scan.load(tree.notes()[0])
    assert scan is not None
    assert not scan.holds()


def test_what_was_fresh_is_not_believed_when_other_bytes_were_used(root: Path) -> None:
    """Written again within the tick, after it was copied: the same stamp, and other bytes than those of the copy."""
    tree, _ = _copied(root, wrong=True)
    settle()
    scan = Scan.load(tree.notes()[0])
    assert scan is not None
    assert not scan.holds()


@pytest.mark.attack("C10")
def test_a_file_that_changes_while_it_is_hashed_is_an_error(root: Path) -> None:
    settle()
    tree = ContextTree(str(root))
    list(tree.walk(""))
    (root / "src" / "a.py").write_text("longer than before")
    tree.hash_files = True
    with pytest.raises(ContextError, match="changed while it was being read"):
        list(tree.walk(""))


def test_only_what_was_looked_at_counts(root: Path) -> None:
    settle()
    tree = ContextTree(str(root))
    tree.hash_files = True
    tree.lookup("src/a.py")
    tree.lookup("missing")
    scan = Scan.load(tree.notes()[0])
    assert scan is not None
    (root / "docs" / "y.md").write_text("nobody asked")
    assert scan.holds()
    (root / "missing").write_text("now it is there")
    assert not scan.holds()


def test_a_directory_that_may_be_read_but_not_searched_is_an_error_with_its_name(root: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root searches everything")
    (root / "src").chmod(0o444)
    try:
        with pytest.raises(ContextError, match=r"cannot look at `src/a\.py`"):
            ContextTree(str(root)).walk("")
    finally:
        (root / "src").chmod(0o755)


def test_an_unreadable_directory_is_an_error_with_its_name(root: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (root / "src").chmod(0)
    try:
        with pytest.raises(ContextError, match="src"):
            list(ContextTree(str(root)).walk(""))
    finally:
        (root / "src").chmod(0o755)
