"""Public keys as people write them: `ed25519:` and the base64 of the 32 bytes that RFC 8032 has for one."""

from __future__ import annotations

PREFIX = "ed25519:"
_LENGTH = 32


def public_key(text: str) -> bytes:
    """The bytes of a public key.

    Raises `ValueError`, whose text says what is wrong and never what was given: that may be a private key.
    """
    import binascii

    if "PRIVATE KEY" in text:
        raise ValueError("is a private key; the public one is what `pybuild cache keygen` prints")
    kind, colon, encoded = text.partition(":")
    if not colon or f"{kind}:" != PREFIX:
        raise ValueError(f"is no ed25519 key; one begins with `{PREFIX}`")
    try:
        data = binascii.a2b_base64(encoded.encode("ascii"), strict_mode=True)
    except ValueError:  # of which binascii.Error and UnicodeEncodeError are kinds
        raise ValueError("is no ed25519 key: it is not base64") from None
    if len(data) != _LENGTH:
        raise ValueError(f"is no ed25519 key: it has {len(data)} bytes, not {_LENGTH}")
    return data


def written(key: bytes) -> str:
    """The text of a public key."""
    return PREFIX + base64(key)


def base64(data: bytes) -> str:
    """Bytes in base64, on one line (RFC 4648)."""
    import binascii

    return binascii.b2a_base64(data, newline=False).decode("ascii")


def short(text: str) -> str:
    """The beginning of a key's text, for people."""
    return text[: len(PREFIX) + 8]
