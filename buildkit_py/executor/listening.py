"""Whether something listens on a port of a process's network: the kernel tells it, so that nobody has to connect."""

from __future__ import annotations

import sys

NOBODY, TO_ITSELF, TO_ALL = 0, 1, 2

_LISTENS = "0A"  # TCP_LISTEN of the kernel's include/net/tcp_states.h
_LOOPBACK = b"\0" * 15 + b"\1"
_MAPPED = b"\0" * 10 + b"\xff\xff"  # what stands before an address of IPv4 that is one of IPv6


def listens(pid: int, port: int) -> int:
    """`TO_ALL` where something listens on the TCP port at an address that others reach, `TO_ITSELF` where only at the
    loopback of its own, `NOBODY` else: also where the process has ended.

    Of each socket `/proc/PID/net/tcp` has address and port in hexadecimal, the address in words of 32 bits that are
    in the machine's order of bytes (the kernel's `Documentation/networking/proc_net_tcp.rst`).
    """
    found = NOBODY
    for name in ("tcp", "tcp6"):
        try:
            with open(f"/proc/{pid}/net/{name}", encoding="ascii") as file:
                lines = file.readlines()[1:]
        except OSError:  # it has ended, or there is no IPv6
            continue
        for line in lines:
            fields = line.split()
            address, _, number = fields[1].partition(":")
            if fields[3] == _LISTENS and int(number, 16) == port:
                found = max(found, TO_ITSELF if _is_loopback(address) else TO_ALL)
    return found


def _is_loopback(text: str) -> bool:
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    address = b"".join([word.to_bytes(4, sys.byteorder) for word in words])
    if len(address) == 16 and not address.startswith(_MAPPED):
        return address == _LOOPBACK
    return address[-4] == 127
