"""Public keys as text: one form is read, and what is no key is told without showing it."""

from __future__ import annotations

import pytest

from buildkit_py.public_key import public_key, short, written

KEY = "ed25519:" + "A" * 43 + "="


def test_what_is_written_is_read() -> None:
    assert public_key(KEY) == bytes(32)
    assert written(bytes(range(32))) == "ed25519:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert public_key(written(bytes(range(32)))) == bytes(range(32))
    assert short(KEY) == "ed25519:AAAAAAAA"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "begins with `ed25519:`"),
        ("ed25519", "begins with `ed25519:`"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUNIQUE", "begins with `ed25519:`"),
        ("rsa:AAAA", "begins with `ed25519:`"),
        ("ed25519:", "has 0 bytes, not 32"),
        ("ed25519:UNIQUE==", "has 4 bytes, not 32"),
        ("ed25519:UNIQUE*", "base64"),
        ("ed25519:ÜNIQUE", "base64"),
        (KEY + "\n", "base64"),
        (KEY[:-4], "has 30 bytes, not 32"),
        ("-----BEGIN PRIVATE KEY-----\nUNIQUE", "is a private key"),
    ],
)
def test_what_is_no_key_is_told_and_not_shown(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        public_key(text)
    assert "UNIQUE" not in str(caught.value)
