"""Elsewhere: surroundings in which a build has another store, another directory, and other accidents of the machine.

What a build may depend on is its Buildfile, the bytes and modes of its
context, its base images and what it was given. All else is an accident, and
for a second build as much of it is made otherwise as can be, so that a step
that looks at it shows. What cannot be varied is told, and not passed over.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, contextmanager

from buildkit_py.api.request import SizeLimits
from buildkit_py.api.session import Session
from buildkit_py.errors import PybuildError, UsageError
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from buildkit_py.api.request import BuildRequest
    from buildkit_py.store.build_record import BuildRecord
    from buildkit_py.store.store import Store

DIRECTORY, ORDER, PROCESSORS, OWNERS, UMASK = "directory", "order", "processors", "owners", "umask"
KINDS = (DIRECTORY, ORDER, PROCESSORS, OWNERS, UMASK)
# More than any disk has: a store that lives for one build has nothing to let go.
_NO_LIMIT = 1 << 59
_UMASKS = (0o022, 0o077)


class Varied(Record):
    """One accident: whether the second build has it otherwise, and how, or why not."""

    what: str
    done: bool
    how: str


class Elsewhere:
    """A context manager: makes the directory of the second build, and removes it. `request` is the first build's,
    `same` are those of `KINDS` to leave as they are, `scratch` is where the directory is made, "" for in the store.

    After `prepare`, `request` is the second build's and `varied` says what it has otherwise; `surroundings` are those
    of the process while it runs. Raises `UsageError` for a `scratch` that cannot be written to.
    """

    def __init__(self, request: BuildRequest, *, same: Collection[str] = (), scratch: str = "") -> None:
        self.request = request
        self.varied: list[Varied] = []
        self._same = same
        self._scratch = scratch
        self._made = ExitStack()
        self._top = ""

    def __enter__(self) -> Self:
        from buildkit_py.config import store_root

        self._first = os.path.realpath(self.request.store or store_root(os.environ))
        self._top = os.path.realpath(self._made.enter_context(_scratch(self._first, self._scratch)))
        self.request = self.request.replace(
            store=f"{self._top}/store",
            pull=False,
            no_cache=False,
            no_cache_filter=(),
            cache_from=(),
            # Where both builds have what is theirs, they find nothing to take, whether the context is copied or not.
            own=(*self.request.kept_out, self._first, os.path.dirname(self._top)),
            job=None,
            cache_max=_NO_LIMIT,
            limits=SizeLimits(),
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._made.close()

    def prepare(self, record: BuildRecord, looked_at: Iterable[str]) -> None:
        """Make the second store know the images that the first build began from, and copy the context, unless one of
        the paths that it looked at lies outside of that, and may be named from within.

        Raises what reading the context and fetching layers raises.
        """
        self.varied.append(Varied("time", True, "the second build begins later; seconds differ, a date may not"))
        self.varied.append(Varied("store", True, "it has no results and empty cache mounts, in another directory"))
        with Session(self.request.store, offline=self.request.offline) as session:
            layers = _carry(session, self._first, record)
            self._turn_directories(session, layers)
            self._move_context(self._outside(looked_at), may_give=not session.identity.single_id)
        # The home, the interpreter's own files and what logs into registries may be closed to any other id.
        self.varied.append(Varied("user", False, "another one could not read what is yours; see what steps see of it"))

    def surroundings(self) -> Surroundings:
        """What the process is to be like while the second build runs."""
        return Surroundings(self.varied, self._same)

    def _turn_directories(self, session: Session, layers: list[str]) -> None:
        from buildkit_py.api.directory_order import keeps_order, turn

        if ORDER in self._same:
            self.varied.append(_asked(ORDER))
            return
        if not layers:
            self.varied.append(Varied(ORDER, False, "there is no base image"))
            return
        if not keeps_order(self._top):
            how = "this filesystem sorts names by itself; with --scratch on a tmpfs the order of creation counts"
            self.varied.append(Varied(ORDER, False, how))
            return
        for directory in session.materializer().trees(layers).directories:
            turn(directory, f"{self._top}/aside")
        self.varied.append(Varied(ORDER, True, "directories of base images list their names the other way round"))

    def _outside(self, looked_at: Iterable[str]) -> str:
        """Of these paths one that lies outside of the context, and of which the copy may not know; "" for none."""
        from buildkit_py.frontend.host import FILES

        request = self.request
        # A Buildfile that lies elsewhere stays there, with what is beside it: its ignore file, its lock file.
        beside = "" if self._moved_file() else os.path.realpath(os.path.dirname(request.file))
        places = (request.file, *FILES, *(place for _, place in request.build_contexts))
        known = {os.path.realpath(place) for place in places}
        ours = os.path.join(self._first, "")
        for path in sorted(looked_at):
            # Python's own files and libraries are found in any case.
            library = path.endswith((".py", ".so")) and os.path.basename(path) != "Buildfile.py"
            real = os.path.realpath(path)
            if real.startswith(ours):
                continue  # what the first build's store knows is no input
            inside = self._inside(real) or (beside and os.path.realpath(os.path.dirname(path)) == beside)
            if not library and not inside and real not in known:
                return path
        return ""

    def _inside(self, real: str) -> bool:
        """Whether a path without links lies in the context."""
        return os.path.join(real, "").startswith(os.path.join(os.path.realpath(self.request.context), ""))

    def _moved_file(self) -> str:
        """The Buildfile in the copy of the context; "" for one that lies elsewhere, or is a link that leads there."""
        above, name = os.path.split(self.request.file)
        above = os.path.realpath(above)
        if not self._inside(above) or not self._inside(os.path.realpath(self.request.file)):
            return ""
        inside = os.path.relpath(above, os.path.realpath(self.request.context))
        return os.path.normpath(f"{self._top}/context/{inside}/{name}")

    def _move_context(self, outside: str, *, may_give: bool) -> None:
        from buildkit_py.api.copied_context import copy_context

        request = self.request
        if DIRECTORY in self._same or not request.context or outside:
            how = "" if request.context else "there is no local context"
            if outside and request.context and DIRECTORY not in self._same:
                how = f"the build looks at {outside}, which is not in the context"
            self.varied.append(Varied(DIRECTORY, False, how) if how else _asked(DIRECTORY))
            self.varied.append(Varied(OWNERS, False, how or "the context is not copied"))
            return
        context = f"{self._top}/context"
        owner = 1 if may_give and OWNERS not in self._same else None
        copy_context(request.context, context, skip=request.own, owner=owner)
        self.request = request.replace(context=context, file=self._moved_file() or request.file)
        self.varied.append(Varied(DIRECTORY, True, "the context is a copy elsewhere, with new times"))
        if owner is not None:
            self.varied.append(Varied(OWNERS, True, "the files of the context belong to another user"))
        elif OWNERS in self._same:
            self.varied.append(_asked(OWNERS))
        else:
            self.varied.append(Varied(OWNERS, False, "this user has one id, and cannot give files away"))


@contextmanager
def _scratch(store: str, place: str) -> Iterator[str]:
    """A new directory: by default among the work of a store, whose next user removes it if this process is killed."""
    from buildkit_py.store.remove import remove_tree
    from buildkit_py.store.store import Store

    if not place:
        with Store.open(store).work_dir("verify") as work:
            yield work.path
        return
    try:
        made = tempfile.mkdtemp(prefix="pybuild-verify-", dir=place)
    except OSError as problem:
        raise UsageError(f"`--scratch` cannot be written to: {problem.strerror}", at=place) from problem
    try:
        # Not `made` itself: to be removed, its directories are moved to where it lies, which others may write to.
        inner = f"{made}/build"
        os.mkdir(inner, 0o700)
        yield inner
    finally:
        remove_tree(f"{made}/build")
        os.rmdir(made)


class Surroundings:
    """A context manager: one processor and another umask for this process and what it starts; tells `varied` of it."""

    def __init__(self, varied: list[Varied], same: Collection[str]) -> None:
        self._varied = varied
        self._same = same
        self._processors: set[int] = set()
        self._umask = -1

    def __enter__(self) -> None:
        available = os.sched_getaffinity(0)
        if PROCESSORS in self._same:
            self._varied.append(_asked(PROCESSORS))
        elif len(available) == 1:
            self._varied.append(Varied(PROCESSORS, False, "there is only one"))
        else:
            os.sched_setaffinity(0, {min(available)})
            self._processors = available
            self._varied.append(Varied(PROCESSORS, True, f"1 in the place of {len(available)}"))
        if UMASK in self._same:
            self._varied.append(_asked(UMASK))
            return
        self._umask = os.umask(_UMASKS[0])
        if self._umask == _UMASKS[0]:
            os.umask(_UMASKS[1])
        other = _UMASKS[self._umask == _UMASKS[0]]
        self._varied.append(Varied(UMASK, True, f"{other:03o} in the place of {self._umask:03o}"))

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._processors:
            os.sched_setaffinity(0, self._processors)
        if self._umask >= 0:
            os.umask(self._umask)


def _asked(what: str) -> Varied:
    return Varied(what, False, "as it was asked for")


def _carry(session: Session, first: str, record: BuildRecord) -> list[str]:
    """Copy the images that a build began from out of its store, with their names and those blobs of their layers that
    are there; the layers of all of them.
    """
    from buildkit_py.exporter.image import load
    from buildkit_py.store.store import Store

    source, target = Store(first).view(sets_aside=False), session.store
    digests = {step.about.rpartition("@")[2] for step in record.steps if step.kind == "image"}
    layers: dict[str, None] = {}
    for digest in sorted(digests):
        image = load(source, digest)
        for diff_id in image.document.diff_ids:
            layer = diff_id.removeprefix("sha256:")
            layers[layer] = None
            _carry_layer(source, target, layer)
        for data in (image.config_data, image.data):
            target.blobs.put(data)
    for name, digest, _ in source.images.all():
        if digest in digests:
            target.images.set(name, digest, target.images.manifests(name))
    return list(layers)


def _carry_layer(source: Store, target: Store, layer: str) -> None:
    meta = source.layers.get(layer)
    if meta is None:
        raise PybuildError(f"the layer {layer[:12]} of a base image is not in the store any more")
    target.layers.add(meta)
    for variant in source.layers.variants(layer):
        blob = source.layers.described(layer, variant)
        if blob is None:
            continue
        target.layers.set_blob(layer, variant, blob)
        if source.blobs.has(blob.digest) and not target.blobs.has(blob.digest):
            with source.blobs.open(blob.digest) as reader, target.blobs.writer() as writer:
                while piece := reader.read(1 << 20):
                    writer.write(piece)
                writer.commit(blob.digest)
