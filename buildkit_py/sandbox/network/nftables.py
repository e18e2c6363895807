"""nftables rules, put into the kernel by netlink (linux/netfilter/nf_tables.h), so that no `nft` is needed.

A table may belong to the socket that made it: then it is gone as soon as that
is closed, whoever is killed (Linux 5.12).
"""

from __future__ import annotations

from struct import pack

from buildkit_py.sandbox.network.netlink import Message, Netlink, attribute, attributes, nested, text

INET, IPV4, IPV6 = 1, 2, 10
_NETFILTER = 12  # of the protocols of netlink(7)
_TABLES = 10  # NFNL_SUBSYS_NFTABLES
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEWTABLE, _NEWCHAIN, _GETCHAIN, _NEWRULE = 0, 3, 4, 6
_CREATE, _APPEND = 0x400, 0x800
_OWNER = 0x2
_FORWARD, _POSTROUTING = 2, 4
_FILTER_PRIORITY, _SOURCE_NAT_PRIORITY = 0, 100
_VERDICT, _REGISTER = 0, 1
DROP, ACCEPT = 0, 1
_EQUAL = 0


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, pack(">I", value))  # in network order, unlike in rtnetlink


def _message(kind: int, family: int, *parts: bytes, flags: int = 0) -> Message:
    return Message(_TABLES << 8 | kind, pack(">BBH", family, 0, 0) + b"".join(parts), flags)


def _frame(kind: int) -> Message:
    return Message(kind, pack(">BBH", 0, 0, _TABLES))


def _expression(name: str, *parts: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *parts))


def comes_by(interface: str) -> bytes:
    """The packet comes in by the interface of that name, which need not be there yet."""
    return _meta(6) + _compare(_interface(interface))


def goes_by(interface: str) -> bytes:
    """The packet goes out by the interface of that name, which need not be there yet."""
    return _meta(7) + _compare(_interface(interface))


def comes_from(address: bytes) -> bytes:
    """The packet's source is that address, in a table of its family."""
    offset = 12 if len(address) == 4 else 8
    load = _expression("payload", _number(1, _REGISTER), _number(2, 1), _number(3, offset), _number(4, len(address)))
    return load + _compare(address)


def is_new() -> bytes:
    """The packet belongs to no connection that is known, and to none that is related to one."""
    known = pack("=I", 0x2 | 0x4)  # NF_CT_STATE_BIT of established, related
    load = _expression("ct", _number(1, _REGISTER), _number(2, 0))
    mask = _expression(
        "bitwise",
        _number(1, _REGISTER),
        _number(2, _REGISTER),
        _number(3, 4),
        nested(4, attribute(1, known)),
        nested(5, attribute(1, bytes(4))),
    )
    return load + mask + _compare(bytes(4))


def drop() -> bytes:
    """The packet is dropped."""
    return _expression("immediate", _number(1, _VERDICT), nested(2, nested(2, _number(1, DROP))))


def masquerade() -> bytes:
    """The packet's source becomes the address of the interface that it goes out by."""
    return _expression("masq")


def _meta(key: int) -> bytes:
    return _expression("meta", _number(2, key), _number(1, _REGISTER))


def _interface(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")  # IFNAMSIZ


def _compare(value: bytes) -> bytes:
    return _expression("cmp", _number(1, _REGISTER), _number(2, _EQUAL), nested(3, attribute(1, value)))


def open_netlink() -> Netlink:
    """A socket for the rules of the network namespace that the process is in. Raises `OSError`."""
    return Netlink(_NETFILTER)


class Table:
    """A table to be made, with two chains: what is `forwarded`, and the source addresses of what `leaves`.

    Each rule is a sequence of conditions and what is done, as the functions above give them.
    """

    def __init__(self, family: int, name: str, *, forwarded: list[bytes] | None = None, leaves: list[bytes]) -> None:
        self._family = family
        self._name = name
        self._chains = [("forwarded", "filter", _FORWARD, _FILTER_PRIORITY, forwarded or [])] if forwarded else []
        self._chains.append(("leaves", "nat", _POSTROUTING, _SOURCE_NAT_PRIORITY, leaves))

    def make(self, netlink: Netlink, *, owned: bool) -> None:
        """Make it in the namespace of a socket; `owned`: for as long as the socket is open. Raises `OSError`."""
        flags = [_number(2, _OWNER)] if owned else []
        messages = [_message(_NEWTABLE, self._family, text(1, self._name), *flags, flags=_CREATE)]
        for name, kind, hook, priority, rules in self._chains:
            where = nested(4, _number(1, hook), _number(2, priority))
            table = text(1, self._name)
            messages.append(
                _message(
                    _NEWCHAIN,
                    self._family,
                    table,
                    text(3, name),
                    where,
                    _number(5, ACCEPT),
                    text(7, kind),
                    flags=_CREATE,
                )
            )
            messages += [
                _message(_NEWRULE, self._family, table, text(2, name), nested(4, rule), flags=_CREATE | _APPEND)
                for rule in rules
            ]
        netlink.transact(_frame(_BATCH_BEGIN), messages, _frame(_BATCH_END))


def drops_forwarded(netlink: Netlink) -> bool:
    """Whether a chain of this machine drops forwarded packets that no rule of its own accepts, as docker's does.

    Another table cannot accept for it: a packet passes every chain. Raises `OSError`.
    """
    for family in (INET, IPV4):
        for body in netlink.dump(_message(_GETCHAIN, family)):
            chain = attributes(body[4:])
            hook = attributes(chain.get(4, b"")).get(1, b"")
            if hook == pack(">I", _FORWARD) and chain.get(5) == pack(">I", DROP):
                return True
    return False
