"""A way out of the hub: a program or an interface that brings `uplink` into it, and what is said where it cannot."""

from __future__ import annotations

import os
import select

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.userns import find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Where the programs find the hub's namespace: below /run, which their AppArmor profiles let them read.
PLACE = "/run/netns"
NAMESPACE = f"{PLACE}/pybuild"
UPLINK = "uplink"
"""The name in the hub of the interface that leads out."""
LARGEST_MTU = 65520
"""What a program takes from the hub in one piece, since it does not send it on in one."""

_SIGKILL = 9
# A program that says neither that it is ready nor that it failed: nobody should wait for it for ever.
_PATIENCE = 20_000


class UplinkFailed(Exception):
    """A way out that did not come about; its text says why."""


class Program:
    """A program that moves packets between the hub's interface `uplink` and sockets of this machine.

    It writes something to standard output once the interface is there.
    """

    def __init__(self, name: str, arguments: Sequence[str], hub: int) -> None:
        """Start it, for the network namespace `hub`, which it finds at `NAMESPACE`. Raises `UplinkFailed`."""
        self.name = name
        self._ready, writer = os.pipe2(os.O_CLOEXEC)
        self._said = os.memfd_create("uplink", os.MFD_CLOEXEC)
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, writer, 1),
            (os.POSIX_SPAWN_DUP2, self._said, 2),
        ]
        path = find_program(name)
        try:
            show(hub)
            # Nothing of this machine's variables is its business.
            self._pid = os.posix_spawn(path or name, [name, *arguments], {"PATH": os.defpath}, file_actions=actions)
        except OSError as error:
            raise UplinkFailed(f"{name}: {error.strerror}") from error
        finally:
            os.close(writer)
        self.pidfd = os.pidfd_open(self._pid)

    def wait(self) -> None:
        """Block until the interface is there. Raises `UplinkFailed` if the program ends first, or says nothing."""
        poll = select.poll()
        poll.register(self._ready, select.POLLIN)
        if not poll.poll(_PATIENCE):
            raise UplinkFailed(f"{self.name} did not get ready in {_PATIENCE // 1000} seconds")
        said = os.read(self._ready, 100)
        os.close(self._ready)
        if not said:
            # Left for `end`, which every program that did not get ready comes to.
            ended = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
            code = ended.si_status if ended is not None else 0
            raise UplinkFailed(f"{self.name} ended with {code}: {self.last_words()}")

    def last_words(self) -> str:
        """The last line that it wrote to standard error."""
        lines = os.pread(self._said, 1 << 16, 0).decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip() if lines else "it said nothing"

    def end(self) -> None:
        """Kill it, and wait until it is gone."""
        os.kill(self._pid, _SIGKILL)
        os.waitpid(self._pid, 0)


def call_oneself(name: str) -> None:
    """Give this process a name for `ps`: otherwise it has that of whoever forked it (/proc/self/comm, proc(5))."""
    try:
        fd = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    os.write(fd, name.encode())
    os.close(fd)


def show(hub: int) -> None:
    """Make the hub's namespace a file, for programs that want a path. Only in a mount namespace of one's own."""
    if os.path.exists(NAMESPACE):
        syscalls.umount(NAMESPACE.encode(), syscalls.MNT_DETACH)
    else:
        syscalls.mount(b"tmpfs", b"/run", b"tmpfs", 0, b"mode=755,size=64k")
        os.mkdir(PLACE)
        os.close(os.open(NAMESPACE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    syscalls.mount(f"/proc/self/fd/{hub}".encode(), NAMESPACE.encode(), None, syscalls.MS_BIND)
