"""What the processes of `test_background_forks` are: each writes down what it finds itself to be, and waits."""

from __future__ import annotations

import json
import os
import signal

from buildkit_py.errors import SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.errors import PybuildError

LATER = ("colorsys",)


def run(root: str, name: str, ready: Callable[[PybuildError | None], None]) -> None:
    """Be one; a name that ends with `e` is not ready, one that ends with `d` dies."""
    if name.endswith("e"):
        raise SandboxError("it does not want to", hint="ask another")
    if name.endswith("d"):
        os.kill(os.getpid(), signal.SIGKILL)
    found = {"pid": os.getpid(), "session": os.getsid(0), "cwd": os.getcwd(), "files": _files()}
    with open(f"{root}/{name}", "w", encoding="utf-8") as file:
        json.dump(found, file)
    ready(None)
    signal.pause()


def _files() -> dict[str, str]:
    """What the descriptors lead to, without the one that the directory is read by."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue
    return found
