"""Records: the entries of the cache, each a file `records/ab/KEY` that says what a step with that key gave.

The file has two sealed values. The head holds all fields but `parts`, the
tail holds `parts`: a COPY may have a hundred thousand of them, which only
`why` wants to see.

    <head length, 8 digits>\\n<sealed head><sealed tail>
"""

from __future__ import annotations

import os

from buildkit_py.record import Record
from buildkit_py.store.faults import store_error
from buildkit_py.store.locks import Lock
from buildkit_py.store.sealed import read_regular, seal, unseal
from buildkit_py.store.shards import shard_names, shard_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from buildkit_py.store.leases import Leases
    from buildkit_py.store.work import Work

# The signature of a record that is another machine's and has none.
ELSEWHERE = "none"
_HEAD_AT = 9
_FIRST_READ = 4096


class StepRecord(Record):
    """What a step gave: the snapshot and the layer on top of it, or captured text.

    `kind` is the op's tag; `definition` and `content` are its two keys ("" where there is none); `parts`
    are the parts the key was made of, nested tuples of None, bool, int, str and bytes. `milliseconds` is
    how long it ran, `bytes` how large the layer is, `created` when (seconds since 1970), `tool` by what.
    `sources` is one name for the filesystems of other steps that it read, "" where it is not known.
    `maker` is the machine or the run of a CI that it was made by. `signature` is "" for what was made here; what
    came with a portable cache has the one that it came with there, or `ELSEWHERE`. `owners` is `owners.ONE_ID` where
    that was made with a single user id, "" elsewhere and for what was made here.
    """

    key: str
    kind: str
    snapshot: str
    layer: str
    text: str = ""
    definition: str = ""
    content: str = ""
    parts: tuple[Any, ...] = ()
    name: str = ""
    milliseconds: int = 0
    bytes: int = 0
    created: int = 0
    tool: str = ""
    sources: str = ""
    maker: str = ""
    signature: str = ""
    owners: str = ""


class Records:
    """`records/` of a store. Methods raise `ValueError` for a key that is none, and `StoreError`."""

    def __init__(self, work: Work, leases: Leases) -> None:
        self.dir = work.root + "/records"
        self._work = work
        self._leases = leases

    def path(self, key: str) -> str:
        """Where a record is or would be."""
        return shard_path(self.dir, key)

    def get(self, key: str, *, parts: bool = True) -> StepRecord | None:
        """The record filed under a key; None if there is none. A damaged one is quarantined and counts as absent.

        Without `parts` they are left empty, and a long record costs no more than a short one.
        """
        path = self.path(key)
        self._leases.renew(path)  # before looking: what is renewed is not pruned any more
        return self.read(key, parts=parts)

    def read(self, key: str, *, parts: bool = True) -> StepRecord | None:
        """As `get`, but does not count as use."""
        path = self.path(key)
        try:
            data = read_regular(path, -1 if parts else _FIRST_READ)
            if data is None:
                return None
            end = _HEAD_AT + int(data[:_HEAD_AT])
            if not parts and len(data) < end:
                data = read_regular(path, end) or b""
            fields = list(unseal(data[_HEAD_AT:end]))
            tail = unseal(data[end:]) if parts else ()
            fields.insert(StepRecord.__fields__.index("parts"), tail)
            record = StepRecord(*fields)
            if record.key == key and type(tail) is tuple:  # the seal does not cover the file's name
                return record
        except (ValueError, TypeError):
            pass
        except OSError as problem:
            raise store_error(problem, self._work.root, "read a record") from problem
        self._work.quarantine(path)
        return None

    def has(self, key: str) -> bool:
        """Whether something is filed under a key; whether it is sound is not looked at."""
        path = self.path(key)
        self._leases.renew(path)
        return os.path.isfile(path) and not os.path.islink(path)

    def put(self, key: str, record: StepRecord) -> None:
        """File a record under a key (which becomes its `key`), over an older one.

        Raises `ValueError` if `parts` has values of other types in it.
        """
        record = record.replace(key=key)
        fields = dict(zip(record.__fields__, record.values(), strict=True))
        parts = fields.pop("parts")
        head = seal(tuple(fields.values()))
        data = b"%08d\n" % len(head) + head + seal(parts)
        self._work.write(self.path(key), data)

    def delete(self, key: str) -> bool:
        """Remove a record; False if there was none."""
        return self._work.remove(self.path(key))

    def all(self) -> Iterator[tuple[str, StepRecord]]:
        """Every (key, record without its parts), in no order. A record may be filed under two keys."""
        for key in self.names():
            record = self.read(key, parts=False)
            if record is not None:
                yield key, record

    def names(self) -> Iterator[str]:
        """The keys of all records, read or not."""
        return shard_names(self.dir)

    def lock(self, key: str, waiting: Callable[[int], object] | None = None) -> Lock:
        """A lock for who runs the step with this key, so that two builds run it once; see `locks.Lock`."""
        return Lock(f"{self._work.root}/locks/step-{os.path.basename(self.path(key))}", waiting=waiting)
