"""The local executor: performs ops on this machine, in sandboxes over overlays and by copying."""

from __future__ import annotations

import time
from _thread import RLock

from buildkit_py.digest import key_of
from buildkit_py.errors import PybuildError
from buildkit_py.events import StepProgress
from buildkit_py.executor import make_layer
from buildkit_py.executor.context_tree import ContextTree
from buildkit_py.executor.contexts import Contexts
from buildkit_py.executor.filesystems import WORTH_SHOWING, Filesystems
from buildkit_py.executor.materialize import HOST, Materializer
from buildkit_py.executor.remote import Remotes
from buildkit_py.executor.result import Made, Result
from buildkit_py.executor.run_place import Asked, Places
from buildkit_py.executor.runs import Runs
from buildkit_py.graph.op import Copy, GitSource, HostSource, HttpSource, ImageSource, LocalSource, Mkdir, Restack, Run
from buildkit_py.graph.step import in_order, inputs
from buildkit_py.image.entry import FILE
from buildkit_py.store.layers import LayerMeta

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from buildkit_py.events import Emit
    from buildkit_py.executor.contexts import SeenContext
    from buildkit_py.executor.settings import Given, Settings
    from buildkit_py.executor.tree import Tree
    from buildkit_py.executor.web_file import Fetched
    from buildkit_py.graph.op import Op
    from buildkit_py.graph.step import Step
    from buildkit_py.http.transport import Transport
    from buildkit_py.image.entry import Entry
    from buildkit_py.image.listing import Listings
    from buildkit_py.image.union import Union
    from buildkit_py.sandbox.launch import Launcher
    from buildkit_py.store.store import Store


