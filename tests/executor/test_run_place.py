"""The place of a Run: one that cannot be had holds nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.api.session import Session
from buildkit_py.errors import SandboxError, UsageError
from buildkit_py.executor.local import LocalExecutor
from buildkit_py.executor.run_place import Asked
from buildkit_py.executor.settings import Given, Settings
from buildkit_py.graph.op import Mount, Run
from buildkit_py.graph.step import Step
from buildkit_py.sandbox.network import plan as plans
from tests.sandbox.network.test_hub import PLAN

LACKS = PLAN.replace(missing=(("pasta", "as root: apt-get install passt"),))


CACHE = Mount("cache", "/c", id="c", sharing="locked", read_only=False)


def test_a_cache_is_free_again_where_there_is_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "draw", lambda: LACKS)
    told: list[object] = []
    with Session(str(tmp_path / "store")) as session:
        executor = _executor(session, told, tmp_path)
        with pytest.raises(SandboxError, match="no isolated network") as caught:
            executor.runs.place(_asked(Run(("true",), mounts=(CACHE,), network="isolated")))
        executor.runs.place(_asked(Run(("true",), mounts=(CACHE,), network="none"))).release()
    assert caught.value.hint == "as root: apt-get install passt"
    assert told == []


def test_a_cache_is_free_again_where_a_name_of_a_host_is_none(tmp_path: Path) -> None:
    with Session(str(tmp_path / "store")) as session:
        executor = _executor(session, [], tmp_path)
        hosts = (("db\n192.0.2.9 registry", "192.0.2.3"),)
        with pytest.raises(UsageError, match="not a host name"):
            executor.runs.place(_asked(Run(("true",), mounts=(CACHE,), network="none", hosts=hosts)))
        executor.runs.place(_asked(Run(("true",), mounts=(CACHE,), network="none"))).release()


def _executor(session: Session, told: list[object], scratch: Path) -> LocalExecutor:
    """One that is cancelled, so that who would wait for a cache raises."""
    executor = LocalExecutor(
        session.store,
        session.materializer(),
        session.launcher,
        told.append,
        session.clock,
        Given(lambda id: None, lambda id: None),
        Settings(str(scratch)),
        session.transport,
    )
    executor.cancel()
    return executor


def _asked(op: Run) -> Asked:
    return Asked(Step(op, name="RUN true"), "", ())
