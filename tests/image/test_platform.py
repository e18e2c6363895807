from __future__ import annotations

import pytest

from buildkit_py.errors import UsageError
from buildkit_py.image.platform import Platform, best, local, normal, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("Linux/AMD64", "linux/amd64"),
        ("windows/amd64", "windows/amd64"),
        ("linux/riscv64", "linux/riscv64"),
    ],
)
def test_usual_names(text: str, expected: str) -> None:
    assert str(parse(text)) == expected


def test_one_word() -> None:
    assert parse("linux").os == "linux"
    assert parse("s390x") == Platform(local().os, "s390x")


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux/am d64", "linux/../x"])
def test_no_platform(text: str) -> None:
    with pytest.raises(UsageError, match="not a platform"):
        parse(text)


@pytest.mark.parametrize(
    ("wanted", "offered", "expected"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], 1),
        ("linux/amd64", ["linux/amd64/v3", "linux/386"], 1),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], 1),
        ("linux/arm64", ["linux/arm/v7", "linux/arm64"], 1),
        ("linux/arm64", ["linux/arm/v7", "linux/arm/v6"], 0),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], 1),
        ("linux/arm/v6", ["linux/arm/v7"], None),
        ("linux/s390x", ["linux/amd64"], None),
        ("linux/amd64", ["windows/amd64"], None),
        ("linux/amd64", ["linux/amd64", "linux/amd64"], 0),
    ],
)
def test_the_best_on_offer(wanted: str, offered: list[str], expected: int | None) -> None:
    assert best(parse(wanted), [parse(text) for text in offered]) == expected


def test_entries_without_or_with_unknown_platform_are_passed_over() -> None:
    offered = [None, Platform("unknown", "unknown"), normal("linux", "amd64")]
    assert best(parse("linux/amd64"), offered) == 2
