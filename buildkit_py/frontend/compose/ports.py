"""The ports of a service, by the Compose Specification: `[IP:][HOST:]PORT[/PROTOCOL]` with ranges, or a mapping."""

from __future__ import annotations

from buildkit_py.errors import ComposeError
from buildkit_py.frontend.compose.project import Port
from buildkit_py.frontend.compose.reader import Fields, items, word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.compose.document import Value

_PROTOCOLS = ("tcp", "udp")
_FIELDS = ("name", "target", "published", "host_ip", "protocol", "app_protocol", "mode")
_HINT = 'write `"8080:80"`, `"127.0.0.1:8080:80/tcp"` or `target: 80`'


def ports(value: Value | None) -> tuple[Port, ...]:
    """All ports of a service, a range as each of its ports. Raises `ComposeError`."""
    if value is None:
        return ()
    found: dict[Port, Port] = {}
    for item in items(value, "ports"):
        for port in _long(item) if isinstance(item.data, dict) else _short(item):
            found.setdefault(port.replace(at=value.at), port)
    return tuple(found.values())


def exposed(value: Value | None) -> tuple[str, ...]:
    """The ports of `expose`, as they are written: among the services of a project all ports are open."""
    if value is None:
        return ()
    found = []
    for item in items(value, "expose"):
        text = word(item, "expose")
        span, _, protocol = text.partition("/")
        if protocol not in ("", *_PROTOCOLS):
            raise ComposeError(f"`{text}` has the protocol `{protocol}`", at=item.at, hint="it is `tcp` or `udp`")
        _range(span, item)
        found.append(text)
    return tuple(found)


def _short(value: Value) -> list[Port]:
    text = word(value, "ports")
    rest, _, protocol = text.partition("/")
    rest, _, target = rest.rpartition(":")
    address, _, host = rest.rpartition(":")
    return _paired(value, target, host, address, protocol or "tcp")


def _long(value: Value) -> list[Port]:
    fields = Fields(value, "a port", _FIELDS)
    fields.choice("mode", ("host", "ingress"))
    target = fields.integer("target", least=1) if "target" in fields else int(fields.needs("target").text)
    return _paired(value, str(target), fields.word("published"), fields.text("host_ip"), fields.text("protocol", "tcp"))


def _paired(value: Value, target: str, host: str, address: str, protocol: str) -> list[Port]:
    if protocol.lower() not in _PROTOCOLS:
        raise ComposeError(f"`{protocol}` is no protocol of a port here", at=value.at, hint="it is `tcp` or `udp`")
    address = _address(address, value)
    first, last = _range(target, value)
    if not host:
        return [Port(port, value.at, (0, 0), address, protocol.lower()) for port in range(first, last + 1)]
    host_first, host_last = _range(host, value, least=0)
    if first == last:
        return [Port(first, value.at, (host_first, host_last), address, protocol.lower())]
    if host_last - host_first != last - first:
        raise ComposeError(f"the ranges `{host}` and `{target}` differ in length", at=value.at)
    return [
        Port(first + step, value.at, (host_first + step, host_first + step), address, protocol.lower())
        for step in range(last - first + 1)
    ]


def _range(text: str, value: Value, least: int = 1) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    bounds = (low, high if dash else low)
    if not all(one.isascii() and one.isdigit() and least <= int(one[:6]) <= 65535 for one in bounds):
        raise ComposeError(f"`{text}` is no port", at=value.at, hint=_HINT)
    first, last = int(bounds[0]), int(bounds[1])
    if last < first:
        raise ComposeError(f"the range `{text}` ends before it begins", at=value.at)
    return first, last


def _address(text: str, value: Value) -> str:
    if not text:
        return ""
    from ipaddress import ip_address

    try:
        return str(ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise ComposeError(f"`{text}` is no IP address", at=value.at, hint=_HINT) from None
