"""The place of a Run: one that cannot be had holds nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.api.session import Session
from buildkit_py.errors import SandboxError
from buildkit_py.executor.local import LocalExecutor
from buildkit_py.executor.run_place import Asked
from buildkit_py.executor.settings import Given, Settings
from buildkit_py.graph.op import Mount, Run
from buildkit_py.graph.step import Step
from buildkit_py.sandbox.network import plan as plans
from tests.sandbox.network.test_hub import PLAN

LACKS = PLAN.replace(missing=(("pasta", "as root: apt-get install passt"),))


def test_a_cache_is_free_again_where_there_is_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "draw", lambda: LACKS)
    told: list[object] = []
    cache = Mount("cache", "/c", id="c", sharing="locked", read_only=False)
    with Session(str(tmp_path / "store")) as session:
        executor = LocalExecutor(
            session.store,
            session.materializer(),
            session.launcher,
            told.append,
            session.clock,
            Given(lambda id: None, lambda id: None),
            Settings(str(tmp_path)),
            session.transport,
        )
        executor.cancel()  # so that who would wait for the cache raises
        with pytest.raises(SandboxError, match="no isolated network") as caught:
            executor.runs.place(_asked(Run(("true",), mounts=(cache,), network="isolated")))
        executor.runs.place(_asked(Run(("true",), mounts=(cache,), network="none"))).release()
    assert caught.value.hint == "as root: apt-get install passt"
    assert told == []


def _asked(op: Run) -> Asked:
    return Asked(Step(op, name="RUN true"), "", ())
