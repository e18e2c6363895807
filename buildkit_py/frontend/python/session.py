"""What is going on while a Buildfile.py runs: which file, what records its inputs, and who can run a step now."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from buildkit_py.frontend.python.image import Image
    from buildkit_py.frontend.target import Inputs


class Session:
    """One Buildfile.py at work. `evaluate` gives the standard output of an image's last command; None: nobody can."""

    def __init__(self, path: str, inputs: Inputs) -> None:
        self.path = path
        self.root = os.path.dirname(path)
        self.inputs = inputs
        self.module: ModuleType | None = None
        self.evaluate: Callable[[Image], str] | None = None
        # While a target is called: the platform to build for, and the build args that whoever builds gives.
        self.platform = ""
        self.build_args: dict[str, str] = {}


_current: list[Session] = []


def current() -> Session | None:
    """The session whose code is running, None outside of pybuild."""
    return _current[-1] if _current else None


def enter(session: Session) -> None:
    """Make a session the current one, until `leave`."""
    _current.append(session)


def leave() -> None:
    _current.pop()


def resolve(path: str) -> str:
    """A path of a Buildfile.py, made absolute against its directory."""
    session = current()
    return os.path.normpath(os.path.join(session.root if session else os.getcwd(), path))
