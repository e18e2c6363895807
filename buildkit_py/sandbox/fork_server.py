"""A small process from which sandboxes are forked, so that the builder, large and threaded, never forks itself.

It is made by `launch.Launcher`, takes requests from one socket and tells
each sandbox's end on a channel of its own. It ends, and all sandboxes with
it, when the builder does.

A request is an empty message with descriptors: channel, the marshalled spec
(a memfd), and standard input, output and error (input may be left out).
The channel then carries marshalled tuples, one a message:

    ("pid", number)                     from here, with the pidfd
    ("ready", stubs)                    from `init`, with the terminal's descriptor if there is one
    ("error", stage, errno, subject)    from `init` or here: set-up failed
    ("exit", status, seconds, max_rss)  from here: the whole process tree is gone
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum
import _socket
import gc
import marshal
import os
import select
import sys
import time

from buildkit_py.sandbox import init
from buildkit_py.sandbox.failure import SetupFailure
from buildkit_py.sandbox.program import host_interpreters
from buildkit_py.sandbox.spec import SandboxSpec

_MOST_DESCRIPTORS = 8
_SIGKILL = 9


class _Running:
    __slots__ = ("channel", "pid", "pidfd", "started")

    def __init__(self, pid: int, pidfd: int, channel: int, started: float) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.channel = channel
        self.started = started


def serve(control: int, parent: int) -> None:
    """Handle requests from the socket `control` until it closes or the process `parent` ends."""
    gc.disable()
    gc.freeze()
    try:
        parent_pidfd = os.pidfd_open(parent)
    except ProcessLookupError:
        return
    if os.getppid() != parent:
        return
    sock = _socket.socket(fileno=control)
    host = init.Host(os.pidfd_open(os.getpid()), host_interpreters())
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(parent_pidfd, select.POLLIN)
    running: dict[int, _Running] = {}
    while True:
        for fd, _ in poll.poll():
            if fd in running:
                poll.unregister(fd)
                _finish(running.pop(fd))
            elif fd == parent_pidfd:
                return _end(running)
            elif fd == control:
                descriptors = _receive(sock)
                if not descriptors:
                    return _end(running)
                child = _start(host, descriptors)
                if child is not None:
                    running[child.pidfd] = child
                    poll.register(child.pidfd, select.POLLIN)


def _receive(sock: _socket.socket) -> list[int]:
    data, ancillary, _, _ = sock.recvmsg(16, _socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS), _socket.MSG_CMSG_CLOEXEC)
    if not data:
        return []
    return [
        int.from_bytes(payload[i : i + 4], sys.byteorder)
        for _, _, payload in ancillary
        for i in range(0, len(payload) - 3, 4)
    ]


def _start(host: init.Host, descriptors: list[int]) -> _Running | None:
    channel, spec_fd, *stdio = descriptors
    child = None
    try:
        spec = SandboxSpec.from_wire(marshal.loads(os.pread(spec_fd, os.fstat(spec_fd).st_size, 0)))
        inp, out, err = stdio if len(stdio) == 3 else (-1, *stdio)
        started = time.monotonic()
        pid, pidfd = init.spawn(spec, host, channel, init.Stdio(inp, out, err))
        child = _Running(pid, pidfd, channel, started)
        # A copy goes over the socket: the builder signals the process itself, whatever state this one is in.
        sock = _socket.socket(fileno=os.dup(channel))
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, pidfd.to_bytes(4, sys.byteorder))
        sock.sendmsg([marshal.dumps(("pid", pid))], [rights])
        sock.close()
    except SetupFailure as failure:
        _tell(channel, ("error", failure.stage, failure.errno, failure.subject))
    except OSError as error:
        if child is None:
            _tell(channel, ("error", "make the sandbox's namespaces", error.errno or 0, ""))
    finally:
        for fd in (spec_fd, *stdio):
            os.close(fd)
        if child is None:
            os.close(channel)
    return child


def _finish(child: _Running) -> None:
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - child.started
    _tell(child.channel, ("exit", status, seconds, usage.ru_maxrss * 1024))
    os.close(child.channel)
    os.close(child.pidfd)


def _tell(channel: int, message: tuple[object, ...]) -> None:
    try:
        os.write(channel, marshal.dumps(message))  # type: ignore[arg-type]
    except OSError:
        pass  # the builder has let go of this sandbox


def _end(running: dict[int, _Running]) -> None:
    for child in running.values():
        try:
            _signal.pidfd_send_signal(child.pidfd, _SIGKILL)
        except ProcessLookupError:
            pass
    for child in running.values():
        os.wait4(child.pid, 0)
