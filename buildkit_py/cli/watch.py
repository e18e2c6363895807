"""`pybuild watch`: builds again whenever an input of the targets changes, and restarts a run of the result."""

from __future__ import annotations

import os
import signal
import sys

from buildkit_py.cli.listener import Listener, library
from buildkit_py.cli.options import Command, Option, Parsed, parse
from buildkit_py.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from buildkit_py.cli.job import Job
    from buildkit_py.runner.memo import Runnable
    from buildkit_py.runner.request import RunRequest

# How long a command may take to end before it is killed: when another run takes its place, and after Ctrl-C.
_GRACE, _SHORT_GRACE = 2.0, 0.3
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Of `pybuild build`, all but what would do the same work anew each time, what builds nothing or opens a shell, and
# what is there for its exit code.
_BUILD = frozenset(
    (
        *("file", "tag", "target", "build-arg", "build-context", "secret", "no-secret-scan", "ssh", "output"),
        *("iidfile", "metadata-file", "label", "platform", "locked", "offline", "cache-from", "cache-max", "normalize"),
        *("network", "allow", "add-host", "jobs", "keep-going", "compression", "reproducible", "progress", "quiet"),
    )
)
# Of `pybuild run`; `--network` and `--add-host` are for both.
_RUN = frozenset(("env", "env-file", "volume", "workdir", "user", "entrypoint", "read-only", "hostname"))


def parser() -> Command:
    """The command's table."""
    from buildkit_py.cli import build, run

    return Command(
        "watch",
        "build again whenever an input changes, and restart a run of the result",
        (
            "pybuild watch [options] FILE|DIRECTORY [TARGET…] [--parameter=value…]",
            "pybuild watch [options] FILE|DIRECTORY [TARGET] [--parameter=value…] -- [COMMAND [ARGUMENT…]]",
        ),
        (
            *(option for option in build.parser().options if option.key in _BUILD),
            Option(("--run",), "run the result after each build, as `--` does: the image's own command"),
            *(option for option in run.parser().options if option.key in _RUN and option.key not in _BUILD),
        ),
        about=(
            "Inputs are the files that the steps of the targets take, the Buildfile and what it includes or reads, "
            "ignore files, pybuild.lock and the configuration; what the build itself writes is none. A build that is "
            "under way when one changes is ended and begun anew; what its steps finished is cached. With `--run`, or "
            "with a COMMAND behind `--`, the result is run as by `pybuild run`, and again when a build has another "
            "result. Ctrl-C ends everything."
        ),
        examples=(
            ("pybuild watch -t shop:dev .", "keep an image up to date"),
            ("pybuild watch . web --run -e DEBUG=1", "restart a server when its sources change"),
            ("pybuild watch . test -- pytest -q", "run the tests again"),
        ),
        least=1,
        most=-1,
        parameters=True,
        operands="file",
    )


def main(argv: list[str]) -> int:
    """Watch until a signal comes; or the code of the first build, where that came to nothing that can be watched."""
    from buildkit_py.cli.locate import here, is_remote, locate
    from buildkit_py.cli.progress import kind_of
    from buildkit_py.cli.run import run_request

    at = argv.index("--") if "--" in argv else len(argv)
    ours, command = argv[:at], argv[at + 1 :]
    parsed = parse(parser(), ours)
    library("watch")
    cwd = here()
    file, context = locate(parsed.operands[0], parsed.one("file"), cwd)
    if is_remote(context) or file == "-":
        raise UsageError("only files of this machine can be watched", hint="name a directory or a Buildfile here")
    request: RunRequest | None = None
    if parsed.has("run") or at < len(argv):
        if len(parsed.operands) > 2:
            raise UsageError("only one target can be run", hint="name one, or leave `--run` out")
        request = run_request(_of_run(parsed, command), os.environ, cwd)
    Watch(ours, request, kind_of(parsed), cwd).watch()


def _of_run(parsed: Parsed, command: list[str]) -> Parsed:
    """The part of a command line that `pybuild run` would have been given."""
    run = Parsed()
    run.given = {key: values for key, values in parsed.given.items() if key in _RUN | {"network", "add-host"}}
    if parsed.one("network") == "default":
        del run.given["network"]
    run.operands = [" ".join(parsed.operands), *command]
    return run


