"""The work tree of git that a context lies in: where its index is, and whether modes are believed."""

from __future__ import annotations

import os

from buildkit_py.graph.op import WorkTree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.target import Inputs

_MOST = 1 << 20
_FALSE = frozenset(("false", "no", "off", "0"))


def work_tree(root: str, inputs: Inputs) -> WorkTree | None:
    """The innermost work tree around a directory, None where it is in none.

    Every file that this depends on is an input of the build, the index, too.
    `GIT_DIR` and the like do not count: they are of the person who builds, not of the files.
    """
    top = os.path.realpath(root)
    below = ""
    while True:
        found = _repository(f"{top}/.git".replace("//", "/"), inputs)
        if found is not None:
            directory, shared = found
            inputs.file(index := f"{directory}/index")
            return WorkTree(index, below, _believes_modes(f"{shared}/config", inputs))
        parent, _, name = top.rpartition("/")
        if not name:
            return None
        top, below = parent or "/", f"{name}/{below}"


def _repository(path: str, inputs: Inputs) -> tuple[str, str] | None:
    """The directory of a repository and the one that it shares with other work trees (gitrepository-layout(5))."""
    if not os.path.isdir(path):
        inputs.file(path)
        line = _text(path)
        if not line.startswith("gitdir: "):
            return None
        path = os.path.normpath(os.path.join(os.path.dirname(path), line[8:].rstrip("\n")))
    inputs.file(f"{path}/HEAD")
    if not os.path.exists(f"{path}/HEAD"):
        return None
    inputs.file(f"{path}/commondir")
    return path, os.path.normpath(os.path.join(path, _text(f"{path}/commondir").strip()))


def _believes_modes(config: str, inputs: Inputs) -> bool:
    """`core.fileMode` of a repository, which git writes into each one; the last line that says it counts."""
    inputs.file(config)
    believed, section = True, ""
    for line in _text(config).splitlines():
        line = line.strip()
        if line.startswith("["):
            section, _, line = line[1:].partition("]")
        name, equals, value = line.partition("=")
        if section.strip().lower() == "core" and name.strip().lower() == "filemode":
            believed = not equals or value.strip().lower() not in _FALSE
    return believed


def _text(path: str) -> str:
    """What is in a small file, "" where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(_MOST).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
