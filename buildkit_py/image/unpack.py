"""Unpacking: a layer blob to a directory in overlay form.

Whiteouts become character devices 0:0, an opaque mark the xattr
`trusted.overlay.opaque` (or `user.…` for mounts with `userxattr`), as an
overlay's lower directory has them. Decompression and the check of the
`diff_id` run in threads beside the writing.

Nothing is ever written outside the destination, whatever the blob says.
Every file is created anew (O_EXCL, never opened through what is there) in a
directory whose descriptor was opened component by component without
following links. A layer may write through a link that it made itself (`lib`
to `usr/lib`): that link is resolved by hand, inside the destination.
"""

from __future__ import annotations

import errno

from buildkit_py.errors import DigestMismatch, DiskFull, SourceError
from buildkit_py.image.compress import Counted, decompress, kind_of
from buildkit_py.image.content import content_digest
from buildkit_py.image.entry import DIR, FILE, WHITEOUT, Entry
from buildkit_py.image.limits import DEFAULT, Limits
from buildkit_py.image.member import clean_path, entry_of
from buildkit_py.image.overlay_diff import diff
from buildkit_py.image.pipeline import Feed, Stage
from buildkit_py.image.small_files import MOST_BYTES, MOST_FILES
from buildkit_py.image.tar_header import OPAQUE_MARK, WHITEOUT_PREFIX
from buildkit_py.image.tar_reader import REGULAR, TarReader
from buildkit_py.image.tree_writer import TreeWriter
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from blake3 import blake3

    from buildkit_py.image.tar_reader import Member

# Up to here a file is taken from the archive and written in one piece.
_SMALL = 1 << 16


class Unpacked(Record):
    """What was unpacked. `bytes` are of the files; `content` is empty unless asked for.

    `owners_lost` counts entries whose owner or capability this process could
    not give (`ignore_owners`), `devices_lost` devices it may not make.
    """

    diff_id: str
    entries: int
    bytes: int
    content: str = ""
    owners_lost: int = 0
    devices_lost: int = 0


def unpack(
    read: Callable[[int], bytes],
    dest: str,
    *,
    media_type: str,
    diff_id: str = "",
    userxattr: bool,
    privileged: bool,
    ignore_owners: bool = False,
    hash_files: bool = False,
    limits: Limits = DEFAULT,
) -> Unpacked:
    """Unpack a blob, given by `read(size)`, into the empty directory `dest`.

    How it is compressed, its first bytes say, and `media_type` where there are
    none. `privileged`: devices can be made, and owners set, else
    devices are counted and left out. `ignore_owners`: an owner that this user
    namespace does not map is counted, not an error. `hash_files`: also take
    the content digest.

    Raises `SourceError` for a damaged, truncated or hostile archive,
    `DigestMismatch` for one that is not `diff_id`, `DiskFull`, and `OSError`
    for other failures to write. After an error `dest` holds rubbish.
    """
    import hashlib

    source = Counted(read)
    kind = kind_of(media_type, source.peek(6))
    plain = limited(decompress(source.read, kind), source, limits)
    hasher = hashlib.sha256()
    stage = Stage(hasher.update)

    def hashed() -> Iterator[bytes]:
        for piece in plain:
            stage.put(piece)
            yield piece

    count = 0
    content = ""
    try:
        with (
            Feed(hashed()) as feed,
            TreeWriter(dest, userxattr=userxattr, devices=privileged, ignore_owners=ignore_owners) as writer,
        ):
            tar = TarReader(feed, limits)
            count = _write_all(tar, writer, hash_files)
            tar.drain()
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                "no space left while unpacking a layer",
                at=dest,
                hint="free some with `pybuild cache prune`, or put the store on a larger disk with PYBUILD_HOME",
            ) from problem
        raise
    except RecursionError:
        raise SourceError("the archive replaces directories that are nested too deeply") from None
    finally:
        stage.close()
    found = f"sha256:{hasher.hexdigest()}"
    if diff_id and found != diff_id:
        raise DigestMismatch(f"the layer's content is {found} and not {diff_id}")
    if not tar.ended and not diff_id:
        raise SourceError("the archive is truncated: it has no end mark")
    if hash_files:
        # What was made twice may have left hard links to what is no longer at its path: look again.
        content = content_digest(diff(dest, hash_files=True) if writer.replaced else writer.made.values())
    return Unpacked(
        diff_id=found,
        entries=count,
        bytes=writer.bytes,
        content=content,
        owners_lost=writer.owners_lost,
        devices_lost=writer.devices_lost,
    )


