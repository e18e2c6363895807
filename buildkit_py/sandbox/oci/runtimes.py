"""The programs that can run a bundle: where they are, which version, and whether that one is safe."""

from __future__ import annotations

import os

from buildkit_py.errors import SandboxError
from buildkit_py.record import Record
from buildkit_py.sandbox.userns import find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

Version = tuple[int, ...]

RUNTIMES: Final = ("crun", "runc")

# Below these a container gets out, and what pybuild checks of an image does not stop it.
_OLDEST: Final[dict[str, tuple[Version, str]]] = {
    "crun": ((1, 15), "a working directory outside of the container is not noticed before 1.15"),
    "runc": ((1, 1, 12), "a container gets out through its working directory before 1.1.12 (CVE-2024-21626)"),
}
# Below these of a branch, holes are known that distributions mend without a new number: said, and no more.
# crun's like them (CVE-2026-47766) need a link at /dev, which pybuild refuses itself.
_RUNC_MENDED: Final[tuple[Version, ...]] = ((1, 2, 8), (1, 3, 3))
_RUNC_HOLES: Final = "CVE-2025-31133, CVE-2025-52565 and CVE-2025-52881"


class Runtime(Record):
    """A program at `path`, of the kind "crun" or "runc" by its own word. `advice` is what is to be said of it."""

    kind: str
    path: str
    version: str
    advice: str = ""


def find_runtime(name: str) -> Runtime:
    """The runtime that `--runtime=` names: `crun`, `runc` or an absolute path of one of them.

    Raises `SandboxError` where it is unknown, missing, does not say what it is, or is older than is safe.
    """
    if "/" not in name and name not in RUNTIMES:
        raise SandboxError(f"`{name}` is no runtime", hint="it is `crun`, `runc` or the absolute path of one of them")
    path = name if "/" in name else find_program(name)
    if not path:
        raise SandboxError(f"the runtime `{name}` is not installed here", hint=f"as root: apt-get install {name}")
    if not path.startswith("/"):
        raise SandboxError(f"the runtime's path `{name}` is not absolute")
    kind, version = _ask(path)
    numbers = _numbers(version)
    oldest, why = _OLDEST[kind]
    if numbers < oldest:
        raise SandboxError(f"{kind} {version} is not safe: {why}", at=path, hint=f"use {kind} {_text(oldest)} or newer")
    return Runtime(kind, path, version, _advice(kind, version, numbers))


def installed() -> tuple[tuple[str, Runtime | SandboxError], ...]:
    """Every runtime that is installed here by its name, or why it is not used."""
    out: list[tuple[str, Runtime | SandboxError]] = []
    for name in RUNTIMES:
        if find_program(name):
            try:
                out.append((name, find_runtime(name)))
            except SandboxError as error:
                out.append((name, error))
    return tuple(out)


def _ask(path: str) -> tuple[str, str]:
    """The kind and version that a program claims in the first line of `--version`: `crun version 1.21`."""
    if not os.path.isfile(path):
        raise SandboxError("the runtime is not there", at=path)
    if not os.access(path, os.X_OK):
        raise SandboxError("the runtime is not a program that this user may run", at=path)
    import subprocess

    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, timeout=10, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxError(f"the runtime does not say its version: {error}", at=path) from error
    words = done.stdout.decode("utf-8", "replace").split()
    if done.returncode or len(words) < 3 or words[0] not in RUNTIMES or words[1] != "version":
        said = " ".join(words[:6]) or done.stderr.decode("utf-8", "replace").strip()[:100] or "nothing"
        raise SandboxError(
            "the program is neither crun nor runc",
            at=path,
            notes=(f"asked for its version it says: {said}",),
            hint="`pybuild bundle` writes a bundle that other runtimes can run",
        )
    return words[0], words[2]


def _advice(kind: str, version: str, numbers: Version) -> str:
    if kind != "runc":
        return ""
    mended = max([release for release in _RUNC_MENDED if release[:2] <= numbers[:2]], default=_RUNC_MENDED[0])
    if numbers >= mended:
        return ""
    return f"runc {version} has {_RUNC_HOLES}, unless your distribution has mended them; {_text(mended)} has not"


def _numbers(version: str) -> Version:
    """`1.1.15+ds1` and `1.4.0-rc.3` as numbers; what follows them is left out."""
    digits = ""
    for character in version:
        if not (character.isdigit() or character == "."):
            break
        digits += character
    return tuple([int(part) for part in digits.split(".") if part])


def _text(numbers: Version) -> str:
    return ".".join([str(number) for number in numbers])
