"""Notes of a context: what a build knew of its files when it ended, for the next one."""

from __future__ import annotations

from buildkit_py.store.checksum import SIZE
from buildkit_py.store.scan import STAMP_SIZE, Scan
from buildkit_py.store.sealed import seal, unseal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT = 4
NO_DIGEST = bytes(32)


def proving(stamps: bytes, fresh: list[bool]) -> bytes:
    """Stamps one behind the other, without those of what was so fresh that they prove nothing.

    In their place stands what is no file's stamp, so that all of such a file is looked at again.
    """
    size, none = STAMP_SIZE, bytes(STAMP_SIZE)
    return b"".join([none if young else stamps[size * at : size * (at + 1)] for at, young in enumerate(fresh)])


class Notes:
    """What the last build knew of the files of a context: stamps with digests and extended attributes.

    `made` names, by the step that took from it, the layer with which the next one is compared.
    """

    def __init__(self, scan: bytes = b"", data: bytes = b"") -> None:
        self.scan: Scan | None = None
        self.digests: dict[str, bytes] = {}
        self.xattrs: dict[str, Any] = {}
        self.probed: dict[str, bytes] = {}
        self.made: dict[str, str] = {}
        try:
            version, belongs_to, digests, xattrs, probed, made = unseal(data)
        except (ValueError, TypeError):
            return
        # Two builds may have written at the same time: one's digests would be read by the other's names.
        if version == FORMAT and belongs_to == scan[:SIZE] and (whole := Scan.load(scan)) is not None:
            self.scan = whole
            self.digests, self.xattrs, self.probed, self.made = digests, xattrs, probed, made

    @staticmethod
    def dump(
        scan: bytes, digests: dict[str, bytes], xattrs: dict[str, Any], probed: dict[str, bytes], made: dict[str, str]
    ) -> bytes:
        """Notes as bytes, sealed, that are read together with this scan, which its checksum names."""
        return seal((FORMAT, scan[:SIZE], digests, xattrs, probed, made))

    def of_directory(self, path: str) -> dict[str, tuple[bytes, bytes]]:
        """By name, the stamp and digest of each file that a directory had."""
        if self.scan is None:
            return {}
        listing = self.scan.listings.get(path)
        digests = self.digests.get(path)
        if listing is None or digests is None:
            return {}
        stamps, size = listing[3], STAMP_SIZE
        return {
            name: (stamps[size * i : size * (i + 1)], digests[32 * i : 32 * (i + 1)])
            for i, name in enumerate(listing[2])
        }

    def of_same(self, path: str, names: list[str], stamps: bytes) -> bytes | None:
        """The digests of what is in a directory, one behind the other, if it has just these names and stamps still."""
        listing = self.scan.listings.get(path) if self.scan is not None else None
        return self.digests.get(path) if listing is not None and listing[2:] == (tuple(names), stamps) else None
