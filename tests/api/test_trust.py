"""Which key a build signs with, and whom it believes, by its environment and configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.api.keygen import keygen
from buildkit_py.api.trust import Authority
from buildkit_py.config import Config, TrustConfig
from buildkit_py.errors import UsageError
from tests.needs import need_package

DATA = b"what a record says"


class Keys:
    """Two pairs: files with private keys, and the public ones."""

    def __init__(self, home: Path) -> None:
        need_package("cryptography")
        self.main_file, self.other_file = str(home / "main.pem"), str(home / "other.pem")
        self.main, self.other = keygen(self.main_file), keygen(self.other_file)
        self.config = Config(trust=(TrustConfig("main", (self.main,)), TrustConfig("other", (self.other,))))


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def test_without_any_key_nothing_is_signed_and_all_believed() -> None:
    names = ("PYBUILD_CACHE_KEY", "PYBUILD_SIGNING_KEY", "PYBUILD_SIGNING_KEY_FILE")
    authority = Authority(Config(), dict.fromkeys(names, ""))
    assert authority.signer is None
    assert authority.trust().proves(DATA, "")


def test_a_secret_signs_and_is_believed() -> None:
    ours, theirs = (Authority(Config(), {"PYBUILD_CACHE_KEY": word}) for word in ("ours", "theirs"))
    assert ours.signer is not None
    assert ours.trust().proves(DATA, ours.signer.sign(DATA))
    assert not theirs.trust().proves(DATA, ours.signer.sign(DATA))


def test_who_signs_believes_itself_and_whom_a_cache_names(keys: Keys) -> None:
    main = Authority(keys.config, {"PYBUILD_SIGNING_KEY_FILE": keys.main_file, "PYBUILD_CACHE_KEY": "secret"})
    other = Authority(keys.config, {"PYBUILD_SIGNING_KEY": Path(keys.other_file).read_text()})
    assert main.signer is not None
    assert other.signer is not None
    assert (main.signer.key, other.signer.key) == (keys.main, keys.other)
    signature = other.signer.sign(DATA)
    believed = {
        "itself": main.trust(),
        "named": main.trust(("other",)),
        "both": main.trust(("main", "other")),
        "all": main.all(("other",)),
        "not all": main.all(()),
    }
    assert {name for name, trust in believed.items() if trust.proves(DATA, signature)} == {"named", "both", "all"}
    mine = {name for name, trust in believed.items() if trust.proves(DATA, main.signer.sign(DATA))}
    assert mine == {"itself", "both", "all", "not all"}
    assert main.is_one_of(("main",))
    assert main.is_one_of(())
    assert not main.is_one_of(("other",))
    assert (main.name_of(keys.other), main.name_of("ed25519:x")) == ("other", "")


def test_who_signs_with_a_secret_believes_itself_and_whom_caches_name(keys: Keys) -> None:
    ours = Authority(keys.config, {"PYBUILD_CACHE_KEY": "ours"})
    main = Authority(keys.config, {"PYBUILD_SIGNING_KEY_FILE": keys.main_file})
    theirs = Authority(Config(), {"PYBUILD_CACHE_KEY": "theirs"})
    believed = ours.all(("main",))
    for known in (ours, main):
        assert known.signer is not None
        signature = known.signer.sign(DATA)
        assert believed.admits(signature)
        assert believed.proves(DATA, signature)
        assert not believed.proves(DATA + b".", signature)
    assert theirs.signer is not None
    assert not believed.admits(theirs.signer.sign(DATA))
    assert not believed.proves(DATA, theirs.signer.sign(DATA))
    assert not ours.trust(("main",)).admits(ours.signer.sign(DATA) if ours.signer else "")


def test_a_reader_without_a_key_is_one_of_nobody(keys: Keys) -> None:
    reader = Authority(keys.config, {})
    assert not reader.is_one_of(("main",))
    with pytest.raises(UsageError, match="nobody is known by the name `mian`") as caught:
        reader.trust(("main", "mian"))
    assert "`main`, `other`" in caught.value.hint


def test_a_key_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    need_package("cryptography")
    (tmp_path / "empty").write_bytes(b"")
    for name, message in (
        ("gone", "cannot be read: No such file"),
        ("empty", "an empty file"),
        (".", "Is a directory"),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            Authority(Config(), {"PYBUILD_SIGNING_KEY_FILE": str(tmp_path / name)})
        assert caught.value.at == str(tmp_path / name)
