from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from buildkit_py.errors import UsageError
from buildkit_py.store.containers import CREATED, EXITED, RUNNING, About, State
from buildkit_py.store.sealed import seal
from buildkit_py.store.store import Store

ID = "ab" * 32


def about(name: str = "web", id: str = ID, layers: tuple[str, ...] = ()) -> About:
    return About(id, name, "image", ("true",), layers, 12.5, {"rest": (1, "a")})


def test_what_is_made_is_found(store: Store) -> None:
    one, other = about(), about("other", "ac" * 32).replace(created=13.0)
    path = Path(store.containers.create(one))
    store.containers.create(other)
    assert (path / "upper").stat().st_mode & 0o777 == 0o755
    assert store.containers.all() == [other, one]
    for text in ("web", ID, "ab"):
        assert store.containers.find(text) == one
    assert store.containers.state(ID).status == CREATED
    for text in ("a", "", "we", "zz"):
        with pytest.raises(UsageError):
            store.containers.find(text)


def test_a_name_is_taken_once(store: Store) -> None:
    store.containers.create(about())
    with pytest.raises(UsageError, match="has the name `web`"):
        store.containers.create(about(id="ac" * 32))
    for name in ("", "-x", ".x", "a/b", "a b", "ä", "a\n"):
        with pytest.raises(UsageError, match="cannot be the name"):
            store.containers.create(about(name, "ad" * 32))
    assert os.listdir(store.containers.dir) == [ID]


def test_one_that_runs_is_one_whose_supervisor_lives(store: Store) -> None:
    store.containers.create(about())
    running = State(status=RUNNING, started=1.0)
    lock = store.containers.take(ID)
    assert lock is not None
    assert store.containers.take(ID) is None
    store.containers.set_state(ID, running)
    assert store.containers.state(ID).status == RUNNING
    with pytest.raises(UsageError, match="is running"):
        store.containers.delete(ID)
    lock.release()
    state = store.containers.state(ID)
    assert (state.status, state.code, state.problem) == (EXITED, 137, "its supervisor was killed")
    assert store.containers.delete(ID)
    assert not store.containers.delete(ID)


def test_one_whose_supervisor_was_killed_does_not_run_again_when_somebody_takes_it(store: Store) -> None:
    store.containers.create(about())
    store.containers.set_state(ID, State(RUNNING, started=1.0))
    lock = store.containers.take(ID)
    assert lock is not None
    store.containers.note_lost(ID)
    state = store.containers.state(ID)
    assert (state.status, state.code, state.problem) == (EXITED, 137, "its supervisor was killed")
    assert "is just being started, copied from or committed" in store.containers.taken(ID).message
    with pytest.raises(UsageError, match="copied from or committed"):
        store.containers.delete(ID)
    lock.release()
    assert store.containers.state(ID) == state
    assert store.containers.delete(ID)


def test_a_state_from_before_health_was_checked(store: Store) -> None:
    path = store.containers.create(about())
    Path(path, "state").write_bytes(seal(State(status=EXITED, code=3, cgroups=("/a",)).values()[:-1]))
    state = store.containers.state(ID)
    assert (state.status, state.code, state.problem, state.cgroups, state.health) == (EXITED, 3, "", ("/a",), ())


def test_one_that_ran_when_the_machine_went_down(store: Store) -> None:
    path = store.containers.create(about())
    Path(path, "state").write_bytes(seal(State(status=RUNNING, boot="another").values()))
    state = store.containers.state(ID)
    assert (state.status, state.code, state.problem) == (EXITED, 137, "the machine went down")


def test_damage(store: Store) -> None:
    path = Path(store.containers.create(about()))
    (path / "state").write_bytes(b"rubbish")
    assert store.containers.state(ID).problem == "its state is damaged"
    (path / "about").write_bytes(seal(("too", "few")))
    assert store.containers.about(ID) is None
    (damaged,) = store.containers.all()
    assert (damaged.id, damaged.name) == (ID, ID[:12])
    assert store.containers.find(ID[:12]) == damaged
    store.containers.create(about(id="ac" * 32))
    assert store.containers.delete(ID)
    for id in ("..", "", "AB" * 32):
        with pytest.raises(ValueError, match="not the id"):
            store.containers.path(id)


def while_looking(look: Callable[[], object], act: Callable[[int], object], times: int) -> None:
    """Do something so often while another thread looks all the time; what either raises is raised."""
    over = threading.Event()
    problems: list[BaseException] = []

    def looking() -> None:
        try:
            while not over.is_set():
                look()
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=looking)
    thread.start()
    try:
        for number in range(times):
            act(number)
    finally:
        over.set()
        thread.join()
    if problems:
        raise problems[0]


def test_to_look_at_one_hinders_nobody(store: Store) -> None:
    store.containers.create(about())

    def take(_: int) -> None:
        lock = store.containers.take(ID)
        assert lock is not None
        lock.release()

    while_looking(lambda: store.containers.is_supervised(ID), take, 2000)


def test_one_that_ends_well_is_never_said_to_be_lost(store: Store) -> None:
    store.containers.create(about())
    seen: set[str] = set()

    def run(_: int) -> None:
        lock = store.containers.take(ID)
        assert lock is not None
        store.containers.set_state(ID, State(status=RUNNING))
        store.containers.set_state(ID, State(status=EXITED, code=0))
        lock.release()

    while_looking(lambda: seen.add(store.containers.state(ID).problem), run, 1000)
    assert seen == {""}


def test_one_that_is_removed_while_somebody_looks(store: Store) -> None:
    def come_and_go(_: int) -> None:
        store.containers.create(about())
        store.containers.set_state(ID, State(status=RUNNING))
        assert store.containers.delete(ID)

    while_looking(lambda: [store.containers.state(one.id) for one in store.containers.all()], come_and_go, 300)
