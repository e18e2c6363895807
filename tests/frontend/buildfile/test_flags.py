"""The table of flags, and their quotes and escapes."""

from __future__ import annotations

import pytest

from buildkit_py.errors import BuildfileSyntaxError
from buildkit_py.frontend.buildfile.flags import BOOL, FLAGS, LIST, read, unquote
from buildkit_py.frontend.buildfile.syntax import Flag
from buildkit_py.source_map import Position

PLACE = Position("B", 1)
# Of RUN, and no flags of BuildKit's.
OWN = ("always", "cpus", "inputs", "memory", "pool", "retry", "save-always", "timeout", "ttl", "with")


def fail(message: str, width: int, hint: str) -> BuildfileSyntaxError:
    return BuildfileSyntaxError(message, hint=f"{width} {hint}")


def flag(keyword: str, written: str, seen: set[str] | None = None) -> Flag:
    return read(keyword, written, PLACE, escape="\\", seen=seen if seen is not None else set(), fail=fail)


def test_the_flags_are_those_of_the_current_frontend() -> None:
    assert {keyword: sorted(flags) for keyword, flags in FLAGS.items()} == {
        "FROM": ["platform"],
        "RUN": sorted(["device", "mount", "network", "security", *OWN]),
        "TEST": sorted(["device", "mount", "name", "network", "security", *OWN]),
        "COPY": ["chmod", "chown", "exclude", "from", "link", "parents"],
        "ADD": ["checksum", "chmod", "chown", "exclude", "keep-git-dir", "link", "unpack"],
        "SERVICE": ["env", "port", "ready", "seed", "timeout"],
        "HEALTHCHECK": ["interval", "retries", "start-interval", "start-period", "timeout"],
    }


@pytest.mark.parametrize(("keyword", "name"), [(keyword, name) for keyword in FLAGS for name in FLAGS[keyword]])
def test_every_flag_once_and_twice(keyword: str, name: str) -> None:
    kind = FLAGS[keyword][name]
    value = {"network": "none", "security": "insecure", "retries": "3"}.get(name, "true" if kind == BOOL else "5s")
    seen: set[str] = set()
    assert flag(keyword, f"--{name}={value}", seen) == Flag(name, value, PLACE)
    if kind == LIST:
        assert flag(keyword, f"--{name}={value}", seen).value == value
    else:
        with pytest.raises(BuildfileSyntaxError, match=f"`--{name}` is given twice"):
            flag(keyword, f"--{name}={value}", seen)
    if kind == BOOL:
        assert flag(keyword, f"--{name}").value is None
    else:
        with pytest.raises(BuildfileSyntaxError, match=f"`--{name}` lacks a value"):
            flag(keyword, f"--{name}")


@pytest.mark.parametrize("written", ["--Link", "--", "--=x", "--lin", "--mount=a"])
def test_no_other_flag_is_known(written: str) -> None:
    with pytest.raises(BuildfileSyntaxError, match="COPY has no flag"):
        flag("COPY", written)


@pytest.mark.parametrize("value", ["0", "1ms", "1h2m3.5s", ""])
def test_times(value: str) -> None:
    assert flag("HEALTHCHECK", f"--timeout={value}").value == value


@pytest.mark.parametrize("value", ["5", "1d", "999us", "-1s", "x"])
def test_no_times(value: str) -> None:
    with pytest.raises(BuildfileSyntaxError, match="`--timeout`: "):
        flag("HEALTHCHECK", f"--timeout={value}")


@pytest.mark.parametrize(
    ("text", "escape", "result"),
    [
        ("plain", "\\", "plain"),
        ("'a'\"b\"c", "\\", "abc"),
        ("'a\"b'", "\\", 'a"b'),
        (r"a\\b\'", "\\", r"a\b'"),
        (r"'a\'b'", "\\", "a'b"),
        ("a\\", "\\", "a"),
        ("'open", "\\", "open"),
        ("a`'b", "`", "a'b"),
    ],
)
def test_unquote(text: str, escape: str, result: str) -> None:
    assert unquote(text, escape) == result
