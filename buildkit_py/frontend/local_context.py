"""Local directories that steps copy from: which ignore file counts, and sealed snapshots of single paths."""

from __future__ import annotations

import os

from buildkit_py.errors import BuildfileError, ContextError
from buildkit_py.graph.op import Copy, CopyPath, LocalSource
from buildkit_py.graph.step import Step
from buildkit_py.patterns import IgnoreRules, read_ignore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.target import Inputs
    from buildkit_py.source_map import Position


def context_step(
    name: str,
    root: str,
    inputs: Inputs,
    *,
    buildfile: str = "",
    extra: tuple[str, ...] = (),
    position: Position | None = None,
) -> Step:
    """The step for a directory, seen through its ignore file and then the `extra` patterns.

    `<buildfile>.dockerignore` next to the Buildfile replaces `.dockerignore`
    of the root, even when it is empty. Both look-ups are inputs of the build:
    a file that appears later must be noticed. Raises `ContextError` where
    there is no such directory, `BuildfileError` for a bad pattern.
    """
    if not os.path.isdir(root):
        missing = "is not a directory" if os.path.exists(root) else "does not exist"
        raise ContextError(f"the context `{root}` {missing}", at=position)
    patterns: tuple[str, ...] = ()
    places = [buildfile + ".dockerignore"] if buildfile else []
    for path in (*places, os.path.join(root, ".dockerignore")):
        inputs.file(path)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as problem:
            raise ContextError(f"cannot read the ignore file: {problem.strerror}", at=path) from problem
        patterns = read_ignore(data)
        _check(patterns, path)
        break
    _check(extra, position)
    return Step(LocalSource(name, root, patterns + extra), name=f"[{name}] {root}", position=position)


def _check(patterns: tuple[str, ...], at: object) -> None:
    if not patterns:
        return
    try:
        IgnoreRules(patterns)
    except ValueError as problem:
        raise BuildfileError(f"a bad ignore pattern: {problem}", at=at) from problem


def sealed(source: Step, path: str, *, label: str = "", stage: str = "", position: Position | None = None) -> Step:
    """A filesystem that holds one path of a context at its own place.

    A step that mounts files of a context sees this snapshot and never the
    live directory, so that what it saw is what its key says.
    """
    clean = "/" + path.strip("/")
    op = Copy(items=(CopyPath(path, wildcard=False),), dest=clean)
    return Step(op, None, (source,), label or f"[context] {path}", stage, position)
