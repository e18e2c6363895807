"""A job: one build or one run of `pybuild watch`, in a process that ends when it is asked to."""

from __future__ import annotations

import marshal
import os
import subprocess
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Without the working directory on the path of modules: it belongs to a project. This package may be nowhere else on it.
_CODE = "import sys; sys.path.append({root!r}); from buildkit_py.cli.watched import main; main()"
# A run kills a command that left two requests to end unanswered at the third. Two that come at once may be heard as
# one, so they are repeated. What a process leaves that had to be killed itself is removed by the next command.
_BETWEEN = 0.05
_LAST = 100


class Job:
    """`kind` is what `watched.main` does with `given`. `code` is how it ended, 128+n for signal n; None before."""

    def __init__(self, kind: str, given: tuple[Any, ...]) -> None:
        self.code: int | None = None
        self._asked = False
        self._answer = os.memfd_create("pybuild-answer", os.MFD_CLOEXEC)
        source = os.memfd_create("pybuild-given", os.MFD_CLOEXEC)
        try:
            os.write(source, marshal.dumps(given))
            os.lseek(source, 0, os.SEEK_SET)
            root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _CODE.format(root=root), kind, str(source), str(self._answer)],
                stdin=subprocess.DEVNULL,
                pass_fds=(source, self._answer),
            )
        finally:
            os.close(source)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        if self.code is None:
            self._note(self._process.poll())
        return self.code is not None

    def answer(self) -> tuple[Any, ...] | None:
        """What it answered; None where it ended before. To be called once, when it is over."""
        size = os.fstat(self._answer).st_size
        data = os.pread(self._answer, size, 0)
        os.close(self._answer)
        self._answer = -1
        if not data:
            return None
        answer: tuple[Any, ...] = marshal.loads(data)
        return answer

    def ask(self) -> None:
        """Ask it to end."""
        if not self.over:
            self._asked = True
            self._process.terminate()

    def end(self, patience: float) -> None:
        """Ask it to end, and see to it that it has after so many seconds; it puts its things away in any case."""
        if not self._asked:
            self.ask()
        left = _LAST
        while not self._ended_within(patience):
            patience = _BETWEEN
            left -= 1
            if left:
                self.ask()
            else:
                self._process.kill()
        if self._answer >= 0:
            os.close(self._answer)
            self._answer = -1

    def _ended_within(self, seconds: float) -> bool:
        if not self.over:
            try:
                self._note(self._process.wait(seconds))
            except subprocess.TimeoutExpired:
                return False
        return True

    def _note(self, status: int | None) -> None:
        if status is not None:
            self.code = status if status >= 0 else 128 - status
