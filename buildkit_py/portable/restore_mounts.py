"""Restoring a cache mount: the files that a document names, out of its packs, into a new directory."""

from __future__ import annotations

import os
import stat

from buildkit_py.image.manifest import Descriptor
from buildkit_py.image.strict_json import Malformed
from buildkit_py.image.unpack import unpack
from buildkit_py.registry.pull import note_layer
from buildkit_py.store.remove import remove_tree
from buildkit_py.store.work import make_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.portable.mounts import KeptMount
    from buildkit_py.registry.fetch import Fetcher, Stream
    from buildkit_py.registry.origin import Origin
    from buildkit_py.sandbox.userns import Identity
    from buildkit_py.store.layers import LayerBlob
    from buildkit_py.store.store import Store

_SECOND = 10**9


def restore(
    store: Store,
    fetcher: Fetcher,
    identity: Identity,
    mount: KeptMount,
    directory: str,
    origin: Callable[[LayerBlob], Origin],
) -> None:
    """Fill an empty directory with what was saved of a mount.

    Raises `SourceError` where a pack cannot be had, is damaged or does not
    have what it should; then the directory holds only some of it.
    """
    wanted = {file.pack for _, file in mount.files}
    with store.work_dir("mounts") as work:
        for number in sorted(wanted):
            _unpack(store, fetcher, identity, mount.packs[number].blob, origin, f"{work.path}/{number}")
        arrange(mount, work.path, directory)


def _unpack(
    store: Store,
    fetcher: Fetcher,
    identity: Identity,
    blob: LayerBlob,
    origin: Callable[[LayerBlob], Origin],
    destination: str,
) -> None:
    # As a layer, so that it is fetched, resumed and verified like one; nothing of it stays.
    note_layer(store, blob.diff_id, Descriptor(blob.media_type, blob.digest, blob.size), origin(blob))
    layer = blob.diff_id.removeprefix("sha256:")

    def use(stream: Stream) -> None:
        remove_tree(destination)  # of what a mirror sent
        make_root(destination)
        unpack(
            stream.read,
            destination,
            media_type=blob.media_type,
            diff_id=blob.diff_id,
            userxattr=identity.userns,
            privileged=identity.privileged,
            ignore_owners=identity.single_id,
        )

    try:
        fetcher.through(layer, use)
    finally:
        store.layers.delete(layer)
        store.blobs.delete(blob.digest)


def arrange(mount: KeptMount, packs: str, directory: str) -> None:
    """Move each file from its pack to its place, and make it as long unread as it was.

    Directories get their attributes last: filling them changes times.
    """
    made: dict[str, os.stat_result] = {"": os.lstat(directory)}
    try:
        for path, file in sorted(mount.files):
            parent = path.rpartition("/")[0]
            if parent not in made:
                # Else a link of the mount itself could lead out of it.
                raise Malformed(f"the saved mount has `{path}` below what is no directory of it")
            source = f"{packs}/{file.pack}/{path}"
            status = os.lstat(source)
            if stat.S_ISDIR(status.st_mode):
                os.mkdir(f"{directory}/{path}", 0o700)
                made[path] = status
            else:
                os.rename(source, f"{directory}/{path}")
                times = (file.used * _SECOND, status.st_mtime_ns)
                os.utime(f"{directory}/{path}", ns=times, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise Malformed(f"a pack lacks a file of the saved mount: {problem.filename}") from problem
    del made[""]
    for path, status in sorted(made.items(), reverse=True):
        at = f"{directory}/{path}"
        os.chown(at, status.st_uid, status.st_gid)
        os.chmod(at, stat.S_IMODE(status.st_mode))
        os.utime(at, ns=(status.st_mtime_ns, status.st_mtime_ns))
