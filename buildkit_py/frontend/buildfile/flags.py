"""The flags of each instruction: which there are, how often, and what values they take.

The grammar knows only that `--name[=value]` words follow a keyword. A flag's
value loses its quotes and escapes here; what it means and whether variables
in it expand is decided where it is used.
"""

from __future__ import annotations

from buildkit_py.frontend.buildfile.duration import parse_duration
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.buildfile.syntax import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.errors import BuildfileSyntaxError
    from buildkit_py.source_map import Position

    # message, width of the part meant, hint
    Fail = Callable[[str, int, str], BuildfileSyntaxError]

TEXT, LIST, BOOL, DURATION, COUNT = "text", "list", "bool", "duration", "count"

# What is behind `device` is our own, and BuildKit refuses it.
_RUN = {
    "mount": LIST,
    "network": TEXT,
    "security": TEXT,
    "device": LIST,
    "timeout": TEXT,
    "retry": TEXT,
    "ttl": TEXT,
    "always": BOOL,
    "inputs": LIST,
    "cpus": TEXT,
    "memory": TEXT,
    "pool": TEXT,
    "save-always": LIST,
    "with": LIST,
}

FLAGS: dict[str, dict[str, str]] = {
    "FROM": {"platform": TEXT},
    "RUN": _RUN,
    "TEST": {"name": TEXT, **_RUN},
    "SERVICE": {"port": TEXT, "ready": TEXT, "env": LIST, "seed": TEXT, "timeout": TEXT},
    "COPY": {
        "from": TEXT,
        "chown": TEXT,
        "chmod": TEXT,
        "link": BOOL,
        "parents": BOOL,
        "exclude": LIST,
    },
    "ADD": {
        "chown": TEXT,
        "chmod": TEXT,
        "link": BOOL,
        "keep-git-dir": BOOL,
        "checksum": TEXT,
        "exclude": LIST,
        "unpack": BOOL,
    },
    "HEALTHCHECK": {
        "interval": DURATION,
        "timeout": DURATION,
        "start-period": DURATION,
        "start-interval": DURATION,
        "retries": COUNT,
    },
}

CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    (keyword, flag): choices
    for keyword in ("RUN", "TEST")
    for flag, choices in (("network", ("default", "none", "host")), ("security", ("sandbox", "insecure")))
}

# BuildKit never reads the flags of these, and `HEALTHCHECK NONE` has none to read.
UNREAD = frozenset(("ARG", "STOPSIGNAL"))

_SHORTEST = 1_000_000


def read(keyword: str, written: str, position: Position, *, escape: str, seen: set[str], fail: Fail) -> Flag:
    """The flag that a word of the source stands for.

    `seen` collects the names of one instruction. `fail` makes the error, placed
    at the flag, that is raised for an unknown, repeated or malformed one.
    """
    name, equals, value = unquote(written, escape)[2:].partition("=")
    known = FLAGS.get(keyword, {})
    kind = known.get(name)
    width = len(written)
    if kind is None:
        raise fail(f"{keyword} has no flag `--{name}`", len(name) + 2, _known_flags(keyword, name))
    if name in seen and kind != LIST:
        raise fail(f"`--{name}` is given twice", width, "")
    seen.add(name)
    if kind == BOOL:
        if equals and value.lower() not in ("true", "false"):
            what = f"is true or false, not `{value}`" if value else "lacks a value after the `=`"
            raise fail(f"`--{name}` {what}", width, f"`--{name}` alone means true")
        return Flag(name, value.lower() if equals else None, position)
    if not equals:
        raise fail(f"`--{name}` lacks a value", width, f"write `--{name}=…`")
    choices = CHOICES.get((keyword, name))
    if choices and value not in choices:
        hint = did_you_mean(value, choices) or f"it is one of {', '.join(choices)}"
        raise fail(f"`--{name}` cannot be `{value}`", width, hint)
    if value and kind in (DURATION, COUNT):
        try:
            _verify_number(kind, value)
        except ValueError as problem:
            raise fail(f"`--{name}`: {problem}", width, "") from problem
    return Flag(name, value, position)


def unquote(text: str, escape: str) -> str:
    """A flag without its quotes and escapes; one at the very end escapes nothing and is dropped."""
    if "'" not in text and '"' not in text and escape not in text:
        return text
    out: list[str] = []
    quote = ""
    characters = iter(text)
    for ch in characters:
        if ch == quote:
            quote = ""
        elif not quote and ch in "'\"":
            quote = ch
        elif ch == escape:
            out.append(next(characters, ""))
        else:
            out.append(ch)
    return "".join(out)


def _known_flags(keyword: str, name: str) -> str:
    known = FLAGS.get(keyword)
    if not known:
        return f"{keyword} takes no flags; put `--` before an argument that begins with dashes"
    flags = ", ".join(f"`--{flag}`" for flag in known)
    return did_you_mean(name, known, "--") or f"{keyword} knows {flags}"


def _verify_number(kind: str, value: str) -> None:
    if kind == DURATION:
        nanoseconds = parse_duration(value)
        if nanoseconds < _SHORTEST and nanoseconds != 0:
            raise ValueError(f"`{value}` is shorter than 1ms")
        return
    digits = value[1:] if value[0] in "+-" else value
    if not (digits.isascii() and digits.isdigit()) or int(digits) >= 1 << 31:
        raise ValueError(f"`{value}` is no whole number")
    if value[0] == "-" and int(digits):
        raise ValueError(f"`{value}` is negative")
