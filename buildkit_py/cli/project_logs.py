"""The logs of a project's containers on standard output and error, each line behind its service's name."""

from __future__ import annotations

import sys
import time

from buildkit_py.report.prefixed import Prefixed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from buildkit_py.api.project import Member
    from buildkit_py.runner.container_log import Line, LogReader

_LOOKS = 0.1
_PAUSE = 3.0  # between a container's end and the start of the one that takes its place


class ProjectLogs:
    """Shows what the containers of some services write, as it comes. With `hold` they wait where they are faster."""

    def __init__(self, services: Sequence[str], *, timestamps: bool = False, hold: bool = False) -> None:
        self._hold = hold
        self._prefixed = Prefixed(services)
        self._timestamps = timestamps
        self._readers: dict[str, tuple[str, LogReader]] = {}
        # What goes on, since its newline has not come: a line of a service is shown in one piece.
        self._parts: dict[tuple[str, int], bytes] = {}

    def add(self, member: Member, directory: str, tail: int = -1) -> None:
        """Show a container's log from here on, with its last `tail` lines, all of them below 0.

        One that it has replaced says nothing any more.
        """
        if member.id not in self._readers:
            from buildkit_py.runner.container_log import LogReader

            for id in [id for id, (service, _) in self._readers.items() if service == member.service]:
                _, gone = self._readers.pop(id)
                self._show(member.service, gone.more())
                gone.close()
            reader = LogReader(directory, hold=self._hold)
            self._readers[member.id] = (member.service, reader)
            self._show(member.service, reader.first(tail))

    def show(self) -> None:
        """Show what has come. Raises `BrokenPipeError` where nobody reads any more."""
        try:
            for service, reader in self._readers.values():
                self._show(service, reader.more())
            sys.stdout.flush()
        except OSError:
            for _, reader in self._readers.values():
                reader.close()  # what nobody reads holds no container
            self._readers.clear()
            raise

    def close(self) -> None:
        """Show what no newline ended."""
        for (service, stream), data in list(self._parts.items()):
            self._write(service, stream, data)
        self._parts.clear()
        for _, reader in self._readers.values():
            reader.close()
        sys.stdout.flush()

    def _show(self, service: str, lines: Iterable[Line]) -> None:
        for one in lines:
            data = self._parts.pop((service, one.stream), b"") + one.data
            if self._timestamps and not data.startswith(one.time.encode()):
                data = f"{one.time} ".encode() + data
            if data.endswith(b"\n"):
                self._write(service, one.stream, data[:-1])
            else:
                self._parts[service, one.stream] = data

    def _write(self, service: str, stream: int, data: bytes) -> None:
        self._prefixed.write(service, data.decode("utf-8", "replace"), sys.stdout if stream == 1 else sys.stderr)


def show_logs(project: str, services: Sequence[str], *, tail: int, follow: bool, timestamps: bool) -> None:
    """Show the logs of containers of a project, of all where no services are named. Raises `UsageError`.

    With `follow` until none of them has run for a while: one that is replaced or started again goes on, and what comes
    to the project is among them.
    """
    from buildkit_py.api.containers import directory, is_alive
    from buildkit_py.api.project import chosen, members

    found = chosen(project, services)
    logs = ProjectLogs([one.service for one in found], timestamps=timestamps)
    try:
        for one in found:
            logs.add(one, directory(one.id), tail)
        seen = time.monotonic() - _PAUSE  # where none runs when it begins, nothing is waited for
        while follow:
            found = tuple([one for one in members(project) if not services or one.service in services])
            if any(is_alive(one.id) for one in found):
                seen = time.monotonic()
            for one in found:
                logs.add(one, directory(one.id))
            logs.show()
            if time.monotonic() - seen >= _PAUSE:
                break
            time.sleep(_LOOKS)
    finally:
        logs.close()
