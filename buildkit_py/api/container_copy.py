"""Copying files between a container and this machine, by docker's rules for where they go."""

from __future__ import annotations

import os

from buildkit_py.api.container_root import opened_root
from buildkit_py.errors import ContextError, UsageError
from buildkit_py.record import Record
from buildkit_py.runner.copying.place import Root, destination, given
from buildkit_py.runner.copying.tree_source import TreeSource
from buildkit_py.runner.copying.tree_target import TreeTarget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.events import Emit
    from buildkit_py.image.entry import Entry
    from buildkit_py.runner.copying.place import Destination, Given

STREAM = "-"
_OVERFLOW = 65534


class Side(Record):
    """One side of a copy: a path in a container, or on this machine where `container` is "". `-` is a stream there."""

    container: str
    path: str

    @property
    def streams(self) -> bool:
        """Whether it is standard input or output."""
        return not self.container and self.path == STREAM


class Copied(Record):
    """What was not copied: paths of devices and sockets, and how many owners could not be given."""

    left_out: tuple[str, ...]
    owners_lost: int


def copy(
    source: Side,
    dest: Side,
    *,
    archive: bool = False,
    follow: bool = False,
    store: str = "",
    emit: Emit | None = None,
) -> Copied:
    """Copy; one of the two sides is a container's.

    With `archive` owners stay what they are, else all belongs to root in a container, and to this user here. With
    `follow` a link that `source` names stands for what it leads to. `emit` hears of a wait for others. Only for a
    process with one thread. Raises `UsageError` where docker's rules do not allow it, `ContextError` and `SourceError`
    for what cannot be read, `ExportError` for what cannot be written.
    """
    if bool(source.container) == bool(dest.container):
        raise UsageError(
            "one of the two sides has to be a container's, and the other one this machine's",
            hint="CONTAINER:PATH is a container's; `./a:b` is a file here whose name has a colon",
        )
    with opened_root(source.container or dest.container, store=store, emit=emit) as (about, fd):
        inside = Root(fd, True, about.name)
        outside = Root(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), False, "")
        try:
            if source.container:
                return _out(inside, _absolute(source.path), outside, dest, archive=archive, follow=follow)
            return _in(outside, source, inside, _absolute(dest.path), archive=archive, follow=follow)
        finally:
            os.close(outside.fd)


def _out(inside: Root, path: str, outside: Root, dest: Side, *, archive: bool, follow: bool) -> Copied:
    what = given(inside, path, follow=follow)
    try:
        if dest.streams:
            return _to_stream(what, inside.name(path))
        place = _placed(what, outside, os.path.join(os.getcwd(), dest.path))
        owner = _as_it_is if archive and _is_root() else _nobody
        return _tree(what, inside.name(path), place, dest.path, owner, host=True)
    finally:
        os.close(what.fd)


def _in(outside: Root, source: Side, inside: Root, path: str, *, archive: bool, follow: bool) -> Copied:
    if source.streams:
        return _from_stream(inside, path)
    what = given(outside, os.path.join(os.getcwd(), source.path), follow=follow)
    try:
        place = _placed(what, inside, path)
        owner = _numbers_here() if archive else _root
        return _tree(what, source.path, place, inside.name(path), owner, host=False)
    finally:
        os.close(what.fd)


def _placed(what: Given, root: Root, path: str) -> Destination:
    """The destination, of which `name` is what the copy is called there: "" for the contents of a directory."""
    tree = os.path.isdir(f"/proc/self/fd/{what.fd}")
    if not tree and what.contents:
        raise UsageError("only what is in a directory can be meant by `/.`")
    place = destination(root, path, tree=tree)
    return place.replace(name="" if what.contents else what.name) if place.directory else place


def _tree(what: Given, named: str, place: Destination, where: str, owner: _Owner, *, host: bool) -> Copied:
    """Copy what is `named` so to people to the place that is called `where`."""
    shown = where if place.directory else os.path.dirname(where.rstrip("/")) or "."
    target = TreeTarget(place.fd, shown, owner=owner, host=host)
    source = TreeSource(what.fd, place.name)
    source.avoid.add(_identity(os.fstat(place.fd)))
    target.made = lambda status: source.avoid.add(_identity(status))
    try:
        for entry, fd in source.entries():
            target.put(entry, fd)
        target.finish()
    except OSError as problem:
        raise _unreadable(problem) from problem
    finally:
        target.close()
        os.close(place.fd)
    return Copied(_left_out(place.name, named, *source.left_out, *target.left_out), target.owners_lost)


def _to_stream(what: Given, named: str) -> Copied:
    from buildkit_py.exporter.sink import Sink
    from buildkit_py.runner.copying.tar_stream import TarTarget

    source = TreeSource(what.fd, "" if what.contents else what.name)
    with Sink(STREAM) as sink:
        target = TarTarget(sink)
        try:
            for entry, fd in source.entries():
                target.put(entry, fd)
        except BrokenPipeError:
            raise
        except OSError as problem:
            raise _unreadable(problem) from problem
        left_out = _left_out(what.name, named, *source.left_out)
        target.finish()
    return Copied(left_out, 0)


def _left_out(top: str, named: str, *paths: str) -> tuple[str, ...]:
    """The paths, none of which may be `top`: that is the one thing that was to be copied, `named` so to people."""
    if top and top in paths:
        raise UsageError(f"`{named}` is a device, a socket, or something that the kernel shows, and cannot be copied")
    return paths


def _unreadable(problem: OSError) -> ContextError:
    return ContextError(f"what is to be copied cannot be read: {problem.strerror}", at=problem.filename)


def _from_stream(inside: Root, path: str) -> Copied:
    from buildkit_py.runner.copying.tar_stream import read_tar

    if os.isatty(0):
        raise UsageError("an archive is not read from a terminal", hint="redirect one to standard input")
    place = destination(inside, path, tree=True)
    if not place.directory:
        os.close(place.fd)
        raise UsageError(f"there is no directory `{inside.name(path)}` to unpack an archive in")
    target = TreeTarget(place.fd, inside.name(path), owner=_as_it_is, host=False)
    try:
        for entry, pieces in read_tar(lambda size: os.read(0, size)):
            target.put(entry, pieces)
        target.finish()
    finally:
        target.close()
        os.close(place.fd)
    return Copied(tuple(target.left_out), target.owners_lost)


def _root(entry: Entry) -> tuple[int, int]:
    return 0, 0


def _as_it_is(entry: Entry) -> tuple[int, int]:
    return entry.uid, entry.gid


def _nobody(entry: Entry) -> None:
    """Nobody else: who writes a file here has it."""


def _numbers_here() -> _Owner:
    """Owners as the numbers that they have on this machine; those whom this process's namespace lacks are root."""
    from buildkit_py.sandbox.userns import id_map, in_user_namespace

    if not in_user_namespace():
        return _as_it_is
    uids, gids = id_map("uid"), id_map("gid")
    return lambda entry: (_outside(uids, entry.uid), _outside(gids, entry.gid))


def _outside(ranges: list[tuple[int, int, int]], number: int) -> int:
    if number != _OVERFLOW:  # what the kernel shows for everybody who is not mapped
        for inside, here, count in ranges:
            if inside <= number < inside + count:
                return here + number - inside
    return 0


def _is_root() -> bool:
    from buildkit_py.sandbox.userns import in_user_namespace

    return os.geteuid() == 0 and not in_user_namespace()


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _absolute(path: str) -> str:
    """A path in a container, which is relative to its root."""
    return "/" + path.lstrip("/")


if TYPE_CHECKING:
    _Owner = Callable[[Entry], tuple[int, int] | None]
