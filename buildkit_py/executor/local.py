"""The local executor: performs ops on this machine, in sandboxes over overlays and by copying."""

from __future__ import annotations

import os
import time
from _thread import RLock

from buildkit_py.digest import key_of
from buildkit_py.errors import PybuildError, StepFailed
from buildkit_py.events import Notice, StepOutput, StepProgress, StepRetried
from buildkit_py.executor import make_layer
from buildkit_py.executor.cache_mounts import Begun, CacheMounts
from buildkit_py.executor.context_tree import ContextTree
from buildkit_py.executor.contexts import Contexts
from buildkit_py.executor.materialize import HOST, Materializer, Trees
from buildkit_py.executor.output import Pump
from buildkit_py.executor.remote import Remotes
from buildkit_py.executor.result import Made, Result
from buildkit_py.executor.run_step import Mounts, Running, limits_of, run_command, sandbox_spec, save_always
from buildkit_py.graph.op import Copy, GitSource, HostSource, HttpSource, ImageSource, LocalSource, Mkdir, Restack, Run
from buildkit_py.graph.step import in_order, inputs
from buildkit_py.image.entry import FILE
from buildkit_py.sandbox.network.choice import Choice
from buildkit_py.sandbox.spec import RootFilesystem
from buildkit_py.store.layers import LayerMeta
from buildkit_py.store.work import make_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from buildkit_py.events import Emit
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


