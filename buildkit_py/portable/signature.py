"""Signatures: who made a record or a document of a portable cache, and whose are believed.

    ed25519:PUBLIC-KEY:SIGNATURE     RFC 8032, both in base64 (`ed25519.py`)
    hmac-sha256:NAME:CODE            RFC 2104, both in hex, by a secret that writers and readers share

A signature names its key, so that most of what is not believed is told apart
without any arithmetic. The name of a secret is the beginning of a code of a
fixed text, which says nothing of the secret.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Signer(Protocol):
        """What signs. `key` is its name, as in the signatures."""

        key: str

        def sign(self, data: bytes) -> str:
            """A signature of some bytes; equal bytes have equal ones."""

    class Trust(Protocol):
        """Whose signatures are believed. `whom` says it to people, as in "not signed …"; "" where anything goes."""

        whom: str

        def admits(self, signature: str) -> bool:
            """Whether a signature names a key that is believed."""

        def proves(self, data: bytes, signature: str) -> bool:
            """Whether a signature is of these bytes, by a key that is believed."""


HMAC = "hmac-sha256"
_NAMED = b"the name of a key of pybuild's caches"
_NAME = 16


def key_of_signature(signature: str) -> str:
    """The name of the key that a signature says it is by; "" for what is no signature."""
    return signature.rpartition(":")[0]


class Anyone:
    """Implements `Trust`: everything is believed, signed or not."""

    whom = ""

    def admits(self, signature: str) -> bool:
        """See `Trust`."""
        return True

    def proves(self, data: bytes, signature: str) -> bool:
        """See `Trust`."""
        return True


class Either:
    """Implements `Trust`: what one of two believes is believed."""

    whom = ""

    def __init__(self, one: Trust, other: Trust) -> None:
        self._both = (one, other)

    def admits(self, signature: str) -> bool:
        """See `Trust`."""
        return any(trust.admits(signature) for trust in self._both)

    def proves(self, data: bytes, signature: str) -> bool:
        """See `Trust`."""
        return any(trust.proves(data, signature) for trust in self._both)


class Secret:
    """Implements `Signer` and `Trust` with a secret that is not empty. `whom` is as in `Trust`."""

    def __init__(self, secret: bytes, whom: str) -> None:
        self.whom = whom
        self._secret = secret
        self.key = f"{HMAC}:{self._code(_NAMED)[:_NAME]}"

    def sign(self, data: bytes) -> str:
        """See `Signer`."""
        return f"{self.key}:{self._code(data)}"

    def admits(self, signature: str) -> bool:
        """See `Trust`."""
        return key_of_signature(signature) == self.key

    def proves(self, data: bytes, signature: str) -> bool:
        """See `Trust`."""
        import hmac

        return hmac.compare_digest(self.sign(data).encode(), signature.encode("utf-8", "surrogatepass"))

    def _code(self, data: bytes) -> str:
        import hmac

        return hmac.new(self._secret, data, "sha256").hexdigest()
