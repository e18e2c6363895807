"""A listener: hears what happens to the inputs of builds, and knows which of them are something else now."""

from __future__ import annotations

import os
import time

from buildkit_py.errors import ContextError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from buildkit_py.api.inputs import Inputs

    class Stop(Protocol):
        """Says when there is something else to do than to wait for changes; watchfiles asks."""

        def is_set(self) -> bool:
            """Whether there is."""

    class Notify(Protocol):
        """What is used of watchfiles' `RustNotify`."""

        def watch(
            self, debounce_ms: int, step_ms: int, timeout_ms: int, stop_event: Stop
        ) -> set[tuple[int, str]] | str:
            """Paths that something happened to, or why there are none."""

        def close(self) -> None:
            """Watch no more."""


# A change counts when nothing more has come for the first, or in any case after the second (milliseconds).
_QUIET, _AT_MOST = 50, 1600
_LOOKS = 0.05


def library(command: str) -> type:
    """What watches directories. Raises `UsageError` where it is not installed."""
    try:
        from watchfiles._rust_notify import RustNotify
    except ImportError as problem:
        raise UsageError(
            f"`pybuild {command}` needs the library watchfiles, which is not installed",
            hint="install it with `pip install watchfiles`, or pybuild with `pip install 'buildkit-py[watch]'`",
        ) from problem
    kind: type = RustNotify
    return kind


class Listener:
    """`seen` are the inputs as they were when they were looked at last, None before `listen`."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._notify: Notify | None = None
        self.seen: Inputs | None = None

    def listen(self, inputs: Inputs) -> Inputs:
        """Watch some inputs from now on; they as they are when that has begun. Raises `ContextError`, `UsageError`."""
        self.close()
        polling = os.environ.get("WATCHFILES_FORCE_POLLING", "").lower() not in ("", "false", "disable", "disabled")
        while True:
            directories = sorted(inputs.directories())
            try:
                self._notify = library(self._command)(directories, False, polling, 300, False, True)
                break
            except FileNotFoundError:
                continue  # a directory went away just now, and then the one above it is to be watched
            except (OSError, RuntimeError) as problem:  # where there is no instance of inotify, watchfiles' own error
                raise ContextError(
                    f"{len(directories)} directories cannot be watched: {problem}",
                    hint="the kernel's limits are the sysctls fs.inotify.max_user_watches and max_user_instances",
                ) from problem
        self.seen = inputs.again()
        return self.seen

    def after(self, inputs: Inputs, *, ok: bool) -> str:
        """Watch the inputs of a build that has ended; the path of one that has changed since it began, "" for none.

        One that came to nothing (not `ok`) may not have come to all contexts: then those of before count, too.
        """
        if self.seen is not None:
            inputs = inputs.replace(written=tuple({*inputs.written, *self.seen.written}))
            if not ok:
                inputs = inputs.with_contexts_of(self.seen)
        return next(inputs.changed(self.listen(inputs)), "")

    def wait(self, stop: Stop, milliseconds: int = 0) -> bool:
        """Wait until something happens to what may be an input, which is True, or `stop` is set, or the time is over.

        0 is any time. Raises `ContextError` where nothing can be watched any more.
        """
        if self._notify is None:
            while not stop.is_set():
                time.sleep(_LOOKS)
            return False
        try:
            found = self._notify.watch(_AT_MOST, _QUIET, milliseconds, stop)
        except RuntimeError as problem:  # as watchfiles' own error is: of polling, where it may not look any more
            raise ContextError(f"the inputs cannot be watched any more: {problem}") from problem
        return isinstance(found, set) and any(self._may_concern(path) for _, path in found)

    def look(self) -> str:
        """Look at all inputs; the path of one that has changed since the last look, "" for none."""
        assert self.seen is not None
        now = self.seen.again()
        changed = next(self.seen.changed(now), "")
        if changed:
            self.seen = now
        return changed

    def close(self) -> None:
        """Watch no more."""
        if self._notify is not None:
            self._notify.close()
            self._notify = None

    def _may_concern(self, path: str) -> bool:
        """Whether it is worth looking at everything when something happens to a path."""
        assert self.seen is not None
        if any(path == seen.directory or path.startswith(f"{seen.directory}/") for seen in self.seen.contexts):
            return True
        files = {place for name, _ in self.seen.files for place in (name, os.path.realpath(name))}
        if path in files or os.path.dirname(path) in files:  # a directory changes by what is in it
            return True
        return any(name.startswith(f"{path}/") for name in files)
