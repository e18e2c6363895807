"""Platforms as texts (`linux/arm64`), and the ARGs that tell a Buildfile about them."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError, UsageError
from buildkit_py.image import platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.source_map import Position

# In BuildKit's order; the values follow the same order in `platform_args`.
_PARTS = ("PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT")


def this_platform() -> str:
    """The platform of this machine."""
    return str(platform.local())


def normalise(text: str, at: Position | None = None) -> str:
    """A platform in its canonical form (`image.platform`); a lone architecture or system is completed.

    Raises `BuildfileError` for anything that is no platform.
    """
    try:
        return str(platform.parse(text))
    except UsageError as problem:
        raise BuildfileError(problem.message, at=at, hint=problem.hint) from None


def split(text: str) -> tuple[str, str, str]:
    """(system, architecture, variant) of a canonical platform."""
    system, _, rest = text.partition("/")
    arch, _, variant = rest.partition("/")
    return system, arch, variant


def platform_args(build: str, target: str, stage: str) -> tuple[tuple[str, str], ...]:
    """The predefined global ARGs: BUILD*, TARGET* and TARGETSTAGE."""
    out: list[tuple[str, str]] = []
    for prefix, whole in (("BUILD", build), ("TARGET", target)):
        system, arch, variant = split(whole)
        values = (whole, system, "", arch, variant)
        out.extend((prefix + part, value) for part, value in zip(_PARTS, values, strict=True))
    return (*out, ("TARGETSTAGE", stage or "default"))


PLATFORM_ARGS = frozenset([name for name, _ in platform_args("", "", "")])
"""The names of the predefined global ARGs."""
