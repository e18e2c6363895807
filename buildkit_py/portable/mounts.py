"""The document of cache mounts: which files each had, and in which packs they are.

A *pack* is a layer blob with the files that were new when it was made. So a
mount that grew by a few files costs one small pack more, and the older ones
stay where they are. A file counts as the same if its mark is: a digest over
its name, kind, mode, owner, bytes and seconds of modification. A mount whose
step has a key is kept once for each key.

Like the cache document it comes from elsewhere, and reading trusts nothing.
"""

from __future__ import annotations

from buildkit_py.digest import blake3_hex, is_hex, is_sha256
from buildkit_py.image import strict_json
from buildkit_py.image.content import entry_part
from buildkit_py.image.manifest import layer_compression
from buildkit_py.image.strict_json import Malformed
from buildkit_py.json_text import ascii_dump
from buildkit_py.portable.artifact import LARGEST
from buildkit_py.record import Record
from buildkit_py.store.layers import LayerBlob

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from buildkit_py.image.entry import Entry

    # By name in a store and key, in the order in which they were saved last.
    Kept: TypeAlias = dict[tuple[str, str], "KeptMount"]

FORMAT = "pybuild-mounts-2"
_WHAT = "document of cache mounts"
_MARK = 32
_SECOND = 10**9
_MOST = 1 << 63
LATEST = (1 << 33) - 1  # seconds since 1970: what 64 bits of nanoseconds can say


class KeptFile(Record):
    """A file, directory or link of a mount: the number of its pack, its mark, its bytes, when it was used last."""

    pack: int
    mark: str
    size: int
    used: int = 0


class Pack(Record):
    """A pack: its blob, and the bytes of what was put into it."""

    blob: LayerBlob
    bytes: int


class KeptMount(Record):
    """A mount as it was saved. `id` is for people, `key` what the step's `key` came to ("": it has none).

    Times are seconds since 1970, `files` by path.
    """

    id: str
    key: str
    used: int
    packs: tuple[Pack, ...]
    files: tuple[tuple[str, KeptFile], ...]


def mark(entry: Entry) -> str:
    """What tells a file of a mount from another of the same name."""
    part = entry_part(entry, entry.digest or b"")
    return blake3_hex(b"%d;%b" % (entry.mtime // _SECOND, part))[:_MARK]


def dump(mounts: Kept) -> bytes:
    """The JSON of mounts, in the order in which they were saved last; equal ones have equal bytes."""
    value = {"format": FORMAT, "mounts": [_plain(name, mount) for (name, _), mount in mounts.items()]}
    return ascii_dump(value, is_sorted=True) + b"\n"


def load(data: bytes) -> Kept:
    """The mounts in some bytes. Raises `Malformed` where it is no such document."""
    value = strict_json.parse_object(data, limit=LARGEST, what=_WHAT)
    if strict_json.text(value, "format", _WHAT) != FORMAT:
        raise Malformed(f"the {_WHAT} is of another version", hint="write it anew with this pybuild (--cache-to)")
    mounts: Kept = {}
    for one in strict_json.objects(value, "mounts", _WHAT):
        name, mount = _mount(one)
        mounts[name, mount.key] = mount
    return mounts


def find(mounts: Kept, name: str, key: str) -> KeptMount | None:
    """What is best for a mount to begin with: what was saved under its key, else what was saved of it last."""
    if (name, key) in mounts:
        return mounts[name, key]
    return next((mount for (other, _), mount in reversed(mounts.items()) if other == name), None)


def _plain(name: str, mount: KeptMount) -> dict[str, Any]:
    return {
        "name": name,
        "key": mount.key,
        "id": mount.id,
        "used": mount.used,
        "packs": [
            {
                "diffId": pack.blob.diff_id,
                "digest": pack.blob.digest,
                "size": pack.blob.size,
                "mediaType": pack.blob.media_type,
                "bytes": pack.bytes,
            }
            for pack in mount.packs
        ],
        "files": {path: [file.pack, file.mark, file.size, file.used] for path, file in mount.files},
    }


def _mount(value: dict[str, Any]) -> tuple[str, KeptMount]:
    name, key = strict_json.text(value, "name", _WHAT), strict_json.text(value, "key", _WHAT)
    if not is_hex(name) or (key and not is_hex(key)):
        raise Malformed(f"a mount of the {_WHAT} is none")
    packs = tuple(_pack(one) for one in strict_json.objects(value, "packs", _WHAT))
    files = strict_json.mapping(value, "files", _WHAT) or {}
    return name, KeptMount(
        strict_json.text(value, "id", _WHAT),
        key,
        strict_json.integer(value, "used", _WHAT),
        packs,
        tuple((_path(path), _file(row, len(packs))) for path, row in files.items()),
    )


def _pack(value: dict[str, Any]) -> Pack:
    blob = LayerBlob(
        strict_json.text(value, "diffId", _WHAT),
        strict_json.text(value, "digest", _WHAT),
        strict_json.integer(value, "size", _WHAT),
        strict_json.text(value, "mediaType", _WHAT),
    )
    held = strict_json.integer(value, "bytes", _WHAT)
    if not (is_sha256(blob.diff_id) and is_sha256(blob.digest) and 0 <= blob.size < _MOST and 0 <= held < _MOST):
        raise Malformed(f"a pack of the {_WHAT} is none")
    if not layer_compression(blob.media_type):
        raise Malformed(f"a pack of the {_WHAT} is of no known type")
    return Pack(blob, held)


def _path(path: str) -> str:
    if not path or any(part in ("", ".", "..") for part in path.split("/")) or "\0" in path:
        raise Malformed(f"the {_WHAT} has the path {path[:100]!r}")
    return path


def _file(row: Any, packs: int) -> KeptFile:
    if not (isinstance(row, list) and len(row) == 4 and all(type(one) is int for one in (row[0], *row[2:]))):
        raise Malformed(f"a file of the {_WHAT} is none")
    pack, mark, size, used = row
    if not (0 <= pack < packs and 0 <= size < _MOST and isinstance(mark, str) and is_hex(mark, _MARK)):
        raise Malformed(f"a file of the {_WHAT} is none")
    if not 0 <= used <= LATEST:
        raise Malformed(f"a file of the {_WHAT} was used at no time")
    return KeptFile(pack, mark, size, used)
