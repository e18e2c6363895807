"""`RUN --mount=…`: one CSV line of keys and values into what a step mounts.

Keys and defaults are BuildKit's; `docs/reference/dockerfile-compatibility.md`
lists them. `key` is our own, and BuildKit refuses it. Values expand; `from`
does not, because which stages a stage needs has to be known before any of
them is looked at.
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildkit_py.source_map import Position

KINDS = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARING = ("shared", "private", "locked")
_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite"}
_KEYS = (
    *("type", "from", "source", "src", "target", "dst", "destination", "readonly", "ro", "readwrite", "rw"),
    *("id", "sharing", "required", "size", "mode", "uid", "gid", "env", "key"),
)
# Those whose value is a text, whatever it comes to.
TEXTS = frozenset(("source", "target", "id", "env", "key"))
_UNITS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}


class RunMount(Record):
    """A parsed mount. `origin` is its `from`; `mode`, `uid` and `gid` are -1 where not given.

    `keys` are all its `key`s: the only one that may be there several times.
    """

    kind: str = "bind"
    origin: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = True
    id: str = ""
    sharing: str = ""
    required: bool = False
    size: int = 0
    mode: int = -1
    uid: int = -1
    gid: int = -1
    env: str = ""
    keys: tuple[str, ...] = ()


def mount_origin(value: str, at: Position) -> str:
    """The `from` of a mount, unexpanded; "" where it has none or its kind takes none."""
    kind, origin = "bind", ""
    for field in _fields(value, at):
        key, _, text = field.partition("=")
        if key.lower() == "type":
            kind = text.lower()
        elif key.lower() == "from":
            if "$" in text:
                raise BuildfileError(
                    "variables are not expanded in a mount's `from`",
                    at=at,
                    hint="name a stage with FROM …, which expands global ARGs, and use its name",
                )
            origin = text
    return origin if kind in ("bind", "cache") else ""


def mount_values(value: str, at: Position) -> Iterator[tuple[str, str]]:
    """Its keys, as they are called without aliases, each with its value before that expands ("" for none)."""
    for field in _fields(value, at):
        key, _, text = field.partition("=")
        yield _ALIASES.get(key.lower(), key.lower()), text


def with_origin(value: str, expand: Callable[[str], str], at: Position) -> str:
    """A mount whose `from` is expanded, and nothing else of it. Raises `BuildfileError`."""
    for field in _fields(value, at):
        key, _, text = field.partition("=")
        if key.lower() == "from" and "$" in text:
            return value.replace(field, f"{key}={expand(text)}", 1)
    return value


def parse_mount(value: str, expand: Callable[[str], str], at: Position) -> RunMount:
    """The mount that a flag's value describes. Raises `BuildfileError` at `at` for anything BuildKit refuses."""
    given: dict[str, object] = {}
    keys: list[str] = []
    read_only: bool | None = None
    kind = "bind"
    for field in _fields(value, at):
        key, equals, text = field.partition("=")
        name = _ALIASES.get(key.lower(), key.lower())
        if not equals:
            if name in ("readonly", "readwrite"):
                read_only = name == "readonly"
            elif name == "required":
                given["required"] = True
            elif name in _KEYS:
                raise BuildfileError(f"`{field}` in --mount needs a value, as in `{field}=…`", at=at)
            else:
                raise _unknown(key, at)
            continue
        text = expand(text)
        match name:
            case "type":
                kind = text.lower()
                if kind not in KINDS:
                    raise BuildfileError(f"unknown mount type `{text}`", at=at, hint=did_you_mean(kind, KINDS))
            case "from":
                given["origin"] = text
            case "source" | "target" | "id" | "env":
                given[name] = text
            case "key":
                if not text.strip("/"):
                    raise BuildfileError("a `key` in --mount names no file", at=at, hint="as in `key=go.sum`")
                keys.append(text)
            case "readonly" | "readwrite":
                read_only = _boolean(key, text, at) == (name == "readonly")
            case "required":
                given["required"] = _boolean(key, text, at)
            case "sharing":
                if text.lower() not in SHARING:
                    hint = did_you_mean(text, SHARING) or f"one of {', '.join(SHARING)}"
                    raise BuildfileError(f"unknown sharing `{text}`", at=at, hint=hint)
                given["sharing"] = text.lower()
            case "size":
                given["size"] = _size(text, at)
            case "mode" | "uid" | "gid":
                given[name] = _number(name, text, 8 if name == "mode" else 10, at)
            case _:
                raise _unknown(key, at)
    if read_only is None:
        read_only = kind not in ("cache", "tmpfs")
    if keys:
        given["keys"] = tuple(keys)
    mount = RunMount(kind=kind, read_only=read_only, **given)  # type: ignore[arg-type]
    _check(mount, given, at)
    return mount


