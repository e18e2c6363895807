"""Logins of people as headers: what is taken for a token, and what is sent for a URL."""

from __future__ import annotations

import pytest

from buildkit_py.errors import RegistryError
from buildkit_py.http.authorization import basic, token


def test_tokens() -> None:
    assert token({}, "T") == token({"T": " \n"}, "T") == ""
    assert token({"T": " s3cret\r\n"}, "T") == "s3cret"


@pytest.mark.parametrize("value", ["s3cret\nX-Other: 1", "s3cret\x00", "s3cret\xe4", "s3cret\u2603", "s3\udcffcret"])
@pytest.mark.attack("R13")
def test_what_is_no_token_is_shown_nowhere(value: str) -> None:
    with pytest.raises(RegistryError, match="what is in `T` is no token") as caught:
        token({"T": value}, "T")
    assert "cret" not in repr(vars(caught.value))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h.example/c", ""),
        ("http://me:pass%20word@h.example/c", "Basic bWU6cGFzcyB3b3Jk"),
        ("http://me@h.example/c", "Basic bWU6"),
        ("http://me:\xe4@h.example/c", "Basic bWU6w6Q="),
        ("http://[", ""),
    ],
)
def test_logins_of_urls(url: str, expected: str) -> None:
    assert basic(url) == expected
