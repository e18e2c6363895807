"""A platform: operating system, architecture and variant, and which images a machine can run.

Names and defaults are those of containerd's `platforms` package: `x86_64` is
`amd64`, `linux/arm64/v8` is `linux/arm64`, `linux/arm` is `linux/arm/v7`.
"""

from __future__ import annotations

from buildkit_py.errors import UsageError
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit_py.image.config import ImageDocument

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv5l": ("arm", "v5"),
    "armv6l": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv8l": ("arm", "v7"),
    "powerpc64le": ("ppc64le", ""),
}
# Architectures whose variants are numbered, each running what was made for a lower one.
_LOWEST_VARIANT = {"amd64": 1, "arm": 5, "arm64": 8}
# What a lone word may be: the systems and architectures that Go has, as containerd lists them.
_SYSTEMS = frozenset(
    (
        *("aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux", "netbsd"),
        *("openbsd", "plan9", "solaris", "wasip1", "windows", "zos"),
    )
)
_KNOWN = frozenset(
    (
        *("386", "amd64", "arm", "armbe", "arm64", "arm64be", "loong64", "mips", "mipsle", "mips64", "mips64le"),
        *("ppc", "ppc64", "ppc64le", "riscv", "riscv64", "s390", "s390x", "sparc", "sparc64", "wasm"),
    )
)
_MARKS = {ord(mark): None for mark in "_-."}
_HINT = "a platform is written OS/ARCH[/VARIANT], such as linux/arm64"


class Platform(Record):
    """`variant` is "" where the architecture has one way only, or its usual one is meant."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        tail = f"/{self.variant}" if self.variant else ""
        return f"{self.os}/{self.architecture}{tail}"


def normal(os: str, architecture: str, variant: str = "") -> Platform:
    """The platform under its usual names."""
    os, architecture, variant = os.lower(), architecture.lower(), variant.lower()
    architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
    variant = variant or implied
    if variant.isdigit():
        variant = "v" + variant
    if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
        variant = ""
    elif architecture == "arm" and not variant:
        variant = "v7"
    return Platform(os, architecture, variant)


def of_image(document: ImageDocument, wanted: Platform | None = None) -> Platform:
    """What an image is for; one whose config has no architecture is for what is wanted, or for this machine.

    So BuildKit has it (`autoDetectPlatform`, `ParsePlatforms`).
    """
    if not document.architecture:
        return wanted or local()
    return normal(document.os, document.architecture, document.variant)


def is_word(text: str) -> bool:
    """Whether a text may be the operating system, the architecture or the variant of a platform."""
    return text.isascii() and text.translate(_MARKS).isalnum()


def parse(text: str) -> Platform:
    """The platform named by `OS/ARCH[/VARIANT]`, or by an operating system or an architecture alone.

    Raises `UsageError` for anything else.
    """
    parts = text.strip().split("/")
    if len(parts) > 3 or not all(is_word(part) for part in parts):
        raise UsageError(f"`{text}` is not a platform", hint=_HINT)
    if len(parts) > 1:
        return normal(*parts)
    here = local()
    if parts[0].lower() in _SYSTEMS:
        return Platform(parts[0].lower(), here.architecture, here.variant)
    found = normal(here.os, parts[0])
    if found.architecture not in _KNOWN:
        hint = "a word alone is an operating system or an architecture, such as arm64; write OS/ARCHITECTURE for others"
        raise UsageError(f"`{text}` is not a platform", hint=hint)
    return found


def local() -> Platform:
    """This machine's platform."""
    import os

    machine = os.uname()
    return normal(machine.sysname, machine.machine)


def runnable(wanted: Platform) -> tuple[Platform, ...]:
    """The platforms whose images a machine of this kind runs, the best first."""
    lowest = _LOWEST_VARIANT.get(wanted.architecture)
    number = wanted.variant.removeprefix("v")
    if lowest is None or not (number.isdigit() or not number):
        return (wanted,)
    versions = range(int(number or lowest), lowest - 1, -1)
    found = [normal(wanted.os, wanted.architecture, f"v{version}") for version in versions]
    if wanted.architecture == "arm64":
        found += [Platform(wanted.os, "arm", f"v{version}") for version in (8, 7, 6, 5)]
    elif wanted.architecture == "amd64":
        found.append(Platform(wanted.os, "386"))
    return tuple(found) or (wanted,)


def best(wanted: Platform, offered: Iterable[Platform | None]) -> int | None:
    """Which of the platforms on offer suits best, as its position; None where none does."""
    ranks = {platform: rank for rank, platform in enumerate(runnable(wanted))}
    choice: tuple[int, int] | None = None
    for position, platform in enumerate(offered):
        if platform is None:
            continue
        rank = ranks.get(normal(platform.os, platform.architecture, platform.variant))
        if rank is not None and (choice is None or rank < choice[0]):
            choice = (rank, position)
    return choice[1] if choice else None
