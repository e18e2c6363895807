"""Merging: a value and what another file says of the same thing become one, by the Compose Specification (13-merge.md).

Mappings are merged key by key and lists appended, but for commands, which replace each other, and for what is unique
by a part of it, as the mounts of a service are by their targets. `!reset` takes a value away, `!override` replaces it.
"""

from __future__ import annotations

import os

from buildkit_py.frontend.compose.document import RESET, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

Path = tuple[str, ...]
# Below a service; `*` is any key.
_REPLACED = {("command",), ("entrypoint",), ("healthcheck", "test")}
_VARIABLES = {("environment",), ("build", "args")}
_PAIRS = {
    ("environment",),
    ("labels",),
    ("annotations",),
    ("sysctls",),
    ("build", "args"),
    ("build", "labels"),
    ("build", "additional_contexts"),
    ("deploy", "labels"),
}
_NAMES = {("depends_on",), ("networks",)}
_LISTS = {("env_file",), ("tmpfs",), ("dns",), ("dns_search",), ("extra_hosts",), ("build", "extra_hosts")}


def merged(base: Value, over: Value, path: Path = ()) -> Value:
    """What two values at a path make together, as `services`, `web`, `ports`."""
    if over.tag or base.tag == RESET:
        return over
    part = path[2:] if path[:1] == ("services",) else ()
    if part in _REPLACED:
        return over
    # A variable without a value takes it from the environment; anything else that is empty says nothing.
    if over.data is None and part[:-1] not in _VARIABLES:
        return base
    base, over = _alike(base, over, part)
    if isinstance(base.data, dict) and isinstance(over.data, dict):
        data = dict(base.data)
        for key, value in over.data.items():
            data[key] = merged(data[key], value, (*path, key)) if key in data else value
        return over.replace(data=data)
    if isinstance(base.data, tuple) and isinstance(over.data, tuple):
        if part in _UNIQUE:
            return over.replace(data=_unique(base.data, over.data, _UNIQUE[part]))
        return over.replace(data=base.data + over.data)
    return over


def settled(value: Value) -> Value:
    """A value without what `!reset` took away, and without tags."""
    if isinstance(value.data, dict):
        data = {key: settled(one) for key, one in value.data.items() if one.tag != RESET}
        return value.replace(data=data, tag="")
    if isinstance(value.data, tuple):
        return value.replace(data=tuple([settled(one) for one in value.data if one.tag != RESET]), tag="")
    return value.replace(tag="")


def pairs(value: Value) -> Value:
    """A list of `NAME=value` as the mapping that it stands for; anything else as it is."""
    if not isinstance(value.data, tuple) or not all(isinstance(one.data, str) for one in value.data):
        return value
    found = {}
    for one in value.data:
        name, equals, text = one.data.partition("=")
        found[name] = one.replace(data=text if equals else None, text=text, key=one.at)
    return value.replace(data=found)


def _alike(base: Value, over: Value, part: Path) -> tuple[Value, Value]:
    """Both in one form, where the specification has several for a value."""
    if part in _PAIRS:
        return pairs(base), pairs(over)
    if part in _NAMES and dict in (type(base.data), type(over.data)):
        return _named(base, part), _named(over, part)
    if part in _LISTS:
        return _list(base), _list(over)
    if part == ("build",):
        return _context(base), _context(over)
    return base, over


def _named(value: Value, part: Path) -> Value:
    if not isinstance(value.data, tuple) or not all(isinstance(one.data, str) for one in value.data):
        return value

    def plain(one: Value) -> Value:
        if part == ("networks",):
            return one.replace(data=None, text="", key=one.at)
        condition = one.replace(data="service_started", text="service_started", key=one.at)
        required = one.replace(data=True, text="true", key=one.at)
        return one.replace(data={"condition": condition, "required": required}, key=one.at)

    return value.replace(data={one.data: plain(one) for one in value.data})


def _list(value: Value) -> Value:
    if isinstance(value.data, dict) and value.data and all(isinstance(one.data, str) for one in value.data.values()):
        # hosts with their addresses
        return value.replace(data=tuple([one.replace(data=f"{name}={one.data}") for name, one in value.data.items()]))
    return value if isinstance(value.data, tuple) else value.replace(data=(value,), key=value.key)


def _context(value: Value) -> Value:
    return value.replace(data={"context": value.replace(key=value.at)}) if isinstance(value.data, str) else value


def _unique(base: tuple[Value, ...], over: tuple[Value, ...], key_of: Callable[[Value], object]) -> tuple[Value, ...]:
    out = {key_of(one): one for one in base}
    for one in over:
        key = key_of(one)
        before = out.get(key)
        both = before is not None and isinstance(before.data, dict) and isinstance(one.data, dict)
        out[key] = merged(before, one) if both and before is not None else one
    return tuple(out.values())


def _field(value: Value, name: str, default: str = "") -> str:
    field = value.data.get(name)
    return str(field.data) if field is not None else default


def plain_path(path: str) -> str:
    """An absolute path in the one form that it is known by: `//x/` is `/x`."""
    return os.path.normpath(path).replace("//", "/")


def _mount_key(value: Value) -> object:
    if isinstance(value.data, dict):
        return plain_path(_field(value, "target"))
    parts = str(value.data).split(":")
    return plain_path(parts[1] if len(parts) > 1 else parts[0])


def _tmpfs_key(value: Value) -> object:
    return plain_path(str(value.data).partition(":")[0])


def _file_key(value: Value) -> object:
    if isinstance(value.data, dict):
        return _field(value, "target") or _field(value, "source")
    return str(value.data)


def _port_key(value: Value) -> object:
    if isinstance(value.data, dict):
        protocol = _field(value, "protocol", "tcp")
        return (_field(value, "host_ip"), _field(value, "target"), _field(value, "published"), protocol)
    text, _, protocol = str(value.data).partition("/")
    host, _, target = text.rpartition(":")
    address, _, published = host.rpartition(":")
    return (address.strip("[]"), target, published, protocol or "tcp")


_UNIQUE: dict[Path, Callable[[Value], object]] = {
    ("ports",): _port_key,
    ("volumes",): _mount_key,
    ("tmpfs",): _tmpfs_key,
    ("secrets",): _file_key,
    ("configs",): _file_key,
}
