"""Broken projects and the exact message that each of them gets, one file a case below tests/golden/messages.

    ==== Dockerfile              a file of the project, as many as it has
    FROM scratch as 1
    ==== $ pybuild build .       the command line, then what it says on standard error, and its exit code
    error: …
    ==== 3

`python -m tests.golden.message_cases [NAME…]` records what is said now; read every line that changed as someone would
who sees it for the first time.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.cli.process import pybuild

DIRECTORY = Path(__file__).parent / "messages"
_MARK = "==== "


@dataclass(frozen=True)
class Case:
    """`files` are path and text in the order of the file."""

    name: str
    files: tuple[tuple[str, str], ...]
    command: str
    said: str
    code: int

    def text(self) -> str:
        """The case as its file has it."""
        parts = [f"{_MARK}{path}\n{text}" for path, text in self.files]
        return "".join([*parts, f"{_MARK}$ {self.command}\n{self.said}", f"{_MARK}{self.code}\n"])

    def run(self, directory: Path) -> Case:
        """The case with what is said now. Only our own lines count: a traceback of a Buildfile.py is Python's."""
        for path, text in self.files:
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_text(text)
        done = pybuild(directory, *shlex.split(self.command)[1:], BUILDKIT_PROGRESS="quiet")
        return Case(
            self.name, self.files, self.command, done.stderr.replace(str(directory), "/project"), done.returncode
        )


def read(path: Path) -> Case:
    """The case in a file."""
    files: list[tuple[str, str]] = []
    command, said, code = "", "", 0
    for part in ("\n" + path.read_text()).split("\n" + _MARK)[1:]:
        head, _, body = part.partition("\n")
        # The newline before a mark belongs to the text above it.
        body = body + "\n" if body and not body.endswith("\n") else body
        if head.startswith("$ "):
            command, said = head[2:], body
        elif head.isdigit():
            code = int(head)
        else:
            files.append((head, body))
    return Case(path.stem, tuple(files), command, said, code)


def cases() -> list[Case]:
    """All of them, by name."""
    return [read(path) for path in sorted(DIRECTORY.glob("*.txt"))]


def main(names: list[str]) -> int:
    """Record anew those named, or all."""
    for case in cases():
        if not names or case.name in names:
            with tempfile.TemporaryDirectory() as directory:
                (DIRECTORY / f"{case.name}.txt").write_text(case.run(Path(directory)).text())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
