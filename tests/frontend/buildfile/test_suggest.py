"""Did you mean."""

from __future__ import annotations

import pytest

from buildkit_py.frontend.buildfile.suggest import did_you_mean, distance, nearest

KNOWN = ("COPY", "CMD", "ENV", "FROM", "HEALTHCHECK", "LABEL", "RUN", "ADD", "ARG", "USER")


@pytest.mark.parametrize(
    ("one", "other", "edits"),
    [("", "", 0), ("a", "", 1), ("ab", "ba", 1), ("abc", "abd", 1), ("kitten", "sitting", 3), ("ca", "abc", 3)],
)
def test_distance(one: str, other: str, edits: int) -> None:
    assert distance(one, other) == distance(other, one) == edits


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("FORM", "FROM"),
        ("form", "FROM"),
        ("COPPY", "COPY"),
        ("RUNN", "RUN"),
        ("HELTHCHEK", "HEALTHCHECK"),
        ("RN", "RUN"),
        ("xyz", ""),
        ("&&", ""),
        ("", ""),
        ("echo", ""),
    ],
)
def test_nearest(word: str, meant: str) -> None:
    assert nearest(word, KNOWN) == meant


def test_hint() -> None:
    assert did_you_mean("chmdo", ("chown", "chmod"), "--") == "did you mean `--chmod`?"
    assert did_you_mean("zzz", ("chown", "chmod"), "--") == ""
