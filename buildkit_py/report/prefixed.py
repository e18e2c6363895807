"""Lines of several services on one stream: each behind its service's name, in a colour of its own."""

from __future__ import annotations

from buildkit_py.report import color
from buildkit_py.report.escape import line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

# Those that are read on black and on white.
_COLORS = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")


class Prefixed:
    """Writes lines of the services that are named."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = tuple(services)
        self._width = max([len(one) for one in services], default=0)

    def write(self, service: str, text: str, stream: TextIO) -> None:
        """A line of a service, without its newline. Raises `BrokenPipeError` where nobody reads any more."""
        prefix = f"{service:<{self._width}} |"
        if color.wanted(stream):
            number = self._services.index(service) if service in self._services else 0
            prefix = f"\x1b[{_COLORS[number % len(_COLORS)]}m{prefix}\x1b[0m"
        stream.write(f"{prefix} {line(text)}\n")
