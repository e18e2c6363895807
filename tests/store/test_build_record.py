"""What is kept of a build."""

from __future__ import annotations

from buildkit_py.store.build_record import BuildRecord, StepSeen, dump, load
from buildkit_py.store.store import Store

STEP = StepSeen("1", "[1/1] RUN a", "run", "app", "f:1:1", state="FAILED", op=("run", ("a",), b"\0"), sources=(0, 2))


def record(id: str, file: str = "/f") -> BuildRecord:
    return BuildRecord(id, file, "/", (("app", 0),), 1.5, 0.25, "failed", "pybuild 9", (STEP,))


def test_it_comes_back_as_it_was() -> None:
    assert load(dump(record("x"))) == record("x")


def test_damage_counts_as_nothing_known() -> None:
    data = dump(record("x"))
    assert load(data[:-1]) is None
    assert load(data.replace(b"pybuild 9", b"pybuild 8")) is None
    assert load(b"") is None


def test_builds_are_listed_newest_first(store: Store) -> None:
    ids = [store.builds.create()[0] for _ in range(3)]
    for id in ids:
        store.builds.put(record(id))
    unfinished, _ = store.builds.create()
    assert [one.id for one in store.builds.records()] == sorted(ids, reverse=True)
    assert store.builds.get(unfinished) is None


def test_a_record_in_another_builds_place_is_not_believed(store: Store) -> None:
    id, path = store.builds.create()
    with open(f"{path}/record", "wb") as file:
        file.write(dump(record("other")))
    assert store.builds.get(id) is None


def test_logs_are_read_by_the_number_of_the_step(store: Store) -> None:
    id, path = store.builds.create()
    with open(f"{path}/step-4.log", "wb") as file:
        file.write(b"hello\n")
    assert store.builds.log(id, "4") == b"hello\n"
    assert store.builds.log(id, "5") is None
