"""Why a sandbox could not be set up, in a form that crosses a socket: stage, errno, subject."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


NO_NETWORK = "an isolated network could not be made"
"""The stage of the `SetupFailure` for a sandbox that gets no network."""
NO_NAMESPACES = "make the sandbox's namespaces"
"""The stage where the kernel gives a sandbox no process or namespace."""
BECOME = "become the user"
GIVE = "give the file to"
"""Stages that fail for ids which are not mapped; the latter is followed by them."""


class SetupFailure(Exception):
    """`stage` is what was being done ("mount"), `errno` 0 if no system call failed, `subject` a path or detail."""

    def __init__(self, stage: str, errno: int = 0, subject: str = "") -> None:
        super().__init__(stage, errno, subject)
        self.stage = stage
        self.errno = errno
        self.subject = subject


class stage:
    """`with stage("mount", path):` turns an `OSError` inside into a `SetupFailure` that names it."""

    __slots__ = ("name", "subject")

    def __init__(self, name: str, subject: str | bytes = "") -> None:
        self.name = name
        self.subject = subject

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            subject = self.subject.decode("utf-8", "replace") if isinstance(self.subject, bytes) else self.subject
            raise SetupFailure(self.name, error.errno or 0, subject) from error
