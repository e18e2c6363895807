"""Shards: many small files named by 64 hex digits, spread over directories named by the first two."""

from __future__ import annotations

import os

from buildkit_py.digest import is_hex
from buildkit_py.store.faults import store_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def shard_path(dir: str, name: str) -> str:
    """Where the file of that name is or would be. Raises `ValueError` unless the name is 64 hex digits."""
    if not is_hex(name):
        raise ValueError(f"not 64 hex digits: {name!r}")
    return f"{dir}/{name[:2]}/{name}"


def shard_names(dir: str) -> Iterator[str]:
    """The names of all files there, in no order; what does not belong there is passed over. Raises `StoreError`."""
    for shard in _list(dir):
        if len(shard) == 2 and is_hex(shard, 2):
            for name in _list(f"{dir}/{shard}"):
                if is_hex(name) and name[:2] == shard:
                    yield name


def _list(dir: str) -> list[str]:
    try:
        return os.listdir(dir)
    except (FileNotFoundError, NotADirectoryError):
        return []  # removed since it was listed, or no shard
    except OSError as problem:
        raise store_error(problem, dir, "list the store") from problem
