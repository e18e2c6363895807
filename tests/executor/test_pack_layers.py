"""Packing layers ahead: what came to nothing, or was forgotten, is asked for anew."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit_py.api.session import Session
from buildkit_py.errors import PybuildError
from buildkit_py.executor.make_layer import from_directory
from buildkit_py.executor.materialize import Materializer
from buildkit_py.executor.pack_layers import Packer
from buildkit_py.registry.fetch import Fetcher
from buildkit_py.store.store import Store


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Session(str(tmp_path / "store")) as session:
        yield session


def made(store: Store, compression: str = "none") -> str:
    """The id of a layer with one file, always the same one."""
    top = Path(store.work.root) / "upper"
    top.mkdir()
    (top / "file").write_text("some text\n")
    for path in (top / "file", top):
        os.utime(path, ns=(10**18, 10**18))
    return from_directory(store, "", str(top), impure=False, compression=compression).id


def test_a_layer_that_was_not_here_is_packed_when_it_was_made_again(session: Session) -> None:
    store = session.store
    packer = Packer(store, session.materializer(), "zstd")
    layer = made(store)
    store.layers.delete(layer)
    packer.begin(layer)
    with pytest.raises(PybuildError, match="not in the store"):
        packer.blob(layer)
    assert made(store) == layer
    blob = packer.blob(layer)
    assert len(store.blobs.read(blob.digest)) == blob.size
    assert packer.blob(layer) is blob


@pytest.mark.timeout(30)
def test_what_there_is_time_for_is_done_once_and_after_the_packing(session: Session) -> None:
    store = session.store
    layer = made(store)
    done: list[bool] = []
    over = threading.Event()

    def spare() -> None:
        done.append(store.layers.blob(layer, "zstd") is not None)
        over.set()

    packer = Packer(store, session.materializer(), "zstd", spare=spare)
    packer.blob(layer)  # by this thread: nothing is done ahead
    assert done == []
    store.layers.unset_blob(layer, "zstd")
    packer.forget()
    packer.begin(layer)
    over.wait()
    packer.forget()
    packer.begin(layer)
    packer.blob(layer)
    assert done == [True]


@pytest.mark.timeout(30)
def test_nobody_waits_for_what_was_being_made_when_all_was_forgotten(session: Session) -> None:
    store = session.store
    layer = made(store, "zstd")
    other = Packer(store, session.materializer(), "gzip").blob(layer)
    store.layers.unset_blob(layer, "gzip")
    shutil.rmtree(str(store.layers.tree(layer)))
    is_asked, may_go_on = threading.Event(), threading.Event()

    def fetcher() -> Fetcher:
        is_asked.set()
        may_go_on.wait()
        return session.fetcher()

    packer = Packer(store, Materializer(store, session.identity, fetcher), "gzip")
    earlier = threading.Thread(target=packer.blob, args=(layer,))
    earlier.start()
    try:
        is_asked.wait()
        packer.forget()
        store.layers.set_blob(layer, "gzip", other)
        assert packer.blob(layer) == other
    finally:
        may_go_on.set()
        earlier.join()
