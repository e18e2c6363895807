"""The gate for secrets: what a build makes is kept only if no value of its secrets stands in it.

Everything new is looked at before it becomes a result: what the steps are, the files that a step leaves, a text that
it gives. A result of an earlier build was looked at when it was made.
"""

from __future__ import annotations

import os
from _thread import allocate_lock

from buildkit_py.errors import SecretLeaked, SourceError
from buildkit_py.events import Notice
from buildkit_py.executor.secret_forms import SHORTEST, Finder, forms, lines
from buildkit_py.executor.secret_mask import Mask, masked_text
from buildkit_py.graph.op import GitSource, HttpSource, Run
from buildkit_py.image.entry import FILE
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from buildkit_py.events import Emit
    from buildkit_py.executor.secret_forms import Form
    from buildkit_py.graph.step import Step
    from buildkit_py.image.entry import Entry

_PIECE = 1 << 20
# Secrets that are headers or tokens for the sources of a build (`executor/remote.py`).
_FOR_SOURCES = ("HTTP_AUTH_", "GIT_AUTH_")
_HEADERS = ("HTTP_AUTH_HEADER_", "GIT_AUTH_HEADER")
_MOST_PLACES = 10


class SecretGate:
    """`value` gives a secret's value by its id or None, and raises `SourceError`; `ids` are the secrets to look for.

    For use by many threads.
    """

    def __init__(self, value: Callable[[str], bytes | None], ids: Iterable[str], emit: Emit) -> None:
        self._value = value
        self._ids = frozenset(ids)
        self._emit = emit
        self._lock = allocate_lock()
        self._known: dict[str, tuple[bytes, list[Form], list[Form]]] = {}
        self._finder: Finder | None = None
        self._in_print: Finder | None = None

    def secret(self, id: str) -> bytes | None:
        """The value of a secret, which is looked for from now on. Raises `SourceError`."""
        value = self._value(id)
        if value is not None and id in self._ids:
            self._learn(id, value)
        return value

    def learn(self, steps: Iterable[Step]) -> None:
        """Learn the secrets that some steps are going to take. Each is read once for that."""
        for id in sorted(self._ids.intersection(_taken(steps, self._ids))):
            if id in self._known:
                continue
            try:
                self.secret(id)
            except SourceError:
                pass  # the step that takes it says so

    def expect(self, steps: Sequence[Step]) -> None:
        """Learn the secrets that some steps are going to take, and look at what these steps are.

        Raises `SecretLeaked` for one that holds a value itself: it would be in records, and in an image's history.
        """
        self.learn(steps)
        if self._finder is None:
            return
        for step in steps:
            op = step.op
            if isinstance(op, Run):
                for name, value in op.env:
                    self.look(value, f"the variable `{name}` of `{step.name}`", step.position)
                op = op.replace(proxy_env=())  # which is in no record
            self.look((op, step.name), f"`{step.name}` itself", step.position)

    def look(self, value: object, what: str, position: object = None) -> None:
        """Look at all texts of a record, a tuple or a text. Raises `SecretLeaked`: a secret is in `what`."""
        finder = self._finder
        if finder is None:
            return
        for text in _texts(value):
            found = finder.first(text)
            if found is not None:
                raise _leaked(finder, found.form, what, position)

    def entries(self, entries: Sequence[Entry], position: object = None) -> None:
        """Look at new files of a layer: their names, links, attributes and bytes.

        Raises `SecretLeaked`, and `ContextError` for a file that cannot be read.
        """
        finder = self._finder
        if finder is None:
            return
        places: list[tuple[Form, str]] = []
        for entry in entries:
            form = self._in_entry(entry, finder)
            if form is not None:
                places.append((form, entry.path))
                if len(places) > _MOST_PLACES:
                    break
        if places:
            (form, path), *others = places[:_MOST_PLACES]
            leaked = _leaked(finder, form, f"`/{path}`, which this step writes", position)
            leaked.notes = tuple([masked_text(finder, f"also in `/{path}`{_encoded(form)}") for form, path in others])
            if len(places) > _MOST_PLACES:
                leaked.notes += ("and in more files",)
            raise leaked

    def mask(self) -> Mask | None:
        """A mask for one stream of a step's output; None where no secret is known."""
        return Mask(self._in_print) if self._in_print is not None else None

    def masked(self, ids: set[str], position: object) -> None:
        """Tell that a step printed secrets."""
        for id in sorted(ids):
            message = f"the secret `{id}` was printed by this step; `***` stands for it in the log"
            self._emit(Notice("warning", message, position))  # type: ignore[arg-type]

    def _learn(self, id: str, value: bytes) -> None:
        if id.startswith(_HEADERS):
            value = value.strip().rpartition(b" ")[2]  # the scheme before it is none
        with self._lock:
            before = self._known.get(id)
            if before is not None and before[0] == value:
                return
            found = forms(id, value)
            if not found and value.strip():
                message = f"the secret `{id}` has fewer than {SHORTEST} bytes, and is not looked for in what is built"
                self._emit(Notice("info", message))
            self._known[id] = (value, found, lines(id, value))
            whole = [form for _, own, _ in self._known.values() for form in own]
            parts = [form for _, _, own in self._known.values() for form in own]
            self._finder = Finder(whole) if whole else None
            self._in_print = Finder([*whole, *parts]) if whole else None

    def _in_entry(self, entry: Entry, finder: Finder) -> Form | None:
        for text in _texts((entry.path, entry.target, entry.xattrs)):
            if (found := finder.first(text)) is not None:
                return found.form
        if entry.kind != FILE or entry.size < finder.shortest:
            return None
        if entry.data is not None:
            found = finder.first(entry.data)
            return found.form if found is not None else None
        from buildkit_py.image.batches import unreadable
        from buildkit_py.image.true_path import open_true

        try:
            fd = open_true(entry.source)
            try:
                return _in_file(fd, finder)
            finally:
                os.close(fd)
        except OSError as problem:
            raise unreadable(entry, problem) from problem


def _in_file(fd: int, finder: Finder) -> Form | None:
    data = b""
    while piece := os.read(fd, _PIECE):
        data += piece
        if (found := finder.first(data)) is not None:
            return found.form
        data = data[-finder.reach :]
    return None


def _taken(steps: Iterable[Step], ids: frozenset[str]) -> Iterator[str]:
    """The secrets that steps take, of those that are given."""
    for step in steps:
        match step.op:
            case Run(mounts=mounts):
                yield from [mount.id for mount in mounts if mount.kind == "secret"]
            case HttpSource() | GitSource():
                yield from [id for id in ids if id.startswith(_FOR_SOURCES)]
            case _:
                pass


def _texts(value: object) -> Iterator[bytes]:
    """All texts in a value of records, tuples, texts and numbers."""
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, str):
        yield value.encode("utf-8", "surrogateescape")
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, dict):
        yield from _texts([*value.keys(), *value.values()])
    elif isinstance(value, Record):
        yield from _texts(value.values())


def _encoded(form: Form) -> str:
    return f", {form.kind}" if form.kind else ""


def _leaked(finder: Finder, form: Form, what: str, position: object) -> SecretLeaked:
    return SecretLeaked(
        masked_text(finder, f"the secret `{form.secret}` is in {what}{_encoded(form)}"),
        at=position,
        hint=f"keep it out of there; where it is meant to be, say so with --secret id={form.secret},…,scan=false",
    )
