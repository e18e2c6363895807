"""Images: the names that people gave to manifests, each a small text file `images/QUOTED-NAME`.

    <manifest digest>\\n<name>\\n<seconds since 1970 when the name came to mean this>\\n

and then, where the name was had for several platforms, a line with the digest
of the manifest for each of the others: a build that begins from one name for
two of them finds both here.

The file's name is the image's with every byte but letters, digits, `.`, `_`
and `-` percent-quoted, or a key of it where that is too long for a file name.
"""

from __future__ import annotations

import os
import time

from buildkit_py.digest import is_sha256, key_of
from buildkit_py.store.faults import store_error
from buildkit_py.store.sealed import read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.store.leases import Leases
    from buildkit_py.store.work import Work

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_LONGEST = 200


class Images:
    """`images/` of a store. Methods raise `ValueError` for a name or digest that is none, and `StoreError`."""

    def __init__(self, work: Work, leases: Leases) -> None:
        self.dir = work.root + "/images"
        self._work = work
        self._leases = leases

    def path(self, name: str) -> str:
        """Where the file of a name is or would be."""
        if not name or "\n" in name:
            raise ValueError(f"not an image name: {name!r}")
        raw = name.encode("utf-8", "surrogateescape")
        quoted = "".join([chr(b) if b in _PLAIN else f"%{b:02X}" for b in raw])
        if quoted[0] == ".":
            quoted = "%2E" + quoted[1:]
        if len(quoted) > _LONGEST:
            quoted = f"{quoted[:100]}%{key_of('image', name)}"
        return f"{self.dir}/{quoted}"

    def get(self, name: str) -> str | None:
        """The digest of the manifest a name stands for; None if it stands for none."""
        path = self.path(name)
        self._leases.renew(path)
        found = self.read(path)
        return found[1] if found is not None and found[0] == name else None

    def manifests(self, name: str) -> tuple[str, ...]:
        """The digests of all manifests a name stands for: first what `get` says, then those for other platforms."""
        path = self.path(name)
        self._leases.renew(path)
        found = self.read(path)
        return (found[1], *found[3]) if found is not None and found[0] == name else ()

    def set(self, name: str, digest: str, others: tuple[str, ...] = ()) -> None:
        """Let a name stand for a manifest from now on; readers see the old one or the new one, never none.

        `others` are manifests of the name for other platforms; what it stood for and is not among them is forgotten.
        """
        wanted = (digest, *dict.fromkeys(other for other in others if other != digest))
        for one in wanted:
            if not is_sha256(one):
                raise ValueError(f"not a sha256 digest: {one!r}")
        if self.manifests(name) != wanted:
            text = "\n".join((digest, name, str(int(time.time())), *wanted[1:], ""))
            self._work.write(self.path(name), text.encode("utf-8", "surrogateescape"))

    def delete(self, name: str) -> bool:
        """Forget a name; False if it was not known. The manifest and its blobs stay."""
        return self._work.remove(self.path(name))

    def all(self) -> list[tuple[str, str, int]]:
        """Every (name, manifest digest, when it was set), sorted; a name with several manifests comes with each."""
        try:
            names = os.listdir(self.dir)
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise store_error(problem, self._work.root, "list the images") from problem
        read = [found for name in names if (found := self.read(f"{self.dir}/{name}")) is not None]
        return sorted((name, one, created) for name, digest, created, others in read for one in (digest, *others))

    def read(self, path: str) -> tuple[str, str, int, tuple[str, ...]] | None:
        """A file of this directory as (name, digest, created, digests for other platforms).

        None if it is absent or damaged (then it is set aside).
        """
        try:
            data = read_regular(path)
            if data is None:
                return None
            digest, name, created, *others, rest = data.decode("utf-8", "surrogateescape").split("\n")
            if all(is_sha256(one) for one in (digest, *others)) and not rest and self.path(name) == path:
                return name, digest, int(created), tuple(others)
        except ValueError:
            pass
        except OSError as problem:
            raise store_error(problem, self._work.root, "read an image's name") from problem
        self._work.quarantine(path)
        return None
