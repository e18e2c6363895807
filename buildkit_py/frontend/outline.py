"""An outline: what can be known of a target without making it, for `--list` and `--help`."""

from __future__ import annotations

from buildkit_py.record import Record


class Outline(Record):
    """`parameters` are (name, type, default, description), as texts."""

    name: str
    description: str = ""
    default: bool = False
    parameters: tuple[tuple[str, str, str, str], ...] = ()
