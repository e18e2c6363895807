"""Begins a sandbox before its spec is known: a process that gets ready by itself, and then waits for the rest.

Who forks it need not have loaded what it is made by: the child does that,
while its parent finds out what is to run.
"""

from __future__ import annotations

import _socket
import marshal
import os

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.failure import NO_NAMESPACES
from buildkit_py.sandbox.host import SETUP_FAILED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

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
    connected: tuple[int, int] = (-1, -1),
    bring: Callable[[int, int], None] | None = None,
    others: Others | None = None,
) -> tuple[int, int, _socket.socket]:
    """Fork a process that lays the ground of a sandbox and waits for its spec: process id, pidfd, and a socket.

    The socket takes one request, for a spec with this `outline`; if the ground could not be laid, that is reported
    then. `network` is as for `spawn`; without it, the process has one of its own, unless it is the host's. If somebody
    connects that, it tells `bring`, by the namespace's descriptor and the second of `connected` (for which see
    `spawn`). With `others`, it is sent there, and makes its namespaces itself while this process goes on. Only for
    processes with one thread that handle no signal meanwhile (`Unsignalled`). Raises `OSError`.
    """
    flags = NAMESPACES
    if outline.network != "host" and network < 0:
        flags |= syscalls.CLONE_NEWNET
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    try:
        joined, pid, pidfd = clone(syscalls.CLONE_NEWPID if others is not None else flags, outline.cgroups)
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
        try:
            if others is not None:
                syscalls.unshare(flags & ~syscalls.CLONE_NEWPID)
            if bring is not None:
                _bring_network(bring, connected[1])
        except OSError as error:
            _refuse(theirs, NO_NAMESPACES, error.errno or 0, "")
        else:
            _become(host, outline, theirs, network, connected[0], joined)
    finally:
        os._exit(SETUP_FAILED)


def _bring_network(bring: Callable[[int, int], None], writer: int) -> None:
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    bring(namespace, writer)
    os.close(namespace)
    os.close(writer)  # or this process would wait for itself


def _become(host: Host, outline: Outline, requests: _socket.socket, network: int, connected: int, joined: str) -> None:
    try:
        from buildkit_py.sandbox.init import become_the_next
    except Exception as problem:  # pybuild itself is being replaced, or cannot be read
        _refuse(requests, "what makes a sandbox cannot be loaded", 0, str(problem))
        return
    become_the_next(host, outline, requests, network, connected, joined)


def _refuse(requests: _socket.socket, stage: str, errno: int, subject: str) -> None:
    from buildkit_py.sandbox.request import receive

    _, descriptors = receive(requests)
    if descriptors:
        os.write(descriptors[0], marshal.dumps(("error", stage, errno, subject)))


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
