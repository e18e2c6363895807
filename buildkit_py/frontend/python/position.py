"""Which line of the user's Buildfile.py is running: the place every node and error of the Python door gets."""

from __future__ import annotations

import os
import sys

from buildkit_py.source_map import Position

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep

# Code file names of the Buildfile.py's loaded in this process, with the names people know them by.
_shown: dict[str, str] = {}


def register(filename: str, shown: str) -> None:
    """Make the frames of this code file count as the user's."""
    _shown[filename] = shown


def is_ours(filename: str) -> bool:
    """Whether a code file belongs to pybuild itself."""
    return filename.startswith(_PACKAGE)


def is_users(filename: str) -> bool:
    """Whether a code file is a Buildfile.py."""
    return filename in _shown


def here() -> Position:
    """The user's line that called into pybuild; helper functions lead outward in `via`.

    Frames of libraries between are passed over. The walk ends at the next
    frame of pybuild, because that is a target calling another one.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    outermost = frame
    places: list[Position] = []
    current = frame
    while True:
        name = current.f_code.co_filename
        if is_ours(name):
            break
        if name in _shown:
            places.append(Position(_shown[name], current.f_lineno, function=function_name(current.f_code)))
        if current.f_back is None:
            break
        current = current.f_back
    if not places:  # called from a program that is no Buildfile.py
        code = outermost.f_code
        return Position(code.co_filename, outermost.f_lineno, function=function_name(code))
    return places[0].replace(via=tuple(places[1:])) if len(places) > 1 else places[0]


def function_name(code: CodeType) -> str:
    """The name people know a code object by; "" for the top of a file."""
    return "" if code.co_name == "<module>" else code.co_name
