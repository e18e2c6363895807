"""Builds of the past: which there were, and what their steps wrote."""

from __future__ import annotations

import os

from buildkit_py.config import store_root
from buildkit_py.errors import UsageError
from buildkit_py.solver.align import bare_name
from buildkit_py.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.store.build_record import BuildRecord, StepSeen


def list_builds(store: str = "") -> tuple[BuildRecord, ...]:
    """Every build that something is known of, newest first."""
    return tuple(Store.open(store or store_root(os.environ)).builds.records())


def logs(id: str = "", step: str = "", store: str = "") -> tuple[BuildRecord, tuple[tuple[StepSeen, str, bytes], ...]]:
    """A build ("": the last one) and what its steps wrote, of those that wrote something, in their order; behind each
    what its services wrote, by their names ("": the step itself).

    `step` is the number of a step or a part of its text. Raises `UsageError`.
    """
    opened = Store.open(store or store_root(os.environ))
    record = _find(opened, id)
    chosen = list(record.steps)
    if step:
        chosen = [one for one in chosen if one.id == step] or [one for one in chosen if step in bare_name(one.name)]
        if not chosen:
            raise UsageError(f"no step of the build {record.id} is `{step}`")
    found = []
    for one in chosen:
        data = opened.builds.log(record.id, one.id) if one.id else None
        if data:
            found.append((one, "", data))
        if one.id:
            found += [(one, name, data) for name, data in opened.builds.service_logs(record.id, one.id) if data]
    return record, tuple(found)


def _find(store: Store, id: str) -> BuildRecord:
    if not id:
        for record in store.builds.records():
            return record
        raise UsageError("nothing was built here yet")
    try:
        found = store.builds.get(id)
    except ValueError:
        found = None
    if found is None:
        raise UsageError(f"nothing is known of a build `{id}`", hint="`pybuild builds` lists them")
    return found
