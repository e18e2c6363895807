"""Notices of a command that shows no progress: on standard error, as they come."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.events import Event


def say(event: Event) -> None:
    """Show a notice; nothing of other events."""
    from buildkit_py.events import Notice
    from buildkit_py.report.message import notice_text

    if isinstance(event, Notice):
        sys.stderr.write(notice_text(event, sys.stderr))
