"""Ed25519 (RFC 8032): a private key signs, and who only knows the public one can tell that it did.

The arithmetic is that of the package `cryptography`, the extra `sign`, loaded
when a key is first used. A private key is PKCS#8 in PEM (RFC 5958, RFC 7468),
as `openssl genpkey -algorithm ed25519` writes it, too.
"""

from __future__ import annotations

from buildkit_py import public_key
from buildkit_py.errors import UsageError
from buildkit_py.portable.signature import key_of_signature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_NEW = "make one with `pybuild cache keygen FILE`"


class SigningKey:
    """Implements `Signer`. `key` is the public key, as `public_key.py` writes it."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.key = public_key.written(private.public_key().public_bytes_raw())

    def sign(self, data: bytes) -> str:
        """See `Signer`."""
        return f"{self.key}:{public_key.base64(self._private.sign(data))}"


class TrustedKeys:
    """Implements `Trust`: believes what one of these public keys signed. `whom` is as in `Trust`.

    Raises `UsageError` where `cryptography` is missing.
    """

    def __init__(self, keys: Iterable[str], whom: str) -> None:
        self.whom = whom
        self._keys = frozenset(keys)
        self._library = _library()

    def admits(self, signature: str) -> bool:
        """See `Trust`."""
        return key_of_signature(signature) in self._keys

    def proves(self, data: bytes, signature: str) -> bool:
        """See `Trust`."""
        import binascii

        from cryptography.exceptions import InvalidSignature

        key, _, code = signature.rpartition(":")
        if key not in self._keys:
            return False
        try:
            public = self._library.Ed25519PublicKey.from_public_bytes(public_key.public_key(key))
            public.verify(binascii.a2b_base64(code, strict_mode=True), data)
        except (ValueError, InvalidSignature):
            return False
        return True


def read_private(data: bytes, where: str) -> SigningKey:
    """The private key in a PEM text that came from `where`. Raises `UsageError`, which never shows any of it."""
    library = _library()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, None)
    except TypeError:
        raise UsageError("the signing key is locked with a passphrase", at=where, hint=_NEW) from None
    except (ValueError, UnsupportedAlgorithm):
        # What the library says of it might show some of it.
        raise UsageError("the signing key is no private key in PEM", at=where, hint=_NEW) from None
    if not isinstance(key, library.Ed25519PrivateKey):
        raise UsageError("the signing key is of another kind than ed25519", at=where, hint=_NEW)
    return SigningKey(key)


def generate() -> tuple[bytes, str]:
    """A new private key as PEM, and its public key. Raises `UsageError` where `cryptography` is missing."""
    library = _library()
    from cryptography.hazmat.primitives import serialization

    private = library.Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem, SigningKey(private).key


def _library() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as problem:
        raise UsageError(
            "signatures by ed25519 need the package `cryptography`, which is not installed",
            hint="pip install 'buildkit-py[sign]'",
        ) from problem
    return ed25519
