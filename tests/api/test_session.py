"""A session: what is one for all threads, whoever asks for it first."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from io import StringIO
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


@pytest.mark.parametrize("what", ["client", "transport"])
def test_no_step_waits_for_what_speaks_to_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """It takes a while to load, and steps want their sandboxes meanwhile."""
    module, name = {
        "client": ("buildkit_py.registry.client", "Client"),
        "transport": ("buildkit_py.http.transport", "Transport"),
    }[what]
    loading, loaded = threading.Event(), threading.Event()

    def load(*_: object, **__: object) -> object:
        loading.set()
        assert loaded.wait(60)
        return StringIO()  # to be closed at the end

    monkeypatch.setattr(importlib.import_module(module), name, load)
    with Session(str(tmp_path / "store")) as session:
        other = threading.Thread(target=getattr(session, what))
        other.start()
        assert loading.wait(60)
        launched = threading.Event()
        threading.Thread(target=lambda: (session.launcher(), launched.set()), daemon=True).start()
        there = launched.wait(30)
        loaded.set()
        other.join()
        assert there


def test_a_launcher_that_ends_is_followed_by_another(tmp_path: Path) -> None:
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from buildkit_py.api.session import Session\n"
        "def children():\n"
        "    return len(open(f'/proc/self/task/{os.getpid()}/children').read().split())\n"
        "with Session(sys.argv[2], sandboxes=True) as session:\n"
        "    first = session.launcher()\n"
        "    session.let_launcher_end()\n"
        "    second = session.launcher()\n"
        "    print(first is second, second is session.launcher(), children())\n"
        "print(children())\n"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parents[2]), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False True 1\n0\n"