def _write_all(tar: TarReader, writer: TreeWriter, hash_files: bool) -> int:
    """Write every member; how many there were."""
    from blake3 import blake3

    count = 0
    members = iter(tar)
    # Of the last ordinary file: its directory, and that in the archive's own words.
    parent = ""
    prefix: bytes | None = None
    while True:
        if prefix is not None and (small := tar.siblings(prefix, _SMALL, MOST_FILES, MOST_BYTES)):
            count += len(small)
            writer.small_files(parent, small)
            continue
        member = next(members, None)
        if member is None:
            break
        count += 1
        name, flag, mode, uid, gid, size, mtime, _, _, _, xattrs = member
        path = clean_path(name, clamp=False)
        if flag == REGULAR and size <= _SMALL and not xattrs and not hash_files and ".wh." not in path:
            parent, _, last = path.rpartition("/")
            prefix = name[: name.rfind(b"/") + 1]
            writer.small_file(parent, (last, mode, uid, gid, mtime, tar.data()))
            continue
        entry = layer_entry(path, member)
        if entry is None:
            continue
        if entry[1] == FILE:
            if entry[5] <= _SMALL:
                piece = tar.data()
                if hash_files:
                    entry = entry._replace(digest=blake3(piece).digest())
                writer.file(entry, (piece,) if piece else ())
            elif hash_files:
                hasher = blake3()
                path = writer.file(entry, _hashing(tar, hasher))
                writer.file_digest(path, hasher.digest())
            else:
                writer.file(entry, tar.rest())
        elif entry[10]:
            writer.opaque(entry[0])
        else:
            writer.other(entry)
    writer.finish()
    return count


def _hashing(tar: TarReader, hasher: blake3) -> Iterator[bytes | memoryview]:
    for piece in tar.rest():
        hasher.update(piece)
        yield piece


def read_entries(
    read: Callable[[int], bytes], media_type: str, *, hash_files: bool = False, limits: Limits = DEFAULT
) -> Iterator[Entry]:
    """The entries of a layer blob, in the blob's order, without writing anything.

    Of a path that stands there twice only the last. Raises what `unpack` does
    for bad archives.
    """
    source = Counted(read)
    kind = kind_of(media_type, source.peek(6))
    tar = TarReader(limited(decompress(source.read, kind), source, limits), limits)
    found: dict[str, Entry] = {}
    for member in tar:
        entry = layer_entry(clean_path(member.name, clamp=False), member)
        if entry is None:
            continue
        if entry.opaque and entry.path in found:
            entry = found[entry.path]._replace(opaque=True)
        elif entry.kind == FILE and hash_files:
            from blake3 import blake3

            digest = blake3()
            for piece in tar.rest():
                digest.update(piece)
            entry = entry._replace(digest=digest.digest())
        found.pop(entry.path, None)
        found[entry.path] = entry
    if not tar.ended:
        raise SourceError("the archive is truncated: it has no end mark")
    yield from found.values()


def layer_entry(path: str, member: Member) -> Entry | None:
    """The entry of a layer's member: also whiteouts (`.wh.name`) and opaque marks (a DIR that is opaque).

    None for aufs's own bookkeeping (`.wh..wh.…`), which every reader skips.
    Raises `SourceError` for a whiteout of nothing that could be there.
    """
    parent, slash, name = path.rpartition("/")
    if name.startswith(WHITEOUT_PREFIX):
        if name == OPAQUE_MARK:
            return Entry(parent, DIR, opaque=True)
        if name.startswith(".wh..wh."):
            return None
        hidden = name[len(WHITEOUT_PREFIX) :]
        if hidden in ("", ".", ".."):
            raise SourceError(f"the layer has the whiteout {path}")
        return Entry(f"{parent}{slash}{hidden}", WHITEOUT, 0)
    return entry_of(member, path, clamp=False)


def limited(pieces: Iterator[bytes], source: Counted, limits: Limits) -> Iterator[bytes]:
    """The same pieces, until they are more than the limits allow (`SourceError`)."""
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > limits.bytes or (total > limits.ratio_from and total > limits.ratio * source.count):
            raise SourceError(f"the archive unpacks to more than {total - len(piece)} bytes from {source.count}")
        yield piece
