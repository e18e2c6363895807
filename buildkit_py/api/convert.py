"""convert(): a Buildfile as a Buildfile.py, to look at or as a file."""

from __future__ import annotations

import os

from buildkit_py.errors import ExportError, PybuildError


def convert(path: str, *, context: str, destination: str, name: str = "") -> str:
    """The text of the Buildfile.py that makes what the Buildfile at `path` makes.

    `context` and `destination` are absolute directories: of the build
    context, and where the new file will be. `name` is how errors call the
    Buildfile. Raises `BuildfileError`.
    """
    from buildkit_py.frontend.buildfile.parse import parse_file
    from buildkit_py.frontend.convert.convert import convert as converted
    from buildkit_py.frontend.files import show_line

    name = name or os.path.basename(path)
    tree = parse_file(path, name=name)
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        text = file.read()
    try:
        return converted(tree, text, context=os.path.relpath(context, destination))
    except PybuildError as problem:
        show_line(problem, name, path)
        raise


def write(text: str, path: str, *, replace: bool) -> None:
    """Put the text into a file, whole or not at all. Raises `ExportError`, also for a file that is there already."""
    if not replace and os.path.lexists(path):
        raise ExportError("there is such a file already", at=path, hint="name another one, or give --force")
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "x", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError as problem:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise ExportError(f"the file cannot be written: {problem.strerror}", at=path) from problem
