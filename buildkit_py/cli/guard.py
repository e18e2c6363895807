"""The guard around every command: each way that it can end becomes a message and an exit code.

an expected failure     its message, place, excerpt and hint; the code of its class (errors.py)
Ctrl-C, TERM, HUP       what is running is ended and cleaned up; 128 + the signal's number
closed standard output  nothing more is said; 141, as if SIGPIPE had ended it
anything else           a bug: one line and the path of a crash report; 70 (EX_SOFTWARE of sysexits.h)
"""

from __future__ import annotations

import errno
import os
import sys

from buildkit_py.errors import ExportError, PybuildError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn
else:
    import _signal  # `signal` is this and enums, which take 3 ms to make

INTERNAL_ERROR = 70
# Everything that writes to the store or exports names its own full disk; what is left is standard output.
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ENDING = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)
_BROKEN_PIPE = 128 + int(_signal.SIGPIPE)


class Ended(BaseException):
    """A signal asked the process to end. Not an `Exception`: nothing on the way up may take it for a failure."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class Reported(Exception):
    """A failure that was shown already; only its exit code is left to give."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def guarded(command: Callable[[list[str]], int], argv: list[str]) -> int:
    """Run a command; its exit code, or the one that what it raised stands for. Raises nothing."""
    try:
        for signum in _ENDING:
            # `nohup pybuild …` has HUP ignored, a job in the background INT, and that is to stay so.
            if _signal.getsignal(signum) in (_signal.SIG_DFL, _signal.default_int_handler):
                _signal.signal(signum, _end)
        code = _outcome(command, argv)
    except (KeyboardInterrupt, Ended) as ended:  # also before the command, and while an error is shown
        code = 128 + (ended.signum if isinstance(ended, Ended) else _signal.SIGINT)
    # Nothing is left to be ended, so nothing may change the code any more.
    _ignore()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _BROKEN_PIPE
    except OSError as problem:  # a full disk below `> file` shows only here
        code = _unwritten(problem)
    if code == _BROKEN_PIPE:
        _silence(1, 2)
    return code


def leave(code: int) -> NoReturn:
    """End the process without taking the interpreter apart first, which takes 3 ms that nobody has any use for.

    What is to be given back was, by the context managers that held it and here by what is registered for the exit.
    """
    import atexit

    atexit._run_exitfuncs()
    try:
        sys.stderr.flush()
    except OSError:
        pass  # there is nobody left to tell
    os._exit(code)


def _outcome(command: Callable[[list[str]], int], argv: list[str]) -> int:
    from buildkit_py.cli.options import HelpWanted

    try:
        return command(argv)
    except HelpWanted as wanted:
        from buildkit_py.cli.help import render

        try:
            sys.stdout.write(render(wanted.command))
        except BrokenPipeError:
            return _BROKEN_PIPE
        return 0
    except Reported as reported:
        return reported.code
    except PybuildError as error:
        return say(error)
    except BrokenPipeError:
        return _BROKEN_PIPE
    except Exception as bug:
        if isinstance(bug, OSError) and bug.errno in _FULL:
            return _unwritten(bug)
        return _crash(bug, argv)


def _end(signum: int, _frame: FrameType | None) -> None:
    # A second one while everything is being cleaned up must not break that off half-way. QUIT (Ctrl-\) still does.
    _ignore()
    if signum == _signal.SIGINT:
        raise KeyboardInterrupt
    raise Ended(signum)


def _ignore() -> None:
    # Not SIG_IGN: Python would complain about those that have come and were not handled yet.
    for signum in _ENDING:
        _signal.signal(signum, lambda *_: None)


def say(error: PybuildError) -> int:
    """Show an error on standard error; the exit code of its class."""
    from buildkit_py.report.message import error_text

    try:
        sys.stderr.write(error_text(error, sys.stderr))
        sys.stderr.flush()
    except BrokenPipeError:
        return _BROKEN_PIPE
    except OSError:  # a full disk, a terminal that was closed: the code still tells
        _silence(2)
    return error.exit_code


def _unwritten(problem: OSError) -> int:
    code = say(ExportError(f"the output could not be written: {problem.strerror}"))
    _silence(1)
    return code


def _crash(bug: Exception, argv: list[str]) -> int:
    import tempfile
    import traceback

    lines = [f"pybuild {' '.join(argv)}\n", f"Python {sys.version}\n\n", *traceback.format_exception(bug)]
    where = "it could not be written down anywhere"
    try:
        fd, path = tempfile.mkstemp(prefix="pybuild-crash-", suffix=".txt")
        with open(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(lines)
        where = f"the report for its authors is in {path}"
    except OSError:
        pass  # no place to write is no reason to hide the first failure
    from buildkit_py.report.escape import visible

    summary = visible(f"{type(bug).__name__}: {bug}".split("\n", 1)[0])
    try:
        sys.stderr.write(f"error: internal error in pybuild: {summary}\n\nhint: this is a bug; {where}\n")
    except BrokenPipeError:
        return _BROKEN_PIPE
    except OSError:
        _silence(2)
    return INTERNAL_ERROR


def _silence(*fds: int) -> None:
    """Point standard streams nowhere, so that the interpreter's last flush has nothing to complain about."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for fd in fds:
        os.dup2(nowhere, fd)
    os.close(nowhere)
