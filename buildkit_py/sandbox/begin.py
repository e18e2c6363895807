"""Begins a sandbox before its spec is known: a process that gets ready by itself, and then waits for the rest.

Who forks it need not have loaded what it is made by: the child does that,
while its parent finds out what is to run.
"""

from __future__ import annotations

import _socket
import marshal
import os

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.host import SETUP_FAILED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.sandbox.affinity import Others
    from buildkit_py.sandbox.host import Host
    from buildkit_py.sandbox.spec import Outline

NAMESPACES = (
    syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWCGROUP
)


def begin(
    host: Host,
    outline: Outline,
    *,
    network: int = -1,
    others: Others | None = None,
) -> tuple[int, int, _socket.socket]:
    """Fork a process that lays the ground of a sandbox and waits for its spec: process id, pidfd, and a socket.

    The socket takes one request, for a spec with this `outline`; if the ground could not be laid, that is reported
    then. `network` is as for `spawn`; without it, the process has one of its own, unless it is the host's. It is sent
    to `others`. Only for processes with one thread that handle no signal meanwhile (`Unsignalled`). Raises `OSError`.
    """
    flags = NAMESPACES
    if outline.network != "host" and network < 0:
        flags |= syscalls.CLONE_NEWNET
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    try:
        joined, pid, pidfd = clone(flags, outline.cgroups)
        if pid and others is not None:
            others.send(pid)
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid:
        theirs.close()
        return pid, pidfd, ours
    try:  # `become_the_next` lets signals through again
        ours.close()
        _become(host, outline, theirs, network, joined)
    finally:
        os._exit(SETUP_FAILED)


def _become(host: Host, outline: Outline, requests: _socket.socket, network: int, joined: str) -> None:
    try:
        from buildkit_py.sandbox.init import become_the_next
    except Exception as problem:  # pybuild itself is being replaced, or cannot be read
        _refuse(requests, problem)
        return
    become_the_next(host, outline, requests, network, joined)


def _refuse(requests: _socket.socket, problem: Exception) -> None:
    from buildkit_py.sandbox.request import receive

    _, descriptors = receive(requests)
    if descriptors:
        os.write(descriptors[0], marshal.dumps(("error", "what makes a sandbox cannot be loaded", 0, str(problem))))


def clone(flags: int, cgroups: tuple[str, ...]) -> tuple[str, int, int]:
    """Fork with new namespaces, and into the control group of version 2 if there is one among those to be joined.

    Which one, "" for none; then as `syscalls.clone`. Who joins it later waits for all processors, 5 to 20 ms.
    """
    for directory in cgroups:
        if os.path.exists(f"{directory}/tasks"):  # version 1: see `join_cgroups`
            continue
        try:
            group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            return directory, *syscalls.clone_into(group, flags)
        except OSError:
            pass  # an old kernel, or a filter in the way: as well as it can be, or with the reason why it cannot
        finally:
            os.close(group)
    return "", *syscalls.clone(flags)
