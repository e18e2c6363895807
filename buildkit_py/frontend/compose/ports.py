"""The ports of a service, by the Compose Specification: `[IP:][HOST:]PORT[/PROTOCOL]` with ranges, or a mapping."""

from __future__ import annotations

from buildkit_py import port_spec
from buildkit_py.errors import ComposeError
from buildkit_py.frontend.compose.project import Port
from buildkit_py.frontend.compose.reader import Fields, items, word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.compose.document import Value

_FIELDS = ("name", "target", "published", "host_ip", "protocol", "app_protocol", "mode")
_HINT = 'write `"8080:80"`, `"127.0.0.1:8080:80/tcp"` or `target: 80`'
_HIGHEST = 65535


def ports(value: Value | None) -> tuple[Port, ...]:
    """All ports of a service, a range as each of its ports. Raises `ComposeError`."""
    if value is None:
        return ()
    found: dict[Port, Port] = {}
    for item in items(value, "ports"):
        address, host, container = _long(item) if isinstance(item.data, dict) else port_spec.split(word(item, "ports"))
        said = ":".join([part for part in (address, host, container) if part])
        try:
            several = port_spec.pairs(address, host, container, said)
        except ValueError as problem:
            raise ComposeError(str(problem), at=item.at, hint=_HINT) from None
        for host_ip, published, target, protocol in several:
            port = Port(target, item.at, published, host_ip, protocol)
            found.setdefault(port.replace(at=value.at), port)
    return tuple(found.values())


def exposed(value: Value | None) -> tuple[str, ...]:
    """The ports of `expose`, as they are written: among the services of a project all ports are open."""
    if value is None:
        return ()
    found = []
    for item in items(value, "expose"):
        text = word(item, "expose")
        try:
            port_spec.pairs("", "", text, text)
        except ValueError as problem:
            raise ComposeError(str(problem), at=item.at) from None
        found.append(text)
    return tuple(found)


def _long(value: Value) -> tuple[str, str, str]:
    """Its parts, as those of a short one."""
    fields = Fields(value, "a port", _FIELDS)
    fields.choice("mode", ("host", "ingress"))
    fields.needs("target")
    target = fields.integer("target", least=1, most=_HIGHEST)
    return fields.text("host_ip"), fields.word("published"), f"{target}/{fields.text('protocol', 'tcp')}"
