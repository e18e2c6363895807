"""The second process: one at a time, left to the next user, and lost without harm."""

from __future__ import annotations

import os
import time

import pytest

from buildkit_py.image import second
from buildkit_py.image.second import SLOTS, Lost, Second

HERE = "tests.image.test_second"


def reverse(view: memoryview, length: int, directory: int) -> int:
    """A task: what is in the slot, backwards, and the inode of the directory that came with it."""
    answer = bytes(view[:length])[::-1]
    if directory >= 0:
        answer += b" %d" % os.fstat(directory).st_ino
    view[: len(answer)] = answer
    return len(answer)


def started() -> Second:
    process = second.start()
    if process is None:
        pytest.skip("one processor")
    end = time.monotonic() + 60
    while not process.is_up():
        assert time.monotonic() < end
        time.sleep(0.01)
    return process


def asked(process: Second, text: bytes, directory: int = -1, task: str = f"{HERE}:reverse") -> bytes:
    slot = process.free.pop()
    process.slot(slot)[: len(text)] = text
    process.give(task, slot, len(text), directory)
    number, length = process.take()
    assert number == slot
    process.free.append(slot)
    return bytes(process.slot(number)[:length])


def test_it_does_tasks_by_name_with_a_directory() -> None:
    directory = os.open(".", os.O_PATH)
    with started() as process:
        assert asked(process, b"abc") == b"cba"
        inode = os.fstat(directory).st_ino
        for _ in range(3):
            assert asked(process, b"abc", directory) == b"cba %d" % inode
    os.close(directory)


def test_requests_are_answered_in_their_order() -> None:
    with started() as process:
        for number in range(SLOTS):
            process.slot(number)[:1] = b"%d" % number
            process.give(f"{HERE}:reverse", number, 1)
        assert [process.take() for _ in range(SLOTS)] == [(number, 1) for number in range(SLOTS)]
        assert not process.has_answer()


def test_one_at_a_time_which_is_left_to_the_next() -> None:
    process = started()
    assert second.start() is None
    number = process.pid
    process.leave()
    again = second.start()
    assert again is not None
    with again:
        assert again.pid == number
        assert asked(again, b"ab") == b"ba"
    other = started()
    assert other.pid != number
    other.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(number, os.WNOHANG)


def test_one_that_was_left_can_be_ended_beside_one_at_work() -> None:
    process = started()
    process.leave()
    second.end_left()
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    with started() as other:
        second.end_left()
        assert second.start() is None
        assert asked(other, b"ab") == b"ba"


def test_one_that_is_at_work_is_not_left() -> None:
    process = started()
    process.free.pop()
    process.leave()
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    started().close()


def test_a_task_that_is_not_there_loses_it() -> None:
    with started() as process:
        process.give("tests.image.no_such_module:task", 0, 0)
        with pytest.raises(Lost):
            process.take()


def test_it_ends_when_its_parent_lets_go_of_the_socket() -> None:
    process = started()
    process._socket.close()
    found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert found is not None
    assert found.si_status == 0
    process.close()


def test_it_does_not_hear_a_terminals_signals() -> None:
    with started() as process:
        for number in (1, 2, 3):
            os.kill(process.pid, number)
        assert asked(process, b"ab") == b"ba"
