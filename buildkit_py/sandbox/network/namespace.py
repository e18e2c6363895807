"""Whether a sandbox's network namespace is as it was when it was made, so that another sandbox may have it.

A namespace remembers more than can be wiped: ports of closed connections,
metrics and routes learnt per address, answers of neighbours. All of it comes
of packets and sockets, so one that has no socket left and never sent a packet
is as new; any other is thrown away. What root in it could have changed, whoever
asks has to know: a sandbox has no such right, unless it is insecure.
"""

from __future__ import annotations

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.network.hub import INTERFACE

# The places of "packets transmitted" and "transmissions dropped" behind the name of an interface in /proc/net/dev.
_SENT, _DROPPED = 9, 11


class State:
    """What a namespace has been used for so far. Raises `OSError`."""

    __slots__ = ("sent", "sockets")

    def __init__(self, namespace: int, home: int) -> None:
        """Look into `namespace` from `home`, where the process stays; both are descriptors."""
        syscalls.setns(namespace, syscalls.CLONE_NEWNET)
        try:
            devices, sockets = _read("/proc/thread-self/net/dev"), _read("/proc/thread-self/net/sockstat")
            reports = _read("/proc/thread-self/net/snmp6")
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWNET)
        sent = {}
        for line in devices.splitlines():
            name, colon, counts = line.partition(":")
            if colon:
                fields = counts.split()
                sent[name.strip()] = int(fields[_SENT]) + int(fields[_DROPPED])
        # The kernel itself says, once an interface is up and some time later, which groups it is in.
        if INTERFACE in sent:
            sent[INTERFACE] -= sum(
                [int(line.split()[1]) for line in reports.splitlines() if line.startswith("Icmp6OutMLDv2Reports")]
            )
        self.sent = sent
        # "sockets: used 3", of this namespace.
        self.sockets = int(sockets.split("\n", 1)[0].split()[2])

    def is_as_new(self) -> bool:
        """Whether nothing was sent, not even to itself, and no socket is left but the hub's (`hub.Connected`)."""
        return not any(self.sent.values()) and self.sockets == 1


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except FileNotFoundError:  # no IPv6
        return ""
