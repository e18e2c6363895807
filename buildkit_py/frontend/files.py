"""The Buildfiles of one build: the one that was named, those that it includes, and those whose targets it takes.

Each is read once, and known by the name that places in it have, so that an
error in any of them shows its line.
"""

from __future__ import annotations

import os

from buildkit_py.errors import BuildfileError
from buildkit_py.source_map import Position, caret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.errors import PybuildError
    from buildkit_py.frontend.buildfile.syntax import Buildfile
    from buildkit_py.frontend.target import Inputs

# The first of these that a directory has is its Buildfile.
NAMES = ("Buildfile.py", "Buildfile", "Dockerfile", "dockerfile")


class Files:
    """`inputs` hears of each file that is read or looked for; `cache_dir` keeps their trees, "" for nowhere."""

    def __init__(self, inputs: Inputs, cache_dir: str = "") -> None:
        self.inputs = inputs
        self.cache_dir = cache_dir
        # By name: the absolute path ("" for a text that is no file here), the directory that it stays in, the text.
        self._known: dict[str, tuple[str, str, bytes]] = {}
        self._trees: dict[str, Buildfile] = {}
        self._included: dict[str, Buildfile] = {}

    def add(self, name: str, path: str, root: str, text: bytes = b"") -> None:
        """Take note of a file. What it includes has to be below `root`, or beside it where it is elsewhere itself."""
        inside = root and os.path.realpath(path).startswith(os.path.realpath(root).rstrip("/") + "/")
        self._known.setdefault(name, (path, root if inside else os.path.dirname(path), text))

    def include(self, word: str, at: Position) -> Buildfile:
        """The tree of the file that INCLUDE names at a place; places in it tell of the first INCLUDE, too.

        Raises `BuildfileError`.
        """
        path, name = self.beside(word, at)
        root = self._known[at.file][1]
        if not os.path.realpath(path).startswith(os.path.realpath(root).rstrip("/") + "/"):
            raise BuildfileError(f"`{word}` is outside of the build context", at=at, hint="INCLUDE stays in it")
        self.add(name, path, root)
        tree = self.tree(path, name, at)
        if path not in self._included:
            from buildkit_py.frontend.buildfile.functions import led

            self._included[path] = tree.replace(instructions=led(tree.instructions, "", (at,)))
        return self._included[path]

    def beside(self, word: str, at: Position) -> tuple[str, str]:
        """The path, and the name for people, of what a word names relative to the file that `at` is in.

        Raises `BuildfileError` where that file is none of this machine, or the word is no relative path.
        """
        if "://" in word or word.startswith("/"):
            raise BuildfileError(f"`{word}` is no path relative to this file", at=at)
        own = self._known.get(at.file, ("", "", b""))[0]
        if not own:
            raise BuildfileError(
                f"there is nothing that `{word}` could be relative to, since this file is none of this machine's",
                at=at,
                hint="check the context out and build that",
            )
        name = os.path.normpath(os.path.join(os.path.dirname(at.file), word))
        return os.path.normpath(os.path.join(os.path.dirname(own), word)), name

    def tree(self, path: str, name: str, at: Position) -> Buildfile:
        """The tree of a file that is named at a place. Raises `BuildfileError`."""
        if path not in self._trees:
            from buildkit_py.frontend.buildfile.parse import parse_file

            self.inputs.file(path)
            if not os.path.isfile(path):
                what = "is a directory" if os.path.isdir(path) else "does not exist"
                raise BuildfileError(f"the file `{name}` {what}", at=at)
            try:
                self._trees[path] = parse_file(path, name=name, cache_dir=self.cache_dir)
            except BuildfileError as problem:
                problem.at = self.led_from(problem.at, at)
                raise
        return self._trees[path]

    def led_from(self, place: object, at: Position) -> object:
        """The place of an error, and that its file was named at another one."""
        if isinstance(place, Position) and place.file != at.file and at not in place.via:
            return place.replace(via=(*place.via, at))
        return place if isinstance(place, Position) else at

    def show(self, problem: PybuildError) -> None:
        """Give an error that points into one of the files the source line, with a caret below its place."""
        at = problem.at
        if problem.excerpt or not isinstance(at, Position) or at.file not in self._known:
            return
        path, _, source = self._known[at.file]
        show_line(problem, at.file, path, source)


def show_line(problem: PybuildError, name: str, path: str, source: bytes = b"") -> None:
    """Give an error that points into the Buildfile of that name the source line, with a caret below its place.

    `source` is the file's text, if it is not to be read at `path`.
    """
    at = problem.at
    if problem.excerpt or not (path or source) or not isinstance(at, Position) or at.file != name:
        return
    try:
        if not source:
            with open(path, "rb") as opened:
                source = opened.read()
        text = source.decode("utf-8", "replace").split("\n")[at.line - 1].rstrip("\r")
    except (OSError, IndexError):
        return
    word = text[at.column - 1 :].split(" ", 1)[0]
    problem.excerpt = caret(text, at.column, len(word))
