"""A project in the foreground: what its services write is shown, and they end with it.

The first Ctrl-C, TERM or HUP ends them, what others depend on last; the second one kills what is left.
"""

from __future__ import annotations

import signal
import time

from buildkit_py.cli.guard import Reported
from buildkit_py.cli.project import tell
from buildkit_py.cli.project_logs import ProjectLogs
from buildkit_py.errors import PybuildError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit_py.api.project import Ending, Member
    from buildkit_py.cli.project_watch import ProjectWatch
    from buildkit_py.frontend.compose.project import Project

_LOOKS = 0.05
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stopped(Exception):
    """Somebody wants an end."""


class Attached:
    """Some services of a project, looked after until they have ended; all end when `code_from` does, "" for none.

    With a `watch` they are replaced when something changes, and nothing but a signal ends it all; services that come
    to the project are among them then, unless they are `fixed`. `seconds` is what each has to end in, below 0: as many
    as it says itself.
    """

    def __init__(
        self,
        project: Project,
        names: Sequence[str],
        code_from: str = "",
        watch: ProjectWatch | None = None,
        *,
        fixed: bool = True,
        seconds: float = -1.0,
    ) -> None:
        self._project = project
        self._seconds = seconds
        self._names = tuple(names)
        self._code_from = code_from
        self._watch = watch
        self._signals: list[int] = []
        quiet = {one.name for one in project.services if not one.attach}
        self._quiet = quiet
        self._fixed = fixed or watch is None
        self._logs = ProjectLogs([name for name in names if name not in quiet], hold=True)
        # The ends that were told, each a container and when it ended.
        self._told: set[tuple[str, float]] = set()
        # Containers that ran before and are not to be ended with what this has started.
        self._left_alone: set[str] = set()

    def run(self, bring: Callable[[Callable[[], None]], None]) -> int:
        """Start them by `bring`, which calls what it is given while it waits; the exit code of it all.

        Where that fails what it has started is ended, as by a signal, and its error is raised.
        """
        self._listen()
        for one in self._members():  # what was before was seen before
            self._follow(one, tail=0)
            self._told.add((one.id, one.state.finished))
        try:
            self._bring(bring)
            return self._until_the_end()
        except _Stopped:
            return 128 + self._signals[0]
        finally:
            # In any case: nothing that it has started outlives it, and nothing at all once all were up.
            self._end()
            self._logs.close()

    def _bring(self, bring: Callable[[Callable[[], None]], None]) -> None:
        before = [one.id for one in self._members() if one.running]
        try:
            bring(self.tick)
        except (PybuildError, Reported):
            self._left_alone.update(before)
            raise

    def _listen(self) -> None:
        for number in _ENDING:
            # `nohup pybuild …` has HUP ignored, a job in the background INT, and that is to stay so.
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda number, _: self._signals.append(number))

    def tick(self) -> None:
        """Show what has come. Raises where somebody wants an end."""
        self._show()
        if self._signals:
            raise _Stopped

    def _members(self) -> list[Member]:
        from buildkit_py.api.project import members

        return [one for one in members(self._project.name) if not self._fixed or one.service in self._names]

    def _show(self) -> list[Member]:
        found = self._members()
        for one in found:
            self._follow(one)
        self._logs.show()
        return found

    def _follow(self, member: Member, tail: int = -1) -> None:
        from buildkit_py.api.containers import directory

        if member.service not in self._quiet:
            self._logs.add(member, directory(member.id), tail)

    def _until_the_end(self) -> int:
        """Until all have ended, or the one that decides has."""
        while True:
            self.tick()
            found = self._members()
            for one in found:
                if not one.running and one.state.finished and (one.id, one.state.finished) not in self._told:
                    self._told.add((one.id, one.state.finished))
                    self._tell_end(one)
            deciding = next((one for one in found if one.service == self._code_from), None)
            if deciding is not None and not deciding.running:
                return deciding.state.code
            if self._watch is not None:
                self._watch.step(self, int(_LOOKS * 1000))
                continue
            if not any(one.running for one in found):
                return 0
            time.sleep(_LOOKS)

    def is_set(self) -> bool:
        """Whether somebody wants an end: then nothing else is waited for."""
        return bool(self._signals)

    def _tell_end(self, member: Member) -> None:
        self._logs.show()
        tell(member.service, f"ended ({member.state.problem or f'code {member.state.code}'})")

    def _end(self) -> None:
        from buildkit_py.api.project import Ending

        if self._watch is not None:
            self._watch.close()
        heard = 1  # what it takes to end them is one; what came before this counts as well
        wanted = [one for one in self._members() if one.id not in self._left_alone]
        ending = Ending(wanted, seconds=self._seconds, ended=lambda one: tell(one.service, "ended"))
        while True:
            ending.step()
            if ending.over:
                return self._show_while_ending()
            if len(self._signals) > heard:
                self._kill(ending)
                heard = len(self._signals)
            time.sleep(_LOOKS)
            self._show_while_ending()

    def _kill(self, ending: Ending) -> None:
        tell(self._project.name, "killing what is left")
        ending.kill()

    def _show_while_ending(self) -> None:
        try:
            self._logs.show()
        except BrokenPipeError:
            pass  # nobody reads any more, and they are ended all the same
