"""What is different between two images: configuration, packages, files, and which of them run with other rights."""

from __future__ import annotations

import os

from buildkit_py.api.session import Session
from buildkit_py.errors import ContextError, ImageNotFound
from buildkit_py.image.entry import FILE, HARDLINK
from buildkit_py.image.packages import packages
from buildkit_py.image.union import Union
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.image.config import ImageDocument
    from buildkit_py.image.entry import Entry
    from buildkit_py.registry.resolve import ResolvedImage

_SPECIAL = 0o6000
_BLOCK = 1 << 20


class Difference(Record):
    """One thing that is otherwise: "" where one side does not have it. `what` is its kind, as in "env" or "dpkg"."""

    what: str
    name: str
    before: str
    after: str


class FileDifference(Record):
    """A path that is otherwise: how many bytes its file has, -1 on a side that lacks the path; `how` it changed."""

    path: str
    before: int
    after: int
    how: tuple[str, ...] = ()


class ImageDifference(Record):
    """`special` are files with the set-uid or set-gid bit, by their modes; `sizes` the bytes of all files."""

    config: tuple[Difference, ...]
    packages: tuple[Difference, ...]
    files: tuple[FileDifference, ...]
    special: tuple[Difference, ...]
    sizes: tuple[int, int]

    @property
    def is_empty(self) -> bool:
        """Whether the images are alike."""
        return not (self.config or self.packages or self.files)


class _Side(Record):
    document: ImageDocument
    files: dict[str, Entry]
    packages: dict[tuple[str, str], str]


def diff(before: str, after: str, *, store: str = "") -> ImageDifference:
    """Compare two images by name or digest, pulled where the store lacks them.

    Times are not compared: they tell of when something was built. Raises `ImageNotFound` and what pulling raises.
    """
    with Session(store) as session:
        old, new = (_side(session, name) for name in (before, after))
        return ImageDifference(
            config=_compared(_config(old.document), _config(new.document)),
            packages=_compared(old.packages, new.packages),
            files=_files(old.files, new.files),
            special=_compared(_special(old.files), _special(new.files)),
            sizes=(_size(old.files), _size(new.files)),
        )


def _side(session: Session, name: str) -> _Side:
    found = _resolved(session, name)
    union = Union(session.materializer().trees(found.layers).directories)
    entries = union.walk("")
    return _Side(found.document, {entry.path: entry for entry in entries}, packages(union, entries))


def _resolved(session: Session, name: str) -> ResolvedImage:
    from buildkit_py.api.images import find
    from buildkit_py.registry.resolve import load_image

    try:
        local = load_image(session.store, find(name, session.store.root).digest)
    except ImageNotFound:
        local = None
    return local if local is not None else session.resolver().resolve(name)


def _compared(before: dict[tuple[str, str], str], after: dict[tuple[str, str], str]) -> tuple[Difference, ...]:
    return tuple(
        Difference(*key, before.get(key, ""), after.get(key, ""))
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    )


def _config(document: ImageDocument) -> dict[tuple[str, str], str]:
    """The configuration as single settings."""
    config = document.config
    out: dict[tuple[str, str], str] = {("platform", ""): f"{document.os}/{document.architecture}"}
    out |= {("env", name): value for name, value in config.env}
    out |= {("label", name): value for name, value in config.labels}
    out |= {("port", port): "exposed" for port in config.ports}
    out |= {("volume", path): "declared" for path in config.volumes}
    for name, value in (("cmd", config.cmd), ("entrypoint", config.entrypoint), ("shell", config.shell)):
        if value is not None:
            out[name, ""] = " ".join(value)
    for name, text in (("workdir", config.working_dir), ("user", config.user), ("stop signal", config.stop_signal)):
        if text:
            out[name, ""] = text
    if config.healthcheck is not None:
        out["healthcheck", ""] = " ".join(map(str, config.healthcheck.values()))
    out |= {("on build", str(number)): text for number, text in enumerate(config.on_build, 1)}
    return out


def _files(before: dict[str, Entry], after: dict[str, Entry]) -> tuple[FileDifference, ...]:
    """Paths that are otherwise, in the order of their names."""
    out = []
    for path in sorted({*before, *after}):
        old, new = before.get(path), after.get(path)
        how = _how(old, new) if old is not None and new is not None else ()
        if old is None or new is None or how:
            out.append(
                FileDifference(path, old.size if old is not None else -1, new.size if new is not None else -1, how)
            )
    return tuple(out)


def _how(old: Entry, new: Entry) -> tuple[str, ...]:
    if old.kind != new.kind:
        return (f"{old.kind} became {new.kind}",)
    how = []
    if old.mode != new.mode:
        how.append(f"mode {old.mode:04o} became {new.mode:04o}")
    if (old.uid, old.gid) != (new.uid, new.gid):
        how.append(f"owner {old.uid}:{old.gid} became {new.uid}:{new.gid}")
    if old.target != new.target or old.rdev != new.rdev:
        how.append(f"it leads to {new.target}" if new.target else "it is another device")
    if old.xattrs != new.xattrs:
        how.append("extended attributes")
    if old.kind == FILE and (old.size != new.size or not _same_bytes(old, new)):
        how.append("content")
    return tuple(how)


def _same_bytes(old: Entry, new: Entry) -> bool:
    if old.source == new.source:
        return True  # of one layer
    try:
        with open(old.source, "rb") as first, open(new.source, "rb") as second:
            if os.fstat(first.fileno()).st_ino == os.fstat(second.fileno()).st_ino:
                return True
            while block := first.read(_BLOCK):
                if block != second.read(_BLOCK):
                    return False
            return not second.read(1)
    except OSError as problem:
        raise ContextError(f"a file of a layer cannot be read: {problem.strerror}", at=problem.filename) from problem


def _special(files: dict[str, Entry]) -> dict[tuple[str, str], str]:
    return {
        ("mode", path): f"{entry.mode:04o}"
        for path, entry in files.items()
        if entry.kind in (FILE, HARDLINK) and entry.mode & _SPECIAL
    }


def _size(files: dict[str, Entry]) -> int:
    return sum(entry.size for entry in files.values())
