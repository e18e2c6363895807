"""Pins at work: in a build that has a lock file, names elsewhere stand for what it says and no server is asked.

`Pins` applies a lock; `NewPins` asks the servers and takes down what they
say, for `pybuild update`.
"""

from __future__ import annotations

from buildkit_py.api.lock_file import GitPin, Lock
from buildkit_py.errors import SourceError, UsageError
from buildkit_py.graph.op import GitSource, HttpSource, moves
from buildkit_py.graph.step import in_order
from buildkit_py.image import reference as references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Protocol

    from buildkit_py.frontend.target import Target
    from buildkit_py.graph.op import Op
    from buildkit_py.graph.step import Step
    from buildkit_py.registry.resolve import ResolvedImage
    from buildkit_py.source_map import Position

    class ImagePins(Protocol):
        """What the resolving of images asks."""

        def image(self, text: str, position: Position | None) -> tuple[str, bool]:
            """The reference to resolve in place of this one, and whether its registry is to be asked."""

        def took(self, text: str, found: ResolvedImage) -> None:
            """That is what it came to."""

        def step(self, step: Step) -> Step:
            """A step that is run while there is no graph yet, on the sources that it is to stand on."""


class Pins:
    """A lock in use. `locked`: what it does not pin is an error; else `tell` hears of it.

    `path` names the lock file; `lock` None: there is none.
    """

    def __init__(
        self, lock: Lock | None, path: str, *, locked: bool, tell: Callable[[str, Position | None], object]
    ) -> None:
        self._path = path
        self._has_lock = lock is not None
        lock = lock or Lock()
        self._images = dict(lock.images)
        self._git = dict(lock.git)
        self._http = dict(lock.http)
        self._locked = locked
        self._tell = tell

    def image(self, text: str, position: Position | None) -> tuple[str, bool]:
        """See `ImagePins`. Raises `SourceError`."""
        name = pinned_name(text)
        if not name or not (self._has_lock or self._locked):
            return text, False
        digest = self._images.get(name)
        if digest is None:
            self._lacks(text, position)
            return text, False
        return f"{name}@{digest}", False

    def took(self, text: str, found: ResolvedImage) -> None:
        """See `ImagePins`."""

    def step(self, step: Step) -> Step:
        """See `ImagePins`. Raises `SourceError`."""
        if not (self._has_lock or self._locked):
            return step
        return pinned([step], self._source).get(step, step)

    def targets(self, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        """Targets on sources that do not move, as far as they are pinned. Raises `SourceError`."""
        if not (self._has_lock or self._locked):
            return targets
        return with_sources(targets, self._source)

    def _source(self, step: Step) -> Op:
        match step.op:
            case GitSource() as op:
                pin = self._git.get((without_password(op.url), op.ref))
                if pin is not None and pin.commit.startswith(op.checksum):
                    return op.replace(commit=pin.commit, ref=pin.full_ref or op.ref)
                self._lacks(f"{op.url}#{op.ref}" if op.ref else op.url, step.position)
                return op
            case HttpSource() as op:
                digest = self._http.get(without_password(op.url))
                if digest is None:
                    self._lacks(op.url, step.position)
                return op.replace(digest=digest or "")
            case op:
                raise TypeError(f"not a source that moves: {op!r}")

    def _lacks(self, what: str, position: Position | None) -> None:
        if self._locked:
            where = f"`{self._path}`" if self._has_lock else f"no lock file (`{self._path}`)"
            raise SourceError(
                f"`{shown(what)}` is not pinned in {where}" if self._has_lock else f"there is {where}",
                at=position,
                hint="pin it with `pybuild update`, or build without --locked",
            )
        self._tell(f"`{shown(what)}` is not pinned in {self._path}; `pybuild update` does it", position)


class NewPins:
    """What servers say now, of everything or of what `wanted` names; the rest stays as the `old` lock has it.

    `ask` gives the op of a source that moves with what its server says.
    """

    def __init__(self, old: Lock, wanted: Iterable[str], ask: Callable[[Step], Op]) -> None:
        self._old_images, self._old_git, self._old_http = dict(old.images), dict(old.git), dict(old.http)
        self._wanted = frozenset(wanted)
        self._ask = ask
        self.met: set[str] = set()  # those of `wanted` that something was found for
        self.images: dict[str, str] = {}
        self.git: dict[tuple[str, str], GitPin] = {}
        self.http: dict[str, str] = {}

    def image(self, text: str, position: Position | None) -> tuple[str, bool]:
        """See `ImagePins`."""
        name = pinned_name(text)
        if not name:
            return text, False
        if not self._moves(name, references.parse(name).familiar, text) and name in self._old_images:
            self.images[name] = self._old_images[name]
            return f"{name}@{self._old_images[name]}", False
        return text, True

    def took(self, text: str, found: ResolvedImage) -> None:
        """See `ImagePins`."""
        name = pinned_name(text)
        if name and found.index:
            self.images[name] = found.index

    def step(self, step: Step) -> Step:
        """See `ImagePins`: what servers say is what they are asked for."""
        return step

    def sources(self, targets: tuple[Target, ...]) -> None:
        """Take down what the moving sources of targets are now. Raises what asking raises."""
        for step in in_order(steps_of(targets)):
            match step.op:
                case GitSource() as op if moves(op):
                    url = without_password(op.url)
                    asked = (url, op.ref)
                    if not self._moves(url, f"{url}#{op.ref}") and asked in self._old_git:
                        self.git[asked] = self._old_git[asked]
                    elif asked not in self.git:
                        found = self._ask(step)
                        assert isinstance(found, GitSource)
                        self.git[asked] = GitPin(found.commit, found.ref)
                case HttpSource() as op if moves(op):
                    url = without_password(op.url)
                    if not self._moves(url) and url in self._old_http:
                        self.http[url] = self._old_http[url]
                    elif url not in self.http:
                        got = self._ask(step)
                        assert isinstance(got, HttpSource)
                        self.http[url] = got.digest
                case _:
                    pass

    def lock(self) -> Lock:
        """All that was taken down."""
        return Lock(tuple(self.images.items()), tuple(self.git.items()), tuple(self.http.items()))

    def _moves(self, *names: str) -> bool:
        called = self._wanted.intersection(names)
        self.met |= called
        return bool(called) or not self._wanted


def pinned_name(text: str) -> str:
    """The full name under which an image is pinned; "" for what needs no pin (a digest, a file of this machine)."""
    if "://" in text and not text.startswith("docker-image://"):
        return ""
    try:
        parsed = references.parse(text.removeprefix("docker-image://"))
    except UsageError:
        return ""  # who resolves it says what is wrong, and where
    return "" if parsed.digest else str(parsed)


def with_sources(targets: tuple[Target, ...], source: Callable[[Step], Op]) -> tuple[Target, ...]:
    """The targets over other ops for the sources that move, by `source`; the very same where there are none."""
    now = pinned(steps_of(targets), source)
    if not now:
        return targets
    return tuple(
        target.replace(
            step=now.get(target.step, target.step) if target.step is not None else None,
            tests=tuple([test.replace(step=now.get(test.step, test.step)) for test in target.tests]),
        )
        for target in targets
    )


def pinned(roots: Iterable[Step], source: Callable[[Step], Op]) -> dict[Step, Step]:
    """The steps that become others because some source below them does, with what they become."""
    now: dict[Step, Step] = {}
    for step in in_order(roots):
        base = now.get(step.base, step.base) if step.base is not None else None
        sources = tuple([now.get(one, one) for one in step.sources])
        op = source(step) if moves(step.op) else step.op
        # Steps are equal only where they are the same.
        if op is not step.op or base is not step.base or sources != step.sources:
            now[step] = step.replace(op=op, base=base, sources=sources)
    return now


def steps_of(targets: Iterable[Target]) -> Iterator[Step]:
    """The last steps of targets and of their tests."""
    for target in targets:
        if target.step is not None:
            yield target.step
        yield from [test.step for test in target.tests]


def without_password(url: str) -> str:
    """A URL as a lock file has it, which others may read."""
    scheme, separator, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    return f"{scheme}{separator}{user.partition(':')[0]}{at}{host}{slash}{path}" if at else url


def shown(text: str) -> str:
    """A name or address as messages show it."""
    from buildkit_py.http.address import shown_url

    return shown_url(text) if "://" in text else text
