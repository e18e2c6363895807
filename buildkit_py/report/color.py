"""Colour: whether a stream gets it, and the few kinds that messages use."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

_CODES = {"error": "1;31", "warning": "1;33", "hint": "1;36", "note": "1", "good": "32", "dim": "2"}


def wanted(stream: TextIO, env: Mapping[str, str] | None = None) -> bool:
    """Whether a stream gets colours.

    NO_COLOR (no-color.org) says no, FORCE_COLOR and CLICOLOR_FORCE say yes, CLICOLOR=0 says no; else it
    is for terminals that have them.
    """
    return wanted_if(stream.isatty(), env)


def wanted_if(terminal: bool, env: Mapping[str, str] | None = None) -> bool:
    """Whether a stream gets colours that is a terminal, or none."""
    env = os.environ if env is None else env
    if env.get("NO_COLOR"):
        return False
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        if env.get(name, "0") not in ("", "0", "false"):
            return True
    if env.get("CLICOLOR") == "0" or env.get("TERM") == "dumb":
        return False
    return terminal


def paint(text: str, kind: str, on: bool) -> str:
    """The text in the colour of its kind (error, warning, hint, note, good, dim), or as it is."""
    return f"\x1b[{_CODES[kind]}m{text}\x1b[0m" if on else text
