"""The keys of a step, from what they are made of; `solver/keys.py` says what that is of each op."""

from __future__ import annotations

from buildkit_py.digest import key_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Raised whenever the parts of a key, or what a step does with them, change meaning.
FORMAT = 1


def definition_key(parts: tuple[Any, ...], base: str, sources: tuple[tuple[str, str], ...]) -> str:
    """The key of an op over a base with definition key `base` ("" for an empty filesystem).

    `sources` are ("step", definition key) or, for what a step takes from a
    local context, ("content", content digest).
    """
    return key_of("definition", FORMAT, parts, base, sources)


def content_key(parts: tuple[Any, ...], base: str, sources: tuple[str, ...]) -> str:
    """The key of an op over a base and sources with these content digests."""
    return key_of("content", FORMAT, parts, base, sources)


def read_key(snapshots: tuple[str, ...]) -> str:
    """One name for the filesystems that a step reads, "" for each local context among them; "" where all are."""
    return key_of("sources", snapshots) if any(snapshots) else ""
