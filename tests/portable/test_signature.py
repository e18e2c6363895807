"""Signatures: who has the key is believed what it signed, and nothing else."""

from __future__ import annotations

import pytest

from buildkit_py.errors import UsageError
from buildkit_py.portable.signature import Anyone, Secret, key_of_signature
from tests.needs import need_package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.portable.signature import Signer, Trust

DATA = b"what a record says"


def test_anyone_is_believed_everything() -> None:
    anyone = Anyone()
    assert anyone.admits("")
    assert anyone.admits("none")
    assert anyone.proves(DATA, "")


def pair(seed: int) -> tuple[Signer, Trust]:
    need_package("cryptography")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from buildkit_py.portable.ed25519 import SigningKey, TrustedKeys

    key = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes((seed,)) * 32))
    return key, TrustedKeys((key.key,), "by `main`")


def secret(seed: int) -> tuple[Signer, Trust]:
    both = Secret(b"secret %d" % seed, "with the key")
    return both, both


@pytest.mark.parametrize("make", [pair, secret])
def test_a_signature_is_of_one_key_and_one_text(make) -> None:
    (signer, trust), (stranger, strange_trust) = make(1), make(2)
    signature = signer.sign(DATA)
    assert signer.sign(DATA) == signature
    assert key_of_signature(signature) == signer.key != stranger.key
    assert trust.admits(signature)
    assert trust.proves(DATA, signature)
    assert not strange_trust.admits(signature)
    assert not strange_trust.proves(DATA, signature)
    assert not trust.proves(DATA + b".", signature)
    # A stranger who says that it is another's key.
    forged = f"{signer.key}:{stranger.sign(DATA).rpartition(':')[2]}"
    assert trust.admits(forged)
    assert not trust.proves(DATA, forged)


@pytest.mark.parametrize("make", [pair, secret])
@pytest.mark.parametrize("broken", ["", "none", ":", "ed25519", "\udcff", "{key}", "{key}:", "{key}:é", "{key}:AAAA"])
def test_what_is_no_signature_proves_nothing(make, broken: str) -> None:
    signer, trust = make(1)
    assert not trust.proves(DATA, broken.format(key=signer.key))


def test_the_secret_is_in_no_signature() -> None:
    signer = Secret(b"hunter2", "")
    assert "hunter2" not in signer.key + signer.sign(DATA)


def test_a_signature_is_that_of_rfc_8032() -> None:
    """Section 7.1, test 2; the key in the form of RFC 8410."""
    need_package("cryptography")
    from buildkit_py.portable.ed25519 import read_private
    from buildkit_py.public_key import base64, public_key

    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    der = bytes.fromhex("302e020100300506032b657004220420") + seed
    pem = f"-----BEGIN PRIVATE KEY-----\n{base64(der)}\n-----END PRIVATE KEY-----\n".encode()
    key = read_private(pem, "here")
    assert public_key(key.key).hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    expected = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert key.sign(bytes.fromhex("72")) == f"{key.key}:{base64(expected)}"


def test_a_private_key_that_is_none_is_told_and_not_shown() -> None:
    need_package("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    from buildkit_py.portable.ed25519 import read_private

    def pem(key: object, lock: serialization.KeySerializationEncryption) -> bytes:
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)  # type: ignore[attr-defined]

    mine = ed25519.Ed25519PrivateKey.generate()
    public = mine.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    opened = serialization.NoEncryption()
    wrong = [
        (pem(mine, serialization.BestAvailableEncryption(b"word")), "locked with a passphrase"),
        (pem(ec.generate_private_key(ec.SECP256R1()), opened), "of another kind than ed25519"),
        (public, "no private key in PEM"),
        (b"UNIQUE", "no private key in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nUNIQUE\n-----END PRIVATE KEY-----\n", "no private key in PEM"),
        (b"\xff\0", "no private key in PEM"),
    ]
    for data, message in wrong:
        with pytest.raises(UsageError) as caught:
            read_private(data, "where it stood")
        assert message in caught.value.message
        assert caught.value.at == "where it stood"
        assert "UNIQUE" not in str(caught.value) + caught.value.hint
    assert read_private(b"a note before it\n" + pem(mine, opened), "here").key.startswith("ed25519:")
