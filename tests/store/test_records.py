from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from buildkit_py.digest import key_of
from buildkit_py.store.records import StepRecord
from buildkit_py.store.store import Store
from tests.store.samples import OLD

KEY = "c" * 64
RECORD = StepRecord(
    key=KEY,
    kind="run",
    snapshot="a" * 64,
    layer="b" * 64,
    text="out\udcffput",
    definition=KEY,
    content="d" * 64,
    parts=(("argv", ("make", "all")), ("files", (("a", b"\x00"), ("b\udc80", None, True, 12)))),
    name="[web 2/5] RUN make",
    milliseconds=1234,
    bytes=99,
    created=1_700_000_000,
    tool="0.1.0",
)


def test_put_and_get(store: Store) -> None:
    assert store.records.get(KEY) is None
    assert not store.records.has(KEY)
    store.records.put(KEY, RECORD)
    again = Store.open(store.root)
    assert again.records.has(KEY)
    assert again.records.get(KEY) == RECORD
    assert again.records.get(KEY, parts=False) == RECORD.replace(parts=())
    assert list(again.records.all()) == [(KEY, RECORD.replace(parts=()))]
    assert again.records.delete(KEY)
    assert not again.records.delete(KEY)
    assert again.records.get(KEY) is None


def test_one_record_under_two_keys(store: Store) -> None:
    other = "e" * 64
    store.records.put(KEY, RECORD)
    store.records.put(other, RECORD)
    assert store.records.get(other) == RECORD.replace(key=other)
    assert store.records.get(KEY) == RECORD


def test_a_long_head_and_many_parts(store: Store) -> None:
    long = RECORD.replace(text="x" * 100_000, parts=tuple((f"file {n}", bytes(32)) for n in range(50_000)))
    store.records.put(KEY, long)
    assert store.records.get(KEY) == long
    assert store.records.get(KEY, parts=False) == long.replace(parts=())


def test_every_damaged_byte_and_length_makes_it_absent(store: Store) -> None:
    store.records.put(KEY, RECORD)
    path = Path(store.records.path(KEY))
    whole = path.read_bytes()
    cases = [whole[:n] for n in range(len(whole))]
    cases += [whole[:n] + bytes([whole[n] ^ 4]) + whole[n + 1 :] for n in range(len(whole))]
    cases += [b"\xff" * len(whole), whole + b"x"]
    for damaged in cases:
        path.write_bytes(damaged)
        assert store.records.get(KEY) is None
        assert not path.exists()
    assert store.records.get(KEY) is None
    store.records.put(KEY, RECORD)
    assert store.records.get(KEY) == RECORD


def test_a_record_under_another_name_is_not_believed(store: Store) -> None:
    store.records.put(KEY, RECORD)
    other = "cc" + "0" * 62
    os.rename(store.records.path(KEY), store.records.path(other))
    assert store.records.get(other) is None


@pytest.mark.parametrize("what", ["link", "directory", "fifo"])
def test_what_is_no_file_counts_as_absent(store: Store, what: str) -> None:
    store.records.put(KEY, RECORD)
    path = Path(store.records.path(KEY))
    path.rename(path.parent / "elsewhere")
    if what == "link":
        path.symlink_to("elsewhere")
    elif what == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    assert store.records.get(KEY) is None
    store.records.put(KEY, RECORD)
    assert store.records.get(KEY) == RECORD


def test_only_plain_values_are_parts(store: Store) -> None:
    with pytest.raises(ValueError, match="unmarshal"):
        store.records.put(KEY, RECORD.replace(parts=(object(),)))
    assert store.records.get(KEY) is None


def test_use_is_noted_once_an_hour_and_by_every_build(store: Store) -> None:
    store.records.put(KEY, RECORD)
    path = store.records.path(KEY)
    os.utime(path, (OLD, OLD))
    store.records.read(KEY)
    assert os.stat(path).st_mtime == OLD
    store.records.get(KEY)
    assert os.stat(path).st_mtime > OLD

    recent = time.time() - 1000
    os.utime(path, (recent, recent))
    again = Store.open(store.root)
    again.records.get(KEY)
    assert os.stat(path).st_mtime == pytest.approx(recent, abs=1)
    with again.hold() as hold:
        again.records.get(KEY)
        assert os.stat(path).st_mtime_ns >= hold.start
        os.utime(path, (recent, recent))
        again.records.get(KEY)
        assert os.stat(path).st_mtime == pytest.approx(recent, abs=1)
    with again.hold() as hold:
        again.records.get(KEY)
        assert os.stat(path).st_mtime_ns >= hold.start


def _race(root: str, number: int) -> None:
    store = Store.open(root)
    for round in range(50):
        key = key_of("race", round)
        mine = RECORD.replace(key=key, text=str(number) * 3000, created=number)
        store.records.put(key, mine)
        found = store.records.get(key)
        assert found is not None
        assert found.text == str(found.created) * 3000
    os._exit(0)


def test_sixteen_processes_race_for_the_same_records(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    racers = [context.Process(target=_race, args=(store.root, n)) for n in range(16)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0] * 16
    assert len(list(store.records.all())) == 50
    assert os.listdir(store.path("quarantine")) == []


def _step(root: str, log: str) -> None:
    store = Store.open(root)
    with store.records.lock(KEY):
        if store.records.get(KEY) is None:
            with open(log, "a") as file:
                file.write("ran\n")
            time.sleep(0.05)
            store.records.put(KEY, RECORD)
    os._exit(0)


def test_the_same_step_runs_once(store: Store, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    builds = [context.Process(target=_step, args=(store.root, str(tmp_path / "log"))) for _ in range(6)]
    for build in builds:
        build.start()
    for build in builds:
        build.join()
    assert (tmp_path / "log").read_text() == "ran\n"
