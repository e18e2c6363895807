"""Every error that pybuild raises on purpose, in one tree.

    PybuildError                    exit code
    ├── StepFailed                          1   a step of the build ended with a failure
    ├── NotHealthy                          1   a container is unhealthy, has ended, or is not healthy in time
    ├── UsageError                          2   the command line asks for something that is not there
    ├── BuildfileError                      3   a Buildfile or Buildfile.py is wrong
    │   ├── BuildfileSyntaxError            3   it does not parse
    │   └── ComposeError                    3   a compose file is wrong
    ├── SourceError                         4   something a build starts from cannot be had
    │   ├── ContextError                    4   a local file or directory
    │   ├── ImageNotFound                   4   an image that no one has
    │   ├── RegistryError                   4   a registry or other server that is down, refuses or misbehaves
    │   └── DigestMismatch                  4   bytes that are not what their name says
    ├── StoreError                          5   the local store
    │   ├── StoreCorrupt                    5   damaged contents
    │   └── DiskFull                        5   no space left
    ├── SandboxError                        6   this machine cannot run the step as asked
    │   └── CommandRefused           126, 127   a container's command is not executable, or not there
    ├── ExportError                         7   the result could not be written
    │   └── OutputLost                      7   what a container wrote could not be
    ├── SizeExceeded                        8   an image is larger than the command line allows
    └── SecretLeaked                       10   a value of a secret is in what the build makes

Only `cli/` turns one of these into a message and an exit code; everything
below raises. An error says *what* in `message` (one sentence, no full stop),
*where* in `at`, shows the source line in `excerpt`, and says what to do in
`hint`.
"""

from __future__ import annotations


class PybuildError(Exception):
    """Base of all expected failures.

    `at` is anything whose `str()` is a place a person can go to: a
    `source_map.Position`, a path, a URL. `excerpt` is one or more ready-made
    lines (source line and caret). `notes` are further lines of detail.
    `layer` is the layer whose files could not be had, where that is what went wrong.
    """

    exit_code = 1
    layer = ""

    def __init__(
        self,
        message: str,
        *,
        at: object = None,
        excerpt: str = "",
        hint: str = "",
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.excerpt = excerpt
        self.hint = hint
        self.notes = notes

    def place(self, position: object) -> None:
        """Let `at` be the place in a Buildfile that asked for it; where it happened becomes a note."""
        if position is None:
            return
        if self.at is not None and not hasattr(self.at, "line"):
            self.notes = (f"at {self.at}", *self.notes)
        self.at = position

    def __str__(self) -> str:
        return f"{self.at}: {self.message}" if self.at is not None else self.message


class StepFailed(PybuildError):
    """A step's command ended with a non-zero status; `code` is 128+n for signal n, 124 for a time that was over.

    `reason` says why in a few words, where it is not the command's own doing.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        code: int = 1,
        step_id: str = "",
        tail: tuple[str, ...] = (),
        reason: str = "",
        **rest: object,
    ) -> None:
        super().__init__(message, **rest)  # type: ignore[arg-type]
        self.code = code
        self.step_id = step_id
        self.tail = tail
        self.reason = reason


class NotHealthy(PybuildError):
    """What is waited for is not to come: a container is unhealthy, has ended, or is not healthy in time."""


class UsageError(PybuildError):
    exit_code = 2


class BuildfileError(PybuildError):
    exit_code = 3


class BuildfileSyntaxError(BuildfileError):
    pass


class ComposeError(BuildfileError):
    pass


class SourceError(PybuildError):
    exit_code = 4


class ContextError(SourceError):
    pass


class ImageNotFound(SourceError):
    pass


class RegistryError(SourceError):
    pass


class DigestMismatch(SourceError):
    pass


class StoreError(PybuildError):
    exit_code = 5


class StoreCorrupt(StoreError):
    pass


class DiskFull(StoreError):
    pass


class SandboxError(PybuildError):
    exit_code = 6


class CommandRefused(SandboxError):
    """A container's command cannot be executed; `code` is what a shell ends with there, 126 or 127."""

    exit_code = 127

    def __init__(self, command: str, code: int, why: str) -> None:
        super().__init__(f"`{command}` cannot be started: {why}")
        self.exit_code = code


class ExportError(PybuildError):
    exit_code = 7


class OutputLost(ExportError):
    """What a container wrote could not be written on; its command's own exit `code` is this one's, if that is not 0."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.exit_code = code or self.exit_code


class SizeExceeded(PybuildError):
    exit_code = 8


class SecretLeaked(PybuildError):
    exit_code = 10
