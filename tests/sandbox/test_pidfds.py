"""Processes by their pidfds: real ones, that run, have ended and are not waited for, and are gone."""

from __future__ import annotations

import os
import subprocess

import pytest

from buildkit_py.sandbox.pidfds import has_ended, is_elsewhere, pid_of
from buildkit_py.sandbox.userns import id_map, join
from tests.needs import need


def test_one_that_runs_ends_and_is_gone() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    pidfd = os.pidfd_open(child)
    assert (pid_of(pidfd), has_ended(pidfd), is_elsewhere(pidfd, "user")) == (str(child), False, False)
    os.close(writer)
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    for gone in (False, True):
        if gone:
            os.waitpid(child, 0)
        assert has_ended(pidfd)
        with pytest.raises(ProcessLookupError):
            is_elsewhere(pidfd, "user")
        with pytest.raises(ProcessLookupError):
            join(pidfd, "who it was")
    assert pid_of(pidfd) == ""
    os.close(pidfd)
    os.close(reader)


def test_one_in_other_namespaces() -> None:
    need("unshare")
    # Of an ordinary user only a user namespace that is new lets make the others.
    command = ["unshare", "--user", "--map-root-user", "--uts", "sh", "-c", "echo ready; read line"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        pidfd = os.pidfd_open(process.pid)
        assert [is_elsewhere(pidfd, kind) for kind in ("user", "uts", "net")] == [True, True, False]
        process.communicate(b"\n")
    os.close(pidfd)


def test_the_numbers_that_exist_here() -> None:
    done = subprocess.run(["cat", "/proc/self/uid_map"], capture_output=True, text=True, check=True)
    assert id_map("uid") == [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(id_map("gid")) > 0
