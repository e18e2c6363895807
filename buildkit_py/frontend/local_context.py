"""Local directories that steps copy from: which ignore file counts, and sealed snapshots of single paths."""

from __future__ import annotations

import os

from buildkit_py.errors import BuildfileError, ContextError
from buildkit_py.graph.op import Copy, CopyPath, LocalSource
from buildkit_py.graph.step import Step
from buildkit_py.patterns import IgnoreRules, read_ignore
from buildkit_py.source_map import Position
from buildkit_py.whole_file import read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.target import Inputs


def context_step(
    name: str,
    root: str,
    inputs: Inputs,
    *,
    buildfile: str = "",
    extra: tuple[str, ...] = (),
    normalize: bool = False,
    position: Position | None = None,
) -> Step:
    """The step for a directory, seen through its ignore file and then the `extra` patterns.

    `<buildfile>.dockerignore` next to the Buildfile replaces `.dockerignore`
    of the root, even when it is empty. Both look-ups are inputs of the build:
    a file that appears later must be noticed. With `normalize` what git tracks
    of the directory has git's modes. Raises `ContextError` where
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
            data = read_whole(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as problem:
            raise ContextError(f"cannot read the ignore file: {problem.strerror}", at=path) from problem
        patterns = read_ignore(data)
        _check_file(patterns, data, path)
        break
    _check(extra, position)
    tree = None
    if normalize:
        from buildkit_py.frontend.work_tree import work_tree

        tree = work_tree(root, inputs)
    return Step(LocalSource(name, root, patterns + extra, tree), name=f"[{name}] {root}", position=position)


def _check(patterns: tuple[str, ...], at: object) -> None:
    if not patterns:
        return
    try:
        IgnoreRules(patterns)
    except ValueError as problem:
        what = str(problem) if isinstance(at, str) else f"`ignore` of the context: {problem}"
        raise BuildfileError(what, at=at) from problem


def _check_file(patterns: tuple[str, ...], data: bytes, path: str) -> None:
    """Raise for a bad pattern of an ignore file, at its line."""
    try:
        _check(patterns, path)
    except BuildfileError as problem:
        for number, line in enumerate(data.split(b"\n"), 1):
            try:
                _check(read_ignore(line), path)
            except BuildfileError:
                near = os.path.relpath(path)
                problem.at = Position(path if near.startswith("..") else near, number)
                raise problem from None
        raise


def sealed(source: Step, path: str, *, label: str = "", stage: str = "", position: Position | None = None) -> Step:
    """A filesystem that holds one path of a context at its own place.

    A step that mounts files of a context sees this snapshot and never the
    live directory, so that what it saw is what its key says.
    """
    clean = "/" + path.strip("/")
    op = Copy(items=(CopyPath(path, wildcard=False),), dest=clean)
    return Step(op, None, (source,), label or f"[context] {path}", stage, position)
