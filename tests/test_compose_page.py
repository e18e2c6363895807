"""The page on keys of compose files has all that are read or refused, and shows no others."""

from __future__ import annotations

import re
from pathlib import Path

from buildkit_py.frontend.compose import builds, services, values

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "compose-keys.md"


def section(title: str) -> str:
    _, _, rest = PAGE.read_text().partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0]


def keys(text: str) -> set[str]:
    """What stands in the first column of a table."""
    found: set[str] = set()
    for row in re.findall(r"^\| (`.*?) \|", text, re.M):
        found.update(re.findall(r"`([a-z_]+)`", row))
    return found


def test_the_keys_of_a_service() -> None:
    text = section("A service")
    assert keys(text) == {*services.FIELDS, "extends"}
    refused = text[text.index("Not supported") :]
    assert set(re.findall(r"`([a-z_]+)`", refused)) == set(services.REFUSED)


def test_the_keys_of_a_build() -> None:
    assert keys(section("build")) == {*builds.FIELDS, *builds.REFUSED}


def test_each_key_of_the_specification_is_one_or_the_other() -> None:
    assert not set(services.FIELDS) & set(services.REFUSED)
    assert not set(builds.FIELDS) & set(builds.REFUSED)
    for key in values.HEALTH:
        assert f"`{key}`" in section("A service")
