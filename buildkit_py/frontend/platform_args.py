"""Platforms as texts (`linux/arm64`), and the ARGs that tell a Buildfile about them.

Names are normalised as containerd does it: `x86_64` is `amd64`, `aarch64` and
`arm64/v8` are `arm64`, `arm` is `arm/v7`.
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.source_map import Position

_ARCHITECTURES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm/v7",
    "armel": "arm/v6",
    "armv6l": "arm/v6",
    "armv7l": "arm/v7",
    "arm": "arm/v7",
    "i386": "386",
    "i486": "386",
    "i586": "386",
    "i686": "386",
}
_PLAIN = {"arm64/v8": "arm64", "amd64/v1": "amd64"}
_KNOWN_OS = frozenset(("linux", "windows", "darwin", "freebsd", "openbsd", "netbsd", "wasip1"))

# In BuildKit's order; the values follow the same order in `platform_args`.
_PARTS = ("PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT")


def this_platform() -> str:
    """The platform of this machine."""
    import os

    return normalise("linux/" + os.uname().machine)


def normalise(text: str, at: Position | None = None) -> str:
    """A platform in its canonical form; a lone architecture or system is completed from this machine's.

    Raises `BuildfileError` for anything that is no platform.
    """
    parts = text.strip().lower().split("/")
    if not all(parts) or len(parts) > 3 or any(not part.replace("-", "").replace("_", "").isalnum() for part in parts):
        raise BuildfileError(
            f"`{text}` is not a platform", at=at, hint="a platform is written OS/ARCH[/VARIANT], such as linux/arm64"
        )
    if len(parts) == 1:
        if parts[0] in _KNOWN_OS:
            return f"{parts[0]}/{this_platform().partition('/')[2]}"
        parts.insert(0, "linux")
    system, arch = parts[0], parts[1]
    if len(parts) == 3:
        full = f"{_ARCHITECTURES.get(arch, arch).partition('/')[0]}/{parts[2]}"
    else:
        full = _ARCHITECTURES.get(arch, arch)
    return f"{system}/{_PLAIN.get(full, full)}"


def split(platform: str) -> tuple[str, str, str]:
    """(system, architecture, variant) of a canonical platform."""
    system, _, rest = platform.partition("/")
    arch, _, variant = rest.partition("/")
    return system, arch, variant


def platform_args(build: str, target: str, stage: str) -> tuple[tuple[str, str], ...]:
    """The predefined global ARGs: BUILD*, TARGET* and TARGETSTAGE."""
    out: list[tuple[str, str]] = []
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        system, arch, variant = split(platform)
        values = (platform, system, "", arch, variant)
        out.extend((prefix + part, value) for part, value in zip(_PARTS, values, strict=True))
    return (*out, ("TARGETSTAGE", stage or "default"))
