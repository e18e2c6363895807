"""What RUN's own flags say: times, sizes, counts, pools and paths, read from text for both doors.

The readers raise `ValueError` with what is wrong; the door knows the place.
"""

from __future__ import annotations

from buildkit_py.frontend.buildfile.duration import parse_duration

_DAY = 86_400_000
_MOST_RETRIES = 1000
_LONGEST = 3650 * _DAY


def milliseconds(text: str) -> int:
    """A length of time: a Go duration (`90s`, `1h30m`), in front of which days may stand (`7d`, `1d12h`)."""
    days, found, rest = text.partition("d")
    if not found:
        days, rest = "0", text
    if not text or not (days.isascii() and days.isdigit()):
        raise ValueError(f"`{text}` is no length of time; write 90s, 10m, 1h30m or 7d")
    try:
        total = int(days) * _DAY + (parse_duration(rest) // 1_000_000 if rest else 0)
    except ValueError as problem:
        raise ValueError(f"`{text}` is no length of time; write 90s, 10m, 1h30m or 7d") from problem
    if not 0 < total <= _LONGEST:
        raise ValueError(f"`{text}` is not a time between 1ms and ten years")
    return total


def seconds(text: str) -> int:
    """As `milliseconds`, in whole seconds; at least one."""
    total = milliseconds(text)
    if total < 1000:
        raise ValueError(f"`{text}` is shorter than a second")
    return total // 1000


def script_command(name: str) -> str:
    """What a shell runs for a script that is in a pipe of that name, which may have characters that a shell obeys."""
    path = f"/dev/pipes/{name}"
    if path.replace("_", "").replace("-", "").replace(".", "").replace("/", "").isalnum():
        return path
    from shlex import quote

    return quote(path)


def retries(text: str) -> int:
    """How often something is tried again."""
    if not (text.isascii() and text.isdigit()) or int(text) > _MOST_RETRIES:
        raise ValueError(f"`{text}` is no number of retries; it is from 0 to {_MOST_RETRIES}")
    return int(text)


def processors(text: str) -> int:
    """A share of processors, `2` or `0.5`, in thousandths."""
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9:
        raise ValueError(f"`{text}` is no number of processors; write 2 or 0.5")
    share = int(whole or "0") * 1000 + int((fraction + "000")[:3])
    if share < 10:  # the kernel's least share
        raise ValueError(f"`{text}` is less than a hundredth of a processor")
    return share


def pool(text: str) -> tuple[str, int]:
    """A pool and how many of its steps run at once: `name:n`."""
    name, _, number = text.rpartition(":")
    if not name or not (number.isascii() and number.isdigit()) or not 0 < int(number) < 1 << 31:
        raise ValueError(f"`{text}` is no pool; write its name and how many run at once, as in net:2")
    return name, int(number)


def saved(text: str) -> tuple[str, str]:
    """What `--save-always=src[:dest]` says; see `saved_to`."""
    source, _, dest = text.partition(":")
    return saved_to(source, dest)


def saved_to(source: str, dest: str) -> tuple[str, str]:
    """A path of the step's filesystem and its place in the project, which is the path's own name where none is given.

    `dest` keeps a trailing slash, which makes it a directory.
    """
    if not source:
        raise ValueError("there is no path to save")
    dest = dest or source.rstrip("/").rpartition("/")[2]
    if not dest:
        raise ValueError(f"`{source}` needs a place in the project to be saved to")
    depth = 0
    for part in dest.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            break
    if depth < 0 or dest.startswith("/"):
        raise ValueError(f"`{dest}` leads out of the project; the place is relative to it")
    return source, dest


def pattern(text: str, cwd: str) -> str:
    """An `--inputs` pattern made absolute against the working directory; a `!` stays in front."""
    from buildkit_py.frontend.assemble import join
    from buildkit_py.patterns import IgnoreRules

    sign = "!" if text.startswith("!") else ""
    body = text.removeprefix("!").strip()
    if not body:
        raise ValueError("there is no pattern")
    whole = sign + join("/" if body.startswith("/") else cwd or "/", body)
    IgnoreRules((whole.replace("/", "", 1),))  # raises ValueError for one that is malformed
    return whole