def _check(mount: RunMount, given: dict[str, object], at: Position) -> None:
    kind = mount.kind
    # Those that mean nothing to a kind and that BuildKit passes over all the same are among its own here.
    allowed = {
        "bind": {"origin", "source", "target", "id"},
        "cache": {"origin", "source", "target", "id", "sharing", "mode", "uid", "gid", "keys"},
        "tmpfs": {"origin", "target", "id", "size"},
        "secret": {"source", "target", "id", "required", "mode", "uid", "gid", "env"},
        "ssh": {"origin", "target", "id", "required", "mode", "uid", "gid"},
    }[kind]
    for name in given:
        if name not in allowed:
            shown = {"origin": "from", "keys": "key"}.get(name, name)
            raise BuildfileError(f"a mount of type {kind} takes no `{shown}`", at=at)
    if kind == "secret":
        if mount.source and mount.id:
            raise BuildfileError("a secret's `source` and `id` are the same thing: give one of them", at=at)
        if not (mount.source or mount.id or mount.target):
            raise BuildfileError("a secret needs an `id` or a `target`", at=at)


def _unknown(key: str, at: Position) -> BuildfileError:
    hint = did_you_mean(key.lower(), _KEYS) or f"known are {', '.join(_KEYS)}"
    return BuildfileError(f"unknown key `{key}` in --mount", at=at, hint=hint)


def _fields(line: str, at: Position) -> list[str]:
    """One line of CSV as Go's encoding/csv reads it: a field in quotes may hold commas, `""` is a quote."""
    fields: list[str] = []
    pos = 0
    while True:
        if line[pos : pos + 1] == '"':
            pos += 1
            text = ""
            while True:
                close = line.find('"', pos)
                if close < 0:
                    raise BuildfileError('a quoted field of --mount has no closing `"`', at=at)
                text += line[pos:close]
                pos = close + 1
                if line[pos : pos + 1] != '"':
                    break
                text += '"'
                pos += 1
            if line[pos : pos + 1] not in ("", ","):
                raise BuildfileError('text after the closing `"` of a field of --mount', at=at)
        else:
            comma = line.find(",", pos)
            end = len(line) if comma < 0 else comma
            text = line[pos:end]
            if '"' in text:
                raise BuildfileError('a `"` inside a field of --mount', at=at, hint='quote the whole field: "key=a,b"')
            pos = end
        fields.append(text)
        if pos >= len(line):
            return fields
        pos += 1


def _boolean(key: str, text: str, at: Position) -> bool:
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise BuildfileError(f"`{key}={text}` in --mount is neither true nor false", at=at)


def _number(key: str, text: str, base: int, at: Position) -> int:
    digits = "01234567" if base == 8 else "0123456789"
    if text and set(text) <= set(digits) and int(text, base) < 1 << 32:
        return int(text, base)
    raise BuildfileError(f"`{key}={text}` in --mount is not {'an octal' if base == 8 else 'a'} number", at=at)


def _size(text: str, at: Position) -> int:
    """Bytes of `100`, `1m`, `1.5g`, `64MiB`: docker's RAMInBytes, where every unit is a power of 1024."""
    lowered = text.strip().lower()
    number = lowered.rstrip("bikmgtp ")
    unit = lowered[len(number) :].strip()
    unit = unit.removesuffix("ib") if len(unit) == 3 else unit.removesuffix("b") if len(unit) == 2 else unit
    whole, dot, fraction = number.partition(".")
    if unit not in _UNITS or not text.isascii() or not (whole + fraction).isdigit() or (dot and not fraction):
        raise BuildfileError(f"`size={text}` in --mount is not a size", at=at, hint="a number of bytes, or 64m, 1.5g")
    scale = 1 << _UNITS[unit]
    return int(whole or "0") * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)
