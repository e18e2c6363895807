"""`inside(test)`: a function run in a process of its own in a new network namespace, as root; its result comes back."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from buildkit_py.sandbox import syscalls


def inside(function: Callable[[], Any]) -> Any:
    """What `function` returns, or an assertion with its traceback."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make a network namespace")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            syscalls.unshare(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWNS)
            syscalls.mount(None, b"/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
            answer = (True, function())
        except BaseException:
            answer = (False, traceback.format_exc())
        with os.fdopen(writer, "wb") as file:
            file.write(pickle.dumps(answer))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    ok, value = pickle.loads(data)
    assert ok, value
    return value
