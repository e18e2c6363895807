"""The init program of `run --init`: a static one of this machine that becomes the process 1 of a container and starts
its command. It reaps what nobody else does, and passes signals on.
"""

from __future__ import annotations

import os

from buildkit_py.errors import SandboxError, UsageError
from buildkit_py.sandbox.spec import SandboxMount
from buildkit_py.sandbox.userns import find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Inside. In /dev, which is each container's own: nothing of it gets among the files that the container leaves.
PLACE = "/dev/init"
# As docker and podman have them, those first that end with a shell's codes where the command cannot be started.
_NAMES = ("docker-init", "tini-static", "catatonit")
_DIRECTORIES = ("/usr/libexec/docker", "/usr/local/libexec/docker", "/usr/libexec/podman", "/usr/lib/podman")
_LARGEST_HEADERS = 1 << 16
_PT_INTERP = 3  # elf(5)


def with_init(argv: tuple[str, ...], targets: Iterable[str]) -> tuple[tuple[str, ...], SandboxMount]:
    """A command as the child of an init program, and the mount of that; `targets` is where other mounts are.

    Raises `SandboxError` where there is none on this machine, `UsageError` where a mount is in its way.
    """
    for target in targets:
        if f"{PLACE}/".startswith(f"{target.rstrip('/')}/"):
            raise UsageError(f"`--init` puts its program at {PLACE}, and a mount is to be at `{target}`")
    return (PLACE, "--", *argv), SandboxMount("bind", PLACE, source=init_program())


def init_program() -> str:
    """The path of a static init program of this machine. Raises `SandboxError` where there is none."""
    candidates = [find_program(name) for name in _NAMES]
    candidates += [f"{directory}/{name}" for directory in _DIRECTORIES for name in _NAMES]
    for path in candidates:
        if path and os.access(path, os.X_OK) and is_static(path):
            return os.path.realpath(path)
    raise SandboxError(
        f"there is no init program for `--init` here: a static {', '.join(_NAMES[:-1])} or {_NAMES[-1]}",
        hint="as root: apt-get install tini",
    )


def is_static(path: str) -> bool:
    """Whether a file is a program that needs no loader of its machine's, which an image may lack (elf(5))."""
    try:
        with open(path, "rb") as file:
            head = file.read(_LARGEST_HEADERS)
    except OSError:
        return False
    if head[:4] != b"\x7fELF" or head[4:5] not in (b"\1", b"\2"):
        return False
    little = head[5:6] == b"\1"

    def number(place: int, size: int) -> int:
        return int.from_bytes(head[place : place + size], "little" if little else "big")

    start, size, count = (32, 54, 56) if head[4:5] == b"\2" else (28, 42, 44)
    first, step, many = number(start, 8 if head[4:5] == b"\2" else 4), number(size, 2), number(count, 2)
    kinds = [number(first + step * index, 4) for index in range(many)]
    return 0 < first + step * many <= len(head) and many > 0 and _PT_INTERP not in kinds
