"""This machine's own root filesystem as the start of a build: `FROM host://`."""

from __future__ import annotations

import os

from buildkit_py.digest import key_of
from buildkit_py.graph.op import HostSource
from buildkit_py.graph.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.target import Inputs
    from buildkit_py.source_map import Position

# What changes when packages are installed, removed or upgraded, and what names the release.
FILES = (
    "/etc/os-release",
    "/usr/lib/os-release",
    "/var/lib/dpkg/status",
    "/lib/apk/db/installed",
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/var/lib/pacman/local",
)
_READ_WHOLE = 16 << 20


def host_step(inputs: Inputs, *, stage: str = "", label: str = "", position: Position | None = None) -> Step:
    """The root step of a build on this machine, keyed by `fingerprint`."""
    return Step(HostSource(fingerprint(inputs)), name=label or "FROM host://", stage=stage, position=position)


def fingerprint(inputs: Inputs, root: str = "") -> str:
    """A digest of the system's release, its package database and the machine's architecture.

    Files of at most 16 MiB count by their bytes, bigger ones by size and
    modification time; a directory by its own modification time. A change
    made past the package manager is not seen, which the docs say.
    """
    parts: list[object] = ["host-1", os.uname().machine]
    for path in FILES:
        inputs.file(root + path)
        try:
            with open(root + path, "rb") as file:
                info = os.fstat(file.fileno())
                parts.append((path, file.read() if info.st_size <= _READ_WHOLE else (info.st_size, info.st_mtime_ns)))
        except IsADirectoryError:
            info = os.stat(root + path)
            parts.append((path, (info.st_size, info.st_mtime_ns)))
        except OSError:
            parts.append((path, None))
    return key_of(*parts)
