"""Trust: the key that this build signs its records with, and whose signatures it believes.

| environment                              | signs with  | believes, where a cache has no `trust=` |
|------------------------------------------|-------------|-----------------------------------------|
| PYBUILD_SIGNING_KEY, …_FILE              | that key    | that key                                |
| PYBUILD_CACHE_KEY                        | that secret | that secret                             |
| neither                                  | nothing     | everyone                                |

A cache with `trust=NAME` is believed what the keys of that name in the
configuration signed, whatever the environment says.
"""

from __future__ import annotations

import os

from buildkit_py.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit_py.config import Config
    from buildkit_py.portable.signature import Signer, Trust

SECRET_VARIABLE = "PYBUILD_CACHE_KEY"
KEY_VARIABLE = "PYBUILD_SIGNING_KEY"
KEY_FILE_VARIABLE = "PYBUILD_SIGNING_KEY_FILE"


class Authority:
    """What an environment and a configuration say about signatures. Raises `UsageError` for a key that is none.

    `signer` is None where nothing is signed.
    """

    def __init__(self, config: Config, env: Mapping[str, str]) -> None:
        self._names = {trust.name: trust.keys for trust in config.trust}
        self._own = ""
        self.signer: Signer | None = None
        self._usual: Trust
        from buildkit_py.portable.signature import Anyone, Secret

        pem, where = _signing_key(env)
        if pem:
            from buildkit_py.portable.ed25519 import TrustedKeys, read_private

            self.signer = read_private(pem, where)
            self._own = self.signer.key
            self._usual = TrustedKeys((self._own,), f"by the key in {where}")
        elif secret := os.fsencode(env.get(SECRET_VARIABLE, "")):
            both = Secret(secret, f"with the key in {SECRET_VARIABLE}")
            self.signer, self._usual = both, both
        else:
            self._usual = Anyone()

    def trust(self, names: tuple[str, ...] = ()) -> Trust:
        """Whose signatures count where a cache has `trust=` and these names. Raises `UsageError` for an unknown one."""
        if not names:
            return self._usual
        from buildkit_py.portable.ed25519 import TrustedKeys

        return TrustedKeys(self._keys(names), "by " + " or ".join(f"`{name}`" for name in names))

    def all(self, names: tuple[str, ...]) -> Trust:
        """Those whom any of these names stands for, and this build itself: who makes nothing worse than it is."""
        from buildkit_py.portable.signature import Either

        if not names or self.signer is None:
            return self.trust(names)
        return Either(self._usual, self.trust(names))

    def is_one_of(self, names: tuple[str, ...]) -> bool:
        """Whether what this build signs is believed by who trusts these names; so it is where there are none."""
        return not names or self._own in self._keys(names)

    def name_of(self, key: str) -> str:
        """The name that a key has in the configuration, "" for a stranger's."""
        return next((name for name, keys in self._names.items() if key in keys), "")

    def _keys(self, names: tuple[str, ...]) -> set[str]:
        keys: set[str] = set()
        for name in names:
            if name not in self._names:
                from buildkit_py.config import TRUST_VARIABLE

                known = ", ".join(f"`{one}`" for one in self._names)
                where = f"keys stand in [trust.{name}] of the configuration, or in {TRUST_VARIABLE}"
                raise UsageError(
                    f"nobody is known by the name `{name}`, which a cache is to trust",
                    hint=f"known are {known}; {where}" if known else where,
                )
            keys.update(self._names[name])
        return keys


def _signing_key(env: Mapping[str, str]) -> tuple[bytes, str]:
    """The private key's text and where it stood; b"" where there is none, as for a secret that a CI keeps back."""
    if text := env.get(KEY_VARIABLE, ""):
        return os.fsencode(text), KEY_VARIABLE
    path = env.get(KEY_FILE_VARIABLE, "")
    if not path:
        return b"", ""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as problem:
        raise UsageError(
            f"the signing key cannot be read: {problem.strerror}", at=path, hint=f"see {KEY_FILE_VARIABLE}"
        ) from problem
    if not data:
        raise UsageError("the signing key is an empty file", at=path, hint=f"see {KEY_FILE_VARIABLE}")
    return data, path
