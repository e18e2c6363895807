"""Jobs: what one wrote down is read back, and nothing is left when it ends."""

from __future__ import annotations

import os
from pathlib import Path

from buildkit_py.store.gc import prune
from buildkit_py.store.jobs import Job, Jobs, Outcome, job_path, read_job
from buildkit_py.store.store import Store

JOB = Job((("local", "/c", "main"),), ("local", "/c", "main"), 1_700_000_000)


def outcome(key: str) -> Outcome:
    return Outcome(((key, "s"),), ((key, ("below",)),), (("name", "", "/c"),), "zstd", None, True)


def test_what_was_written_is_read_back(store: Store) -> None:
    store.jobs.begin("a\nb", JOB)
    assert read_job(store.root, "a\nb") == JOB
    assert read_job(store.root, "a") is None
    for number in (2, 1, 3):
        store.jobs.note("a\nb", f"20260101-00000{number}", outcome(str(number)))
    assert store.jobs.outcomes("a\nb") == [outcome("1"), outcome("2"), outcome("3")]
    assert store.jobs.outcomes("a") == []


def test_a_job_that_ends_leaves_nothing_and_others_alone(store: Store) -> None:
    for name in ("one", "two"):
        store.jobs.begin(name, JOB)
        store.jobs.note(name, "20260101", outcome("x"))
    store.jobs.end("one")
    assert read_job(store.root, "one") is None
    assert store.jobs.outcomes("one") == []
    assert store.jobs.outcomes("two") == [outcome("x")]
    store.jobs.end("two")
    store.jobs.end("two")
    assert os.listdir(store.path("jobs")) == []


class Pruned(Jobs):
    """Somebody prunes the first file just after it was found."""

    def _files(self, name: str) -> list[str]:
        first, *rest = super()._files(name)
        os.unlink(first)
        return [first, *rest]


def test_what_somebody_pruned_leaves_nothing_else_behind(store: Store) -> None:
    store.jobs.begin("one", JOB)
    for number in range(3):
        store.jobs.note("one", f"2026010{number}", outcome("x"))
    Pruned(store.work).end("one")
    assert os.listdir(store.path("jobs")) == []


def test_a_job_that_begins_again_knows_nothing_of_before(store: Store) -> None:
    store.jobs.begin("one", JOB)
    store.jobs.note("one", "20260101", outcome("x"))
    store.jobs.begin("one", JOB)
    assert store.jobs.outcomes("one") == []


def test_what_is_damaged_counts_as_not_there(store: Store) -> None:
    store.jobs.begin("one", JOB)
    store.jobs.note("one", "20260101", outcome("x"))
    for path in (job_path(store.root, "one"), job_path(store.root, "one") + ".20260101"):
        Path(path).write_bytes(Path(path).read_bytes()[:-1])
    assert read_job(store.root, "one") is None
    assert store.jobs.outcomes("one") == []


def test_prune_forgets_jobs(store: Store) -> None:
    store.jobs.begin("one", JOB)
    prune(store, True)
    assert os.listdir(store.path("jobs")) == []