class LocalExecutor:
    """Implements the solver's `Executor`."""

    def __init__(
        self,
        store: Store,
        materializer: Materializer,
        launcher: Callable[[], Launcher],
        emit: Emit,
        clock: Callable[[], float],
        given: Given,
        settings: Settings,
        transport: Callable[[], Transport],
    ) -> None:
        self.store = store
        self._materializer = materializer
        self._launcher = launcher
        self._emit = emit
        self._clock = clock
        self._given = given
        self._settings = settings
        self.files = Filesystems(store, materializer, emit)
        self._stood_on: set[Step] = set()
        self.places = Places(store, materializer, self.files, emit, given, settings)
        self.runs = Runs(store, self.places, self.files, launcher, emit, clock, given, settings, self._packed_as)
        self._remotes = Remotes(
            store, transport, given, lambda: self.runs.running.cancelled, settings.ca_bundle, offline=settings.offline
        )
        self._contexts = Contexts(store, settings.own)
        self._taken: dict[tuple[Step, int], str] = {}
        self._listings: dict[tuple[Step, int], tuple[tuple[str, bytes], ...]] = {}  # of which a digest was wanted
        self._looking = RLock()  # a ContextTree is for one thread at a time

    def expect(self, targets: Iterable[Step], *, as_files: bool = False) -> None:
        """Learn which steps others stand on: their layers are made as files, the others' as blobs.

        `as_files`: the targets' own files are going to be read, too. Raises `SecretLeaked` for a step that names a
        secret's value.
        """
        targets = tuple(targets)
        if as_files:
            self._stood_on.update(targets)
        steps = list(in_order(targets))
        for step in steps:
            self._stood_on.update(inputs(step))
        if self._given.gate is not None:
            self._given.gate.expect(steps)

    # -- roots

    def root(self, step: Step) -> Result:
        """The result of an image, a context or the host, which need no work."""
        match step.op:
            case ImageSource(layers=layers):
                return Result(self.store.snapshots.push_all("", layers))
            case HostSource(fingerprint=fingerprint):
                name = key_of("host", fingerprint)
                if self.store.layers.get(name) is None:
                    self.store.layers.add(LayerMeta(name, name, origin=HOST, impure=True))
                return Result(self.store.snapshots.push("", name), name)
            case LocalSource() as local:
                return Result(local=local)
            case op:
                raise TypeError(f"not a root: {op!r}")

    def context_digest(self, step: Step, index: int, *, learnt: bool = False) -> str:
        """The content digest of what a COPY takes from the context that is its source `index`.

        `learnt`: the copy was made, so that the tree has nearly all digests.
        """
        with self._looking:
            known = self._taken.get((step, index))
            if known is None:
                from buildkit_py.executor.copy_plan import source_digest

                assert isinstance(step.op, Copy)
                tree = self.context(step.sources[index].op)
                tree.hash_files = not learnt
                listing: list[tuple[str, bytes]] = []
                try:
                    known = self._taken[step, index] = source_digest(step.op, index, tree, listing, tree.digest)
                    self._listings[step, index] = tuple(listing)
                    self._contexts.took(step.sources[index].op, [path for path, _ in listing])
                except PybuildError as problem:
                    problem.place(step.position)
                    raise
            return known

    def listings(self, step: Step) -> Listings:
        """For each source of a step what was taken from it, where that is a context whose digest was wanted."""
        return tuple(self._listings.get((step, index), ()) for index in range(len(step.sources)))

    def source_digest(self, step: Step, index: int, source: Result) -> str:
        """The content digest of what a step takes from the filesystem that is its source `index`."""
        from buildkit_py.store.chain import content_of

        if not isinstance(step.op, Copy):
            return content_of(self.store, source.snapshot)
        from buildkit_py.executor.copy_plan import source_digest
        from buildkit_py.executor.layer_digests import LayerDigests

        digests = LayerDigests(self.store.layers)
        found = source_digest(step.op, index, self.tree(source), digest_of=digests.of)
        digests.write()
        return found

    def context(self, op: object) -> ContextTree:
        """The tree of a local source; one for all steps of the build that use the same."""
        assert isinstance(op, LocalSource)
        return self._contexts.tree(op)

    def cache_mounts(self) -> dict[tuple[str, str], str]:
        """The cache mounts that were used: their ids by their names in the store and their keys."""
        return self.places.begun.used

    def contexts(self) -> list[SeenContext]:
        """Write down what was seen of each context, for the next build; see `Contexts.write`."""
        return self._contexts.write()

    # -- steps

    def foresee(self, steps: Sequence[Step], at_once: int = 1) -> None:
        """Hear which steps are to be performed, so many of them at the same time at most.

        The sandbox of the first Run is begun while nobody waits for it, the others while commands run.
        """
        runs = [step for step in steps if isinstance(step.op, Run)]
        self.runs.running.coming.update(runs)
        self.runs.running.at_once = at_once
        networks = [self.places.network(step.op) for step in runs if isinstance(step.op, Run)]
        if "isolated" in networks:
            self._launcher().connect(self.places.networks.plan())
        if networks:
            self._launcher().prepare(networks[0])

    def lock(self, step: Step, key: str) -> AbstractContextManager[Any]:
        """Keeps other builds from running the same step at the same time."""
        return self.store.records.lock(key, self.runs.waiting(step, f"`{step.name}` is being run"))

    def cancel(self) -> None:
        """End every sandbox; steps that run raise."""
        self.runs.running.cancel()

    def provide(self, fetched: Fetched) -> None:
        """Take over the bytes of a source that nobody can be asked for."""
        self._remotes.provide(fetched)

    def pinned(self, step: Step) -> Step:
        """A step on sources that do not move any more: each is what it was in this build."""
        sources = tuple(self.pinned(source) for source in step.sources)
        base = self.pinned(step.base) if step.base is not None else None
        op = self._remotes.known(step.op) if isinstance(step.op, HttpSource | GitSource) else step.op
        return step.replace(op=op, base=base, sources=sources)

    def settled(self, step: Step, step_id: str) -> Op:
        """The op of a source that moves, with what its server says it is now."""
        assert isinstance(step.op, HttpSource | GitSource)
        try:
            return self._remotes.settled(step.op, self._transfer(step_id, step.op.url))
        except PybuildError as problem:
            problem.place(step.position)
            raise

    def execute(self, step: Step, step_id: str, base: Result | None, sources: Sequence[Result]) -> Made:
        """Perform one op and give its result. Raises `StepFailed` and every other `PybuildError`."""
        began = time.monotonic()
        below = base.snapshot if base is not None else ""
        text = ""
        digests: tuple[str, ...] = ()
        match step.op:
            case Run():
                new, text = self.runs.perform(Asked(step, below, tuple(sources)), step_id)
            case Copy() as op:
                new, digests = self._copy(op, step, below, sources)
            case Mkdir() as op:
                from buildkit_py.executor.mkdir import plan

                new = self._keep(step, below, plan(op, self.files.union(below)))
            case HttpSource() | GitSource() as op:
                new = self._remote(op, step, step_id)
            case Restack() as op:
                new = self._restack(op, step, below, sources[0])
            case op:
                raise TypeError(f"not a step: {op!r}")
        result = Result(self.store.snapshots.push(below, new.id), new.id, text)
        listings = self.listings(step) if any(digests) else ()
        return Made(result, time.monotonic() - began, new.bytes, digests, listings)

    def _copy(
        self, op: Copy, step: Step, below: str, sources: Sequence[Result]
    ) -> tuple[make_layer.NewLayer, tuple[str, ...]]:
        from buildkit_py.executor.copy_plan import plan
        from buildkit_py.executor.patch_layer import keep_inventory, keep_members

        trees: list[Tree] = [
            self.context(source.local) if source.local is not None else self.tree(source) for source in sources
        ]
        contexts = [tree for tree in trees if isinstance(tree, ContextTree)]
        # A file is read once: either its digest was wanted for the key, or it is taken while it is copied.
        found = bytearray()
        try:
            with self.store.work_dir("copy") as work:
                with self._looking:
                    for tree in contexts:
                        tree.hash_files = False
                        tree.take_up()
                    base = self.files.union(below) if below and not op.link else None
                    unpacked: dict[str, bytes] = {}
                    entries = plan(op, trees, base, work=work.path, digests=unpacked)
                new = self._patch(step, "" if op.link else below, entries, base, contexts)
                if new is None:
                    ends = bytearray()
                    new = self._keep(step, "" if op.link else below, entries, digests=found, ends=ends)
                    if contexts and new.fresh and keep_inventory(self.store, new.id, entries, found):
                        contexts[0].made[_place(op)] = new.id
                        if new.diff_id:
                            keep_members(self.store, new.id, new.diff_id, entries, ends)
            paths = [entry[11] for entry in entries if entry[1] == FILE] if found else []
            del entries  # here a build of many files takes most memory
            with self._looking:
                for tree in contexts:
                    tree.learn(paths, found)
                    if unpacked:
                        tree.learn(tuple(unpacked), b"".join(unpacked.values()))
            digests = tuple(
                self.context_digest(step, index, learnt=True) if source.local is not None else ""
                for index, source in enumerate(sources)
            )
        except PybuildError as problem:
            problem.place(step.position)
            raise
        return new, digests

    def _restack(self, op: Restack, step: Step, below: str, source: Result) -> make_layer.NewLayer:
        match step.sources[0].op:
            case Mkdir() as made:
                from buildkit_py.executor.mkdir import plan

                return self._keep(step, below, plan(made, self.files.union(below)))
            case _ if op.inputs:
                from buildkit_py.executor.restack import matching

                directories = self._materializer.trees((source.layer,)).directories
                return self._keep(step, below, matching(directories, op.inputs))
            case _:
                return make_layer.NewLayer(source.layer, 0)

    def _remote(self, op: HttpSource | GitSource, step: Step, step_id: str) -> make_layer.NewLayer:
        try:
            with self.store.work_dir("remote") as work:
                entries = self._remotes.entries(op, work.path, self._transfer(step_id, op.url))
                return self._keep(step, "", entries)
        except PybuildError as problem:
            problem.place(step.position)
            raise

    def _transfer(self, step_id: str, what: str) -> Callable[[int, int], None]:
        """Who hears of bytes that arrive, and tells people of them where it is worth showing."""

        def progress(done: int, total: int) -> None:
            if max(done, total) > WORTH_SHOWING:
                self._emit(StepProgress(step_id, what, done, total))

        return progress

    def _keep(
        self,
        step: Step,
        below: str,
        entries: Sequence[Entry],
        *,
        digests: bytearray | None = None,
        ends: bytearray | None = None,
    ) -> make_layer.NewLayer:
        """Make the layer of some entries in the form in which it is needed first."""
        self._look(step, entries)
        impure = self.files.is_impure(below)
        if step in self._stood_on and not self._would_lose(entries):
            return make_layer.from_entries_as_files(
                self.store, below, entries, self._materializer.identity, impure=impure, digests=digests
            )
        return make_layer.from_entries(
            self.store,
            below,
            entries,
            compression=self._settings.compression,
            impure=impure,
            digests=digests,
            ends=ends,
        )

    def _packed_as(self, step: Step) -> str:
        """How the layer of a Run is packed while it is made: not at all if its files are mounted next."""
        return "none" if step in self._stood_on else self._settings.compression

    def _look(self, step: Step, entries: Sequence[Entry]) -> None:
        """Look for secrets in what a step is about to leave."""
        if self._given.gate is not None:
            self._given.gate.entries(entries, step.position)

    def _would_lose(self, entries: Sequence[Entry]) -> bool:
        """Whether files could not get their owners here. A blob keeps them, and so does an image made of it."""
        return self._materializer.identity.single_id and any(entry.uid or entry.gid for entry in entries)

    def _patch(
        self,
        step: Step,
        below: str,
        entries: Sequence[Entry],
        base: Union | None,
        contexts: Sequence[ContextTree],
    ) -> make_layer.NewLayer | None:
        """Make the layer from the one that this Copy made last, if there is that, and few entries differ."""
        assert isinstance(step.op, Copy)
        earlier = contexts[0].made.get(_place(step.op)) if contexts else None
        if earlier is None:
            return None
        from buildkit_py.executor.patch_layer import patch_for

        patch = patch_for(self.store, entries, earlier)
        if patch is None:
            return None
        self._look(step, patch.entries)
        impure = self.files.is_impure(below)
        if step in self._stood_on and not self._would_lose(entries):
            identity = self._materializer.identity
            return make_layer.from_patch(self.store, below, entries, patch, base, identity, impure=impure)
        compression = self._settings.compression
        return make_layer.from_splice(self.store, below, entries, patch, compression=compression, impure=impure)

    def tree(self, source: Result) -> Tree:
        """The files of a result."""
        from buildkit_py.executor.union_tree import UnionTree

        return UnionTree(self.files.union(source.snapshot))


def _place(op: Copy) -> str:
    """What stays the same of a Copy from build to build, whatever it takes and stands on."""
    return key_of("place", repr(op))[:32]