# Smaller transfers are over before anybody could read of them.
_WORTH_SHOWING = 4 << 20


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
        self._running = Running()
        self._remotes = Remotes(
            store, transport, given, lambda: self._running.cancelled, settings.ca_bundle, offline=settings.offline
        )
        self._contexts = Contexts(store)
        self._networks = Choice(settings.network, self._warn)
        self._stood_on: set[Step] = set()
        self._taken: dict[tuple[Step, int], str] = {}
        self._begun = Begun()
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

        return source_digest(step.op, index, self.tree(source))

    def context(self, op: object) -> ContextTree:
        """The tree of a local source; one for all steps of the build that use the same."""
        assert isinstance(op, LocalSource)
        return self._contexts.tree(op)

    def cache_mounts(self) -> dict[tuple[str, str], str]:
        """The cache mounts that were used: their ids by their names in the store and their keys."""
        return self._begun.used

    def contexts(self) -> list[tuple[str, str, bytes]]:
        """Write down what was seen of each context, for the next build; see `Contexts.write`."""
        return self._contexts.write()

    # -- steps

    def foresee(self, steps: Sequence[Step]) -> None:
        """Hear which steps are to be performed; the sandbox of the first Run is begun while nobody waits for it."""
        runs = [step for step in steps if isinstance(step.op, Run)]
        self._running.coming.update(runs)
        networks = [self._networks.network(step.op.network) for step in runs if isinstance(step.op, Run)]
        if "isolated" in networks:
            self._launcher().connect(self._networks.plan())
        if networks:
            self._launcher().prepare(networks[0])

    def lock(self, step: Step, key: str) -> AbstractContextManager[Any]:
        """Keeps other builds from running the same step at the same time."""
        return self.store.records.lock(key, self._waiting(step, f"`{step.name}` is being run"))

    def _waiting(self, step: Step, what: str) -> Callable[[int], None]:
        """What to do while another process has what `step` needs: say so, once, and give up with the build."""
        told = False

        def waiting(process: int) -> None:
            nonlocal told
            if self._running.cancelled:
                raise StepFailed("the build was interrupted", code=130, at=step.position)
            if not told and process not in (0, os.getpid()):
                told = True
                self._emit(Notice("info", f"{what} by another build, process {process}: waiting"))

        return waiting

    def cancel(self) -> None:
        """End every sandbox; steps that run raise."""
        self._running.cancel()

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
            case Run() as op:
                new, text = self._run(op, step, step_id, below, sources)
            case Copy() as op:
                new, digests = self._copy(op, step, below, sources)
            case Mkdir() as op:
                from buildkit_py.executor.mkdir import plan

                new = self._keep(step, below, plan(op, self._union(below)))
            case HttpSource() | GitSource() as op:
                new = self._remote(op, step, step_id)
            case Restack() as op:
                new = self._restack(op, step, below, sources[0])
            case op:
                raise TypeError(f"not a step: {op!r}")
        result = Result(self.store.snapshots.push(below, new.id), new.id, text)
        listings = self.listings(step) if any(digests) else ()
        return Made(result, time.monotonic() - began, new.bytes, digests, listings)

    def _run(
        self, op: Run, step: Step, step_id: str, below: str, sources: Sequence[Result]
    ) -> tuple[make_layer.NewLayer, str]:
        stands_on = sources[-1].snapshot if op.inputs else below
        trees = self._trees(stands_on, step_id)
        seen = [self._trees(source.snapshot, step_id) if source.snapshot else None for source in sources]
        snapshots = [source.snapshot for source in sources]
        from buildkit_py.executor.ssh_forward import AgentMounts

        waiting = self._waiting(step, f"a cache of `{step.name}` is in use")
        caches = CacheMounts(
            self.store, self._materializer, self._begun, step, trees, snapshots, seen, waiting, self._settings.restore
        )
        agents = AgentMounts(self.store, self._given.agent, step)
        mounts = Mounts(step, op, seen, self._given.secret, caches, agents, self._settings.ca_bundle)
        try:
            attempts = op.policy.retry + 1
            for attempt in range(1, attempts):
                try:
                    return self._attempt(op, step, step_id, stands_on, trees, mounts, attempt)
                except StepFailed as problem:
                    if self._running.cancelled:
                        raise
                    why = problem.reason or f"exit code {problem.code}"
                    self._emit(StepRetried(step_id, attempt + 1, attempts, why, self._clock()))
            return self._attempt(op, step, step_id, stands_on, trees, mounts, attempts)
        finally:
            mounts.release()

    def _attempt(
        self, op: Run, step: Step, step_id: str, below: str, trees: Trees, mounts: Mounts, attempt: int
    ) -> tuple[make_layer.NewLayer, str]:
        with self.store.work_dir("run") as work:
            upper, overlay_work = f"{work.path}/upper", f"{work.path}/work"
            make_root(upper)
            os.mkdir(overlay_work, 0o700)
            network = self._networks.network(op.network)
            spec = sandbox_spec(
                op,
                RootFilesystem(trees.directories, upper, overlay_work, trees.host),
                tuple(mounts.specs),
                tuple(mounts.env),
                network,
                self._networks.resolv_conf(network),
            )
            limits = limits_of(op.policy, step)
            if limits is not None:
                spec = spec.replace(cgroups=limits.directories)

            def line(stream: int, text: str) -> None:
                self._emit(StepOutput(step_id, stream, text, self._clock()))

            log = f"{self._settings.log_dir}/step-{step_id}.log"
            gate = self._given.gate
            mask = gate.mask if gate is not None else None
            pump = Pump(line, log, capture=op.capture, append=attempt > 1, mask=mask)
            roots = (("/",) if trees.host else ()) + trees.directories + (upper,)
            try:
                run_command(self._launcher(), self._running, spec, pump, step, step_id, op.policy, limits)
            except StepFailed as failed:
                if not self._running.cancelled:
                    save_always(op.policy, step, roots, self._settings.save, failed)
                raise
            finally:
                if limits is not None:
                    limits.remove()
                if gate is not None:
                    gate.masked(pump.masked, step.position)
            save_always(op.policy, step, roots, self._settings.save)
            if gate is not None:
                gate.look(pump.text, f"what `{step.name}` printed for its file to take", step.position)
            if op.test:
                upper = f"{work.path}/nothing"
                make_root(upper)
            elif op.inputs:
                from buildkit_py.executor.restack import merge_new_directories

                merge_new_directories(upper, self._union(below))
            compression = "none" if step in self._stood_on else self._settings.compression
            impure = self._impure(below)
            new = make_layer.from_directory(
                self.store, below, upper, impure=impure, compression=compression, look=lambda new: self._look(step, new)
            )
            return new, pump.text

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
                    base = self._union(below) if below and not op.link else None
                    entries = plan(op, trees, base, work=work.path)
                new = self._patch(step, "" if op.link else below, entries, base, contexts)
                if new is None:
                    from array import array  # it loads `collections`, which steps without files do without

                    ends = array("Q")
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

                return self._keep(step, below, plan(made, self._union(below)))
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
            if max(done, total) > _WORTH_SHOWING:
                self._emit(StepProgress(step_id, what, done, total))

        return progress

    def _keep(
        self,
        step: Step,
        below: str,
        entries: Sequence[Entry],
        *,
        digests: bytearray | None = None,
        ends: array[int] | None = None,
    ) -> make_layer.NewLayer:
        """Make the layer of some entries in the form in which it is needed first."""
        self._look(step, entries)
        impure = self._impure(below)
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
        impure = self._impure(below)
        if step in self._stood_on and not self._would_lose(entries):
            identity = self._materializer.identity
            return make_layer.from_patch(self.store, below, entries, patch, base, identity, impure=impure)
        compression = self._settings.compression
        return make_layer.from_splice(self.store, below, entries, patch, compression=compression, impure=impure)

    # -- filesystems

    def _trees(self, snapshot: str, step_id: str) -> Trees:
        def progress(what: str, done: int, total: int) -> None:
            if step_id and total > _WORTH_SHOWING:
                self._emit(StepProgress(step_id, what, done, total))

        return self._materializer.trees(self.store.snapshots.layers(snapshot), progress)

    def _union(self, snapshot: str) -> Union:
        from buildkit_py.image.union import Union

        trees = self._trees(snapshot, "")
        return Union((("/",) if trees.host else ()) + trees.directories)

    def tree(self, source: Result) -> Tree:
        """The files of a result."""
        from buildkit_py.executor.union_tree import UnionTree

        return UnionTree(self._union(source.snapshot))

    def _impure(self, snapshot: str) -> bool:
        return self._materializer.is_impure(self.store.snapshots.layers(snapshot))

    def _warn(self, message: str, hint: str) -> None:
        self._emit(Notice("warning", message, hint=hint))


def _place(op: Copy) -> str:
    """What stays the same of a Copy from build to build, whatever it takes and stands on."""
    return key_of("place", repr(op))[:32]
