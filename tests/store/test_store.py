from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_py.errors import StoreError
from buildkit_py.store.store import Store
from tests.store.samples import contents


def test_a_new_store_is_private_and_empty(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "store"
    store = Store.open(str(root))
    assert store.root == str(root)
    assert root.stat().st_mode & 0o7777 == 0o700
    assert (root / "format").read_text() == "1\n"
    assert contents(store) == set()
    assert store.path("a", "b") == f"{root}/a/b"
    assert Store.open(str(root)).root == store.root


def test_it_is_where_the_environment_says(tmp_path: Path) -> None:
    script = "from buildkit_py.store.store import Store; print(Store.open().root)"
    environment = {**os.environ, "PYBUILD_HOME": str(tmp_path / "here")}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(tmp_path / "here")


@pytest.mark.parametrize(
    "name", ["with space", "new\nline", "co:lon,comma\\back", "ümläut", b"\xff\xfe".decode(errors="surrogateescape")]
)
@pytest.mark.attack("K6")
def test_any_path_will_do(tmp_path: Path, name: str) -> None:
    store = Store.open(str(tmp_path / name))
    digest = store.blobs.put(b"x")
    assert Store.open(str(tmp_path / name)).blobs.read(digest) == b"x"


def test_directories_that_are_missing_are_made_again(store: Store) -> None:
    digest = store.blobs.put(b"x")
    for name in ("records", "work", "locks", "layers", "memo"):
        shutil.rmtree(store.path(name))
    again = Store.open(store.root)
    assert again.blobs.read(digest) == b"x"
    assert set(os.listdir(store.root)) >= {"records", "work", "locks", "layers", "memo"}


def test_a_store_whose_making_was_cut_short_is_completed(tmp_path: Path) -> None:
    (tmp_path / "store" / "blobs").mkdir(parents=True)
    (tmp_path / "store" / "format").touch()
    store = Store.open(str(tmp_path / "store"))
    assert (tmp_path / "store" / "format").read_text() == "1\n"
    store.blobs.put(b"x")


def test_other_formats_are_refused(store: Store) -> None:
    Path(store.root, "format").write_text("2\n")
    with pytest.raises(StoreError, match="format '2'") as caught:
        Store.open(store.root)
    assert "PYBUILD_HOME" in caught.value.hint


def test_what_is_no_store_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    (tmp_path / "home" / "photos").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="photos"):
        Store.open(str(tmp_path / "home"))
    assert os.listdir(tmp_path / "home") == ["photos"]
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o755
    with pytest.raises(StoreError, match="not a directory"):
        Store.open(str(tmp_path / "file"))
    with pytest.raises(StoreError, match="cannot open the store"):
        Store.open(str(tmp_path / "file" / "store"))
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(StoreError, match="cannot open the store"):
        Store.open(str(tmp_path / "loop"))


@pytest.mark.attack("T8", "K6")
def test_others_may_not_look_in(tmp_path: Path) -> None:
    root = tmp_path / "store"
    root.mkdir()
    root.chmod(0o777)
    Store.open(str(root))
    assert root.stat().st_mode & 0o7777 == 0o700
    root.chmod(0o755)
    Store.open(str(root))
    assert root.stat().st_mode & 0o7777 == 0o700
    root.chmod(0o770)
    with pytest.raises(StoreError, match="writable by others"):
        Store.open(str(root))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
@pytest.mark.attack("K6")
def test_the_store_of_another_user_is_refused(store: Store) -> None:
    os.chown(store.root, 1234, 1234)
    with pytest.raises(StoreError, match="belongs to user 1234"):
        Store.open(store.root)


def test_a_store_that_is_gone_is_not_made_anew_in_the_background(store: Store) -> None:
    from buildkit_py.api.cache import evict_beside

    os.unlink(store.path("format"))
    evict_beside(1, store.root)
    assert not os.path.exists(store.path("format"))
    shutil.rmtree(store.root)
    evict_beside(1, store.root)
    assert not os.path.exists(store.root)


def _open(root: str) -> None:
    store = Store.open(root)
    store.blobs.put(b"%d" % os.getpid())
    os._exit(0)


def test_sixteen_processes_make_the_same_store(tmp_path: Path) -> None:
    root = str(tmp_path / "store")
    context = multiprocessing.get_context("fork")
    openers = [context.Process(target=_open, args=(root,)) for _ in range(16)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join()
    assert [opener.exitcode for opener in openers] == [0] * 16
    assert len(list(Store.open(root).blobs.all())) == 16


def test_opening_imports_next_to_nothing(store: Store) -> None:
    """Start-up time is a feature: what a build with nothing to do opens must not load what it does not use."""
    script = (
        "import sys; from buildkit_py.store.store import Store; store = Store.open(sys.argv[1])\n"
        "store.blobs, store.layers, store.snapshots, store.records, store.images, store.mounts, store.builds\n"
        "store.records.get('a' * 64); store.images.get('x'); store.hold().release()\n"
        "print(*sorted(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {os.getcwd()!r})\n{script}", store.root],
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {
        *("typing", "re", "enum", "dataclasses", "json", "pathlib", "subprocess", "socket", "argparse", "shutil"),
        *("tempfile", "contextlib", "logging", "sqlite3", "ctypes", "threading", "tomllib", "hashlib", "blake3"),
        *("buildkit_py.store.gc", "buildkit_py.store.verify", "buildkit_py.store.recover"),
    }
    assert heavy.isdisjoint(run.stdout.split())


def test_a_store_has_no_other_parts(store: Store) -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        store.nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_inside_a_user_namespace(store: Store) -> None:
    """Uid 0 of the namespace is the user outside, and files of other mapped owners come and go."""
    from tests.needs import need

    need("unshare", "newuidmap")
    script = """
import os, sys
from pathlib import Path
from buildkit_py.store.gc import prune
from buildkit_py.store.layers import LayerMeta
from buildkit_py.store.store import Store
from buildkit_py.store.verify import verify
store = Store.open(sys.argv[1])
assert os.geteuid() == 0
with store.work_dir("step") as work:
    tree = Path(work.path, "upper")
    (tree / "of_another" / "below").mkdir(parents=True)
    (tree / "of_another" / "below" / "file").touch()
    for path in ("of_another/below/file", "of_another/below", "of_another"):
        os.chown(tree / path, 33, 33)
    (tree / "of_another").chmod(0)
    (tree / "of_another" / "below").chmod(0o500)
    tree.chmod(0o555)
    os.chown(tree, 33, 33)
    store.layers.add(LayerMeta("a" * 64, "b" * 64), str(tree))
assert store.layers.present("a" * 64)
assert verify(store) == ()
with store.work_dir("leftover") as work:
    work.keep()
    Path(work.path, "file").touch()
    os.chown(work.path + "/file", 33, 33)
shares = {share.kind: share.count for share in prune(store, all=True)}
assert shares == {"layers": 1}, shares
print("good")
"""
    command = ["unshare", "--user", "--map-root-user", "--map-auto"]
    if os.geteuid() == 0:
        # Root has no subuid range of its own here, and needs none: it may map whatever it likes.
        command = ["unshare", "--user", "--map-users=0,0,65536", "--map-groups=0,0,65536", "--setuid=0", "--setgid=0"]
    run = subprocess.run(
        [*command, sys.executable, "-c", script, store.root], capture_output=True, text=True, check=False
    )
    assert run.stdout == "good\n", run.stderr
