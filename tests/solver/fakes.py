"""Fakes behind the solver's protocols: a cache in memory and an executor that computes instead of running."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

from buildkit_py.digest import key_of
from buildkit_py.errors import StepFailed
from buildkit_py.executor.result import Made, Result
from buildkit_py.graph.op import Copy, CopyPath, HttpSource, ImageSource, LocalSource, Policy, Run
from buildkit_py.graph.step import Step
from buildkit_py.store.records import StepRecord


class MemoryCache:
    """Implements `solver.lookup.Cache`; a snapshot is the tuple of its layers, spelt as text."""

    def __init__(self) -> None:
        self.records: dict[str, StepRecord] = {}
        self.gone: set[str] = set()  # layers that were evicted
        self.time = 1000.0

    def get(self, key: str) -> StepRecord | None:
        record = self.records.get(key)
        return None if record is None or record.layer in self.gone else record

    def whole(self, snapshot: str) -> bool:
        return not self.gone.intersection(snapshot.split("/"))

    def push(self, base: str, layer: str) -> str:
        return f"{base}/{layer}"

    def base_of(self, snapshot: str) -> str:
        return snapshot.rpartition("/")[0]

    def content(self, snapshot: str) -> str:
        # A layer's name in these tests ends in its content; "@" separates; an empty layer adds nothing.
        return key_of(*[layer.partition("@")[2] for layer in snapshot.split("/") if not layer.endswith("@")])

    def has_op(self, parts: tuple[Any, ...]) -> bool:
        return key_of("op", parts) in self.records

    def put(
        self, step: Step, definition: str, content: str, parts: tuple[Any, ...], made: Made, sources: str
    ) -> StepRecord | None:
        record = StepRecord(
            key=definition,
            kind=parts[0][1][0],
            snapshot=made.result.snapshot,
            layer=made.result.layer,
            text=made.result.text,
            definition=definition,
            content=content,
            parts=parts,
            name=step.name,
            milliseconds=0,
            bytes=0,
            created=int(self.time),
            tool="test",
            sources=sources,
        )
        earlier = self.records.get(content)
        for key in (definition, content, key_of("op", parts[0][1])):
            if key:
                self.records[key] = record
        return earlier if earlier is not None and earlier.layer != record.layer else None

    def refile(self, record: StepRecord, definition: str, parts: tuple[Any, ...], snapshot: str, sources: str) -> None:
        self.records[definition] = record.replace(
            definition=definition, parts=parts, snapshot=snapshot, sources=sources
        )


class ScriptedExecutor:
    """Implements `solver.solve.Executor`.

    What a step writes is a function of its command and what it stands on,
    unless `writes` says otherwise. `files` is the content of the context.
    """

    def __init__(self, cache: MemoryCache) -> None:
        self.cache = cache
        self.ran: list[str] = []
        self.foreseen: list[list[str]] = []
        self.at_once = 0
        self.files: dict[str, str] = {}
        self.writes: dict[str, str] = {}
        self.fails: set[str] = set()
        self.hold: dict[str, threading.Barrier] = {}
        self.cancelled = threading.Event()
        self.web: dict[str, str] = {}  # what each URL holds
        self.asked: list[str] = []
        self.digested = 0
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def root(self, step: Step) -> Result:
        match step.op:
            case ImageSource(digest=digest):
                return Result(f"base@{digest}")
            case LocalSource() as local:
                return Result(local=local)
        raise AssertionError(step)

    def context_digest(self, step: Step, index: int) -> str:
        self.digested += 1
        return self._taken(step)

    def _taken(self, step: Step) -> str:
        assert isinstance(step.op, Copy)
        paths = [item.path for item in step.op.items if isinstance(item, CopyPath)]
        return key_of(*[(path, self.files.get(path, "")) for path in paths])

    def source_digest(self, step: Step, index: int, source: Result) -> str:
        return self.cache.content(source.snapshot)

    def lock(self, step: Step, key: str) -> contextlib.AbstractContextManager[Any]:
        with self._lock:
            return self._locks.setdefault(key, threading.Lock())

    def settled(self, step: Step, step_id: str) -> HttpSource:
        assert isinstance(step.op, HttpSource)
        with self._lock:
            self.asked.append(step.op.url)
        return step.op.replace(digest=self.web[step.op.url])

    def foresee(self, steps: Sequence[Step], at_once: int) -> None:
        self.foreseen.append([step.name for step in steps])
        self.at_once = at_once

    def cancel(self) -> None:
        self.cancelled.set()

    def execute(self, step: Step, step_id: str, base: Result | None, sources: Any) -> Made:
        name = step.name
        with self._lock:
            self.ran.append(name)
        if name in self.hold:
            self.hold[name].wait(10)
        if name in self.fails:
            raise StepFailed(f"{name} failed", step_id=step_id)
        below = base.snapshot if base is not None else ""
        digests: tuple[str, ...] = ()
        if isinstance(step.op, Copy):
            digests = tuple(self._taken(step) if source.local is not None else "" for source in sources)
        default = key_of(name, digests, *[self.cache.content(s.snapshot) for s in sources if s.snapshot])[:8]
        if isinstance(step.op, HttpSource):
            default = f"file {step.op.digest or self.web[step.op.url]}"
        content = self.writes.get(name, default)
        layer = f"{key_of(self.cache.content(below), content)[:8]}@{content}"
        return Made(Result(self.cache.push(below, layer), layer), 0.0, 0, digests)


def image(digest: str = "d1") -> Step:
    return Step(ImageSource(digest, "linux/amd64", ("l1",)), name="FROM")


def context() -> Step:
    return Step(LocalSource("context", "/ctx"), name="context")


def run(command: str, base: Step | None, *sources: Step, ignore_cache: bool = False, **policy: Any) -> Step:
    op = Run((command,), ignore_cache=ignore_cache, policy=Policy(**policy))
    return Step(op, base, sources, name=command)


def copy(path: str, base: Step | None, source: Step, *, link: bool = False) -> Step:
    return Step(Copy((CopyPath(path),), "/x/", link=link), base, (source,), name=f"COPY {path}")


def web(url: str, digest: str = "") -> Step:
    return Step(HttpSource(url, "f", digest), name=url)
