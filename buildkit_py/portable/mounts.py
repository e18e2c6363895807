"""The document of cache mounts: which files each had, and in which packs they are.

A *pack* is a layer blob with the files that were new when it was made. So a
mount that grew by a few files costs one small pack more, and the older ones
stay where they are. A file counts as the same if its mark is: a digest over
its name, kind, mode, owner, bytes and seconds of modification.

Like the cache document it comes from elsewhere, and reading trusts nothing.
"""

from __future__ import annotations

from buildkit_py.digest import blake3_hex, is_hex, is_sha256
from buildkit_py.image import strict_json
from buildkit_py.image.content import entry_part
from buildkit_py.image.manifest import layer_compression
from buildkit_py.image.strict_json import Malformed
from buildkit_py.portable.artifact import LARGEST
from buildkit_py.record import Record
from buildkit_py.store.layers import LayerBlob

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildkit_py.image.entry import Entry

FORMAT = "pybuild-mounts-1"
_WHAT = "document of cache mounts"
_MARK = 32
_SECOND = 10**9


class KeptFile(Record):
    """A file, directory or link of a mount: the number of its pack, its mark, its bytes."""

    pack: int
    mark: str
    size: int


class KeptMount(Record):
    """A mount as it was saved. `id` is for people, `used` when (seconds since 1970); `files` by path."""

    id: str
    used: int
    packs: tuple[LayerBlob, ...]
    files: tuple[tuple[str, KeptFile], ...]


def mark(entry: Entry) -> str:
    """What tells a file of a mount from another of the same name."""
    part = entry_part(entry, entry.digest or b"")
    return blake3_hex(b"%d;%b" % (entry.mtime // _SECOND, part))[:_MARK]


def dump(mounts: dict[str, KeptMount]) -> bytes:
    """The JSON of mounts by their names in a store; equal ones have equal bytes."""
    import json

    value = {"format": FORMAT, "mounts": {name: _plain(mount) for name, mount in mounts.items()}}
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def load(data: bytes) -> dict[str, KeptMount]:
    """The mounts in some bytes. Raises `Malformed` where it is no such document."""
    value = strict_json.parse_object(data, limit=LARGEST, what=_WHAT)
    if strict_json.text(value, "format", _WHAT) != FORMAT:
        raise Malformed(f"the {_WHAT} is of another version", hint="write it anew with this pybuild (--cache-to)")
    plain = strict_json.mapping(value, "mounts", _WHAT) or {}
    return {name: _mount(name, one) for name, one in plain.items()}


def _plain(mount: KeptMount) -> dict[str, Any]:
    return {
        "id": mount.id,
        "used": mount.used,
        "packs": [
            {"diffId": blob.diff_id, "digest": blob.digest, "size": blob.size, "mediaType": blob.media_type}
            for blob in mount.packs
        ],
        "files": {path: [file.pack, file.mark, file.size] for path, file in mount.files},
    }


def _mount(name: str, value: Any) -> KeptMount:
    if not is_hex(name) or not isinstance(value, dict):
        raise Malformed(f"a mount of the {_WHAT} is none")
    packs = tuple(_pack(one) for one in strict_json.objects(value, "packs", _WHAT))
    files = strict_json.mapping(value, "files", _WHAT) or {}
    used = strict_json.integer(value, "used", _WHAT)
    return KeptMount(
        strict_json.text(value, "id", _WHAT),
        used,
        packs,
        tuple((_path(path), _file(row, len(packs))) for path, row in files.items()),
    )


def _pack(value: dict[str, Any]) -> LayerBlob:
    blob = LayerBlob(
        strict_json.text(value, "diffId", _WHAT),
        strict_json.text(value, "digest", _WHAT),
        strict_json.integer(value, "size", _WHAT),
        strict_json.text(value, "mediaType", _WHAT),
    )
    if not (is_sha256(blob.diff_id) and is_sha256(blob.digest) and 0 <= blob.size < 1 << 63):
        raise Malformed(f"a pack of the {_WHAT} is none")
    if not layer_compression(blob.media_type):
        raise Malformed(f"a pack of the {_WHAT} is of no known type")
    return blob


def _path(path: str) -> str:
    if not path or any(part in ("", ".", "..") for part in path.split("/")) or "\0" in path:
        raise Malformed(f"the {_WHAT} has the path {path[:100]!r}")
    return path


def _file(row: Any, packs: int) -> KeptFile:
    if not (isinstance(row, list) and len(row) == 3 and type(row[0]) is int and type(row[2]) is int):
        raise Malformed(f"a file of the {_WHAT} is none")
    pack, mark, size = row
    if not (0 <= pack < packs and size >= 0 and isinstance(mark, str) and is_hex(mark, _MARK)):
        raise Malformed(f"a file of the {_WHAT} is none")
    return KeptFile(pack, mark, size)
