"""A case of the corpus: a Dockerfile, the files beside it, and options that docker and pybuild take alike."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# What a case that fetches has as the address of its server (`tests/peers/site.py`).
SITE = "http://site.invalid"
# Older than anything that a build makes, so that a time that was kept is told from a new one.
TIME = 1_600_000_000


@dataclass(frozen=True)
class File:
    """A regular file."""

    data: str | bytes = ""
    mode: int = 0o644
    time: float = TIME
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Dir:
    """A directory."""

    mode: int = 0o755


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class Hard:
    """Another name of an earlier file."""

    path: str


@dataclass(frozen=True)
class Pipe:
    """A named pipe."""


Node = str | bytes | File | Dir | Link | Hard | Pipe


@dataclass(frozen=True)
class Case:
    """`name` is unique in the corpus; `options` come before the context on either command line."""

    name: str
    text: str
    files: Mapping[str, Node] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    def write(self, project: Path, site: str = SITE) -> None:
        """The context, with exact modes and times, owned as `project` is; a `Dockerfile` in `files` comes first.

        `site` is the address of the server of cases that fetch.
        """
        owner = project.stat()
        nodes = {"Dockerfile": self.text.lstrip("\n").replace(SITE, site), **self.files}
        modes: dict[Path, int] = {}
        made: list[tuple[Path, float]] = []
        for name, node in nodes.items():
            path = project / name
            for parent in reversed(path.relative_to(project).parents[:-1]):
                (project / parent).mkdir(exist_ok=True)
                modes.setdefault(project / parent, 0o755)
                made.append((project / parent, TIME))
            time: float = TIME
            match node:
                case Dir(mode):
                    path.mkdir(exist_ok=True)
                    modes[path] = mode
                case Link(target):
                    path.symlink_to(target)
                case Hard(other):
                    os.link(project / other, path)
                case Pipe():
                    os.mkfifo(path)
                    modes[path] = 0o644
                case _:
                    file = node if isinstance(node, File) else File(node)
                    path.write_bytes(file.data.encode() if isinstance(file.data, str) else file.data)
                    for key, value in file.xattrs.items():
                        os.setxattr(path, key, value)
                    modes[path], time = file.mode, file.time
            made.append((path, time))
        for path, _ in made:
            os.lchown(path, owner.st_uid, owner.st_gid)
        for path, mode in modes.items():
            path.chmod(mode)
        for path, time in made:
            nanoseconds = int(time * 1_000_000_000)
            os.utime(path, ns=(nanoseconds, nanoseconds), follow_symlinks=False)
