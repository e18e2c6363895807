"""A forwarder: the processes that pass on what comes to published ports, for as long as a container runs.

The listening sockets are this machine's, and were there before the container;
a forwarder takes connections from them in the container's own network, where
it makes the other side of each: to the address of `eth0`, as docker's proxy
does. It has no rights there or here, and ends with whoever started it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum
import _socket
import os

from buildkit_py.runner.port_loop import PortLoop
from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.foreground import await_other_threads
from buildkit_py.sandbox.host import SIG_SETMASK, SIGKILL, Host, follow_parent
from buildkit_py.sandbox.network.uplink import call_oneself

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from buildkit_py.runner.published import Bound

_KIND = _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
_SIGPIPE = 13
_INTERFACE = b"eth0"
_GET_ADDRESS = 0x8915  # SIOCGIFADDR, netdevice(7)
_PR_SET_NO_NEW_PRIVS = 38
_NOFILE = 7  # RLIMIT_NOFILE
_REUSE = "/proc/sys/net/ipv4/tcp_tw_reuse"


class Forwarder:
    """Passes on from `ports` to the container whose first process the pidfd is of, until `close`.

    Only for processes with one thread, but for threads that are ending. Raises `OSError`.
    """

    def __init__(self, ports: tuple[Bound, ...], pidfd: int) -> None:
        await_other_threads()
        host = Host(os.pidfd_open(os.getpid()))
        self._children: list[int] = []
        streams = any(port.wanted.protocol == "tcp" for port in ports)
        two = streams and len(os.sched_getaffinity(0)) > 1
        # More, of one interpreter each, would be in the way of what they serve.
        ends = _socket.socketpair(_socket.AF_UNIX, _KIND) if two else (None,)
        try:
            for number, end in enumerate(ends):
                # Datagrams of one client are for one process, which knows it.
                mine = [port for port in ports if number == 0 or port.wanted.protocol == "tcp"]
                child = os.fork()
                if child == 0:
                    try:
                        _become(mine, pidfd, host, end)
                    finally:
                        os._exit(1)
                self._children.append(child)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(host.parent)
            for end in ends:
                if end is not None:
                    end.close()

    def close(self) -> None:
        """End it, and every connection; returns when that is so."""
        for child in self._children:
            os.kill(child, SIGKILL)
        for child in self._children:
            os.waitpid(child, 0)
        self._children.clear()


def _become(ports: list[Bound], pidfd: int, host: Host, other: _socket.socket | None) -> NoReturn:
    """In the child: these sockets and nothing else of who forked it; in the container's network, without rights."""
    follow_parent(host)
    os.setsid()  # Ctrl-C in a terminal is not for it
    for number in host.handled:
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(SIG_SETMASK, ())
    _signal.signal(_SIGPIPE, _signal.SIG_IGN)
    call_oneself("pybuild-ports")
    try:
        syscalls.setns(pidfd, syscalls.CLONE_NEWNET)
    except OSError:
        os._exit(0)  # the container has ended already
    _keep_only({port.socket.fileno() for port in ports} | ({other.fileno()} if other is not None else set()))
    os.chdir("/")
    _use_ports_again()
    address = own_address()
    syscalls.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    syscalls.capset(0, 0)
    _, hard = syscalls.getrlimit(_NOFILE)
    syscalls.setrlimit(_NOFILE, hard, hard)
    PortLoop(ports, address, hard, other).run()


def _keep_only(kept: set[int]) -> None:
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null, number)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                pass  # it was what the list was read from


def _use_ports_again() -> None:
    """Have the port of a connection that has ended free after a second, in this network namespace (ip-sysctl).

    Where the client ends first, which is what most do, the near end of the connection to the container keeps its port
    for a minute. After 14,000 of them the kernel looks for a free one for milliseconds, after 28,000 there is none.
    """
    try:
        fd = os.open(_REUSE, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"1")
        finally:
            os.close(fd)
    except OSError:
        pass  # /proc is not to be written here: so many in a minute are few people's


def own_address() -> str:
    """The IPv4 address of `eth0` in this network namespace, or 127.0.0.1 where there is none. Raises `OSError`."""
    import fcntl

    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        answer = fcntl.ioctl(sock.fileno(), _GET_ADDRESS, _INTERFACE.ljust(40, b"\0"))
    except OSError:
        return "127.0.0.1"
    finally:
        sock.close()
    return ".".join(str(byte) for byte in answer[20:24])
