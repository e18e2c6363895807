"""A session: what is one for all threads, whoever asks for it first."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from buildkit_py.api.session import Session


@pytest.mark.parametrize("what", ["client", "transport"])
def test_it_is_one_for_all_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    if what == "client":
        monkeypatch.delitem(__import__("sys").modules, "buildkit_py.registry.client", raising=False)
    with Session(str(tmp_path / "store")) as session:
        together = threading.Barrier(8)
        found: list[object] = []

        def ask() -> None:
            together.wait(10)
            found.append(getattr(session, what)())

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len({id(one) for one in found}) == 1
