"""Names in the store of volumes that have none in a project: each belongs to one place of one service.

Such a name begins as one of a declared volume may, and ends with digests: of the project and the service, and of the
place. So it is no other one's, and whose it is can be seen by it.
"""

from __future__ import annotations

import hashlib

from buildkit_py.store.containers import is_name

_DIGITS = 6
_LONGEST = 80  # a file's name has at most 255 bytes, and services and projects have long ones, too


def unnamed_volume(project: str, service: str, target: str) -> str:
    """The name of the volume at `target`, an absolute path, of a service."""
    place = "".join([ch if is_name(f"x{ch}") else "-" for ch in target[1:]])[:_LONGEST]
    return f"{_beginning(project, service)}{place}-{_digest(project, service)}{_digest(target)}"


def is_unnamed_of(volume: str, project: str, service: str) -> bool:
    """Whether a name is that of an unnamed volume of a service."""
    owner = volume[-2 * _DIGITS : -_DIGITS]
    return volume.startswith(_beginning(project, service)) and owner == _digest(project, service)


def _beginning(project: str, service: str) -> str:
    return f"{project}_{service}_"


def _digest(*said: str) -> str:
    return hashlib.sha256("\0".join(said).encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]