class Watch:
    """`argv` is the command line of the builds, `request` the run of their result, None for none. Paths are shown from
    `cwd`, which may be removed.

    Two jobs at most: a look or a build, and a run of the last result that there was.
    """

    def __init__(self, argv: list[str], request: RunRequest | None, kind: str, cwd: str) -> None:
        self._argv = argv
        self._request = request
        self._cwd = cwd
        # A line now and then needs no drawing.
        self._kind = kind if kind in ("json", "quiet") else "plain"
        self._signal = 0
        self._listener = Listener("watch")
        self._building: Job | None = None
        self._running: Job | None = None
        self._run_of: Runnable | None = None

    def watch(self) -> NoReturn:
        """Go on until a signal comes, which is raised as what `guard` knows, or nothing can be watched: `Reported`."""
        for number in _ENDING:
            # `nohup pybuild …` has HUP ignored, a job in the background INT, and that is to stay so.
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._note)
        try:
            self._look_first()
            self._build()
            while True:
                heard = self._listener.wait(self)
                self._end_if_asked()
                if self._running is not None and self._running.over:
                    self._say(f"the command ended with exit code {self._running.code}")
                    self._running.end(0)
                    self._running = None
                if self._building is not None and self._building.over:
                    self._take(self._building)
                elif heard:
                    self._look()
        finally:
            self._end_all()

    def is_set(self) -> bool:
        """Whether there is something else to do than to wait for changes; watchfiles asks."""
        return self._signal != 0 or any(job is not None and job.over for job in (self._building, self._running))

    def _note(self, number: int, _frame: object) -> None:
        self._signal = self._signal or number

    def _end_if_asked(self) -> None:
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self._signal:
            from buildkit_py.cli.guard import Ended

            raise Ended(self._signal)

    def _end_all(self) -> None:
        jobs = [job for job in (self._building, self._running) if job is not None]
        for job in jobs:
            job.ask()
        for job in jobs:
            job.end(_SHORT_GRACE)
        self._listener.close()

    # -- building

    def _look_first(self) -> None:
        """Learn the inputs before the first build, so that it is ended when one changes, as every other one is."""
        from buildkit_py.cli.job import Job
        from buildkit_py.freeze import thaw

        self._building = Job("look", tuple(self._argv))
        self._listener.wait(self)
        self._end_if_asked()
        frozen = self._building.answer()
        self._building.end(0)
        self._building = None
        inputs = thaw(frozen).inputs if frozen is not None else None
        if inputs is not None:
            self._listener.listen(inputs)

    def _build(self, changed: str = "") -> None:
        from buildkit_py.cli.job import Job

        if changed:
            self._say(f"{os.path.relpath(changed, self._cwd)} changed")
        self._building = Job("build", tuple(self._argv))

    def _take(self, build: Job) -> None:
        """A build ended: what can be watched now, and run."""
        from buildkit_py.cli.guard import Reported
        from buildkit_py.cli.watched import Answer
        from buildkit_py.freeze import thaw

        frozen = build.answer()
        code, self._building = build.code or 0, None
        answer: Answer = thaw(frozen) if frozen is not None else Answer(False)
        inputs = answer.inputs or self._listener.seen
        if inputs is None:
            raise Reported(code)  # it said why
        changed = self._listener.after(inputs, ok=answer.ok)
        if changed:
            self._build(changed)
            return
        if answer.ok and self._request is not None:
            self._rerun(answer.built)
        self._say("waiting for changes; Ctrl-C ends this")

    def _look(self) -> None:
        """Look at all inputs, and build if one changed since the build under way, or the last one, began."""
        changed = self._listener.look()
        if not changed:
            return
        if self._building is not None:
            self._building.end(_GRACE)
        self._build(changed)

    # -- running

    def _rerun(self, built: Runnable | None) -> None:
        from buildkit_py.cli.job import Job
        from buildkit_py.freeze import freeze

        if built is None:
            raise UsageError("only one target can be run", hint="name one behind the Buildfile")
        if built == self._run_of:
            return
        if self._running is not None:
            self._running.end(_GRACE)
        self._run_of = built
        self._running = Job("run", freeze((self._request, built)))

    def _say(self, text: str) -> None:
        from buildkit_py.cli.progress import shown
        from buildkit_py.events import Notice

        sys.stdout.flush()
        shown(self._kind, lambda emit: emit(Notice("info", text)))
