"""Loading a Buildfile.py: run the named file and nothing else, and turn whatever it raises into an error with its line.

It is code with the rights of whoever builds. It runs in a module of its own
that is in `sys.modules` only meanwhile, where `dataclasses` and others look
for the module of a class, and its directory is not on `sys.path`, so that no
file of a context can be imported by its name. What it prints is no result.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, redirect_stdout
from types import ModuleType

from buildkit_py.errors import BuildfileError, BuildfileSyntaxError, PybuildError
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.python import session
from buildkit_py.frontend.python.position import function_name, register
from buildkit_py.frontend.python.target import TargetFunction
from buildkit_py.frontend.python.watch import Watch
from buildkit_py.source_map import Position, caret
from buildkit_py.whole_file import read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType
    from typing import Any

    from buildkit_py.frontend.python.check import CheckFunction
    from buildkit_py.frontend.target import Inputs
else:
    import _signal  # `signal` is this and enums, which take long to make

_OURS = "buildkit_py."
# Of a row of calls, so many of both ends are shown.
_SHOWN = 5


class Module:
    """A Buildfile.py that was run: its targets and checks in the order of the file, and what it takes to call them."""

    def __init__(
        self,
        path: str,
        name: str,
        session: session.Session,
        targets: tuple[TargetFunction, ...],
        checks: tuple[CheckFunction, ...] = (),
    ) -> None:
        self.path = path
        self.name = name
        self.session = session
        self.targets = targets
        self.checks = checks

    def default(self) -> TargetFunction:
        """The target marked `default=True`, else the last one."""
        return next((target for target in self.targets if target.default), self.targets[-1])


def load(path: str, inputs: Inputs, *, name: str = "") -> Module:
    """Run a Buildfile.py and find its targets. `name` is how errors call the file, by default its base name.

    What the file reads is told to `inputs`, itself first. Raises
    `BuildfileError` for whatever it raises, `KeyboardInterrupt` as it is.
    """
    path = os.path.abspath(path)
    name = name or os.path.basename(path)
    inputs.file(path)
    try:
        source = read_whole(path)
    except OSError as problem:
        raise BuildfileError(f"cannot read the file: {problem.strerror}", at=name) from problem
    register(path, name)
    module = ModuleType("Buildfile")
    module.__file__ = path
    work = session.Session(path, inputs)
    work.module = module
    code = _compile(source, path, name)
    guarded(work, name, lambda: exec(code, module.__dict__))
    found = {id(value): value for value in module.__dict__.values() if isinstance(value, TargetFunction)}
    functions = sorted(found.values(), key=lambda target: (target.position.line, target.name))
    targets = tuple([function for function in functions if not function.is_check])
    checks: Any = tuple([function for function in functions if function.is_check])
    if not targets:
        raise BuildfileError("the file has no target", at=name, hint="mark a function with @target")
    _refuse_doubles((*targets, *checks))
    return Module(path, name, work, targets, checks)


def guarded(work: session.Session, name: str, call: Callable[[], Any]) -> Any:
    """Call code of a Buildfile.py: watched, without its directory on `sys.path`, its exceptions made ours."""
    before = sys.path[:]
    here = os.path.realpath(work.root)
    sys.path[:] = [entry for entry in before if os.path.realpath(entry or os.getcwd()) != here]
    kept = sys.path[:]
    session.enter(work)
    try:
        with _signals_told(), _known(work.module), _printing_aside(), Watch(work.inputs):
            return call()
    except KeyboardInterrupt:
        raise
    except PybuildError as problem:
        if problem.at is None:
            problem.at = _place(problem.__traceback__, name, work.path)[0]
        show_line(problem, name, work.path)
        raise
    except SystemExit as problem:
        where, excerpt = _place(problem.__traceback__, name, work.path)
        raise BuildfileError(
            f"the Buildfile.py called exit({_exit_text(problem)})",
            at=where,
            excerpt=excerpt,
            hint="raise an exception to refuse a build; a target returns what it made",
        ) from problem
    except BaseException as problem:  # the user's code may raise anything; all of it is shown as theirs
        if type(problem).__module__.startswith(_OURS):  # a signal that asks the process to end
            raise
        raise _as_ours(problem, name, work.path) from problem
    finally:
        session.leave()
        # Paths that the file itself added stay; the one taken away comes back.
        added = [entry for entry in sys.path if entry not in kept]
        sys.path[:] = [*before, *added]


@contextmanager
def _signals_told() -> Iterator[None]:
    """Have a signal end what goes on also where the code that it came in upon caught what it raised."""
    noted: list[int] = []
    before: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def note(signum: int, frame: FrameType | None) -> None:
        noted.append(signum)
        before[signum](signum, frame)

    try:
        for signum in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
            handler: Any = _signal.getsignal(signum)
            if callable(handler):
                before[signum] = handler
                _signal.signal(signum, note)
    except ValueError:
        pass  # only the main thread may, and hears of signals
    try:
        yield
    finally:
        for number, handler in before.items():
            if _signal.getsignal(number) is note:
                _signal.signal(number, handler)
        if noted:
            before[noted[0]](noted[0], None)


@contextmanager
def _known(module: ModuleType | None) -> Iterator[None]:
    """Have a module in `sys.modules`."""
    if module is None:
        yield
        return
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        sys.modules.pop(module.__name__, None)
        if before is not None:
            sys.modules[module.__name__] = before


@contextmanager
def _printing_aside() -> Iterator[None]:
    """Have standard output go where standard error does, also that of commands that are run."""
    kept = -1
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of the two is closed
        pass
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if kept >= 0:
            os.dup2(kept, 1)
            os.close(kept)


def show_line(problem: PybuildError, name: str, path: str) -> None:
    """Give an error that points into this Buildfile.py the source line it points to."""
    if not problem.excerpt and isinstance(problem.at, Position) and problem.at.file == name:
        problem.excerpt = _line(path, problem.at.line)


def _compile(source: bytes, path: str, name: str) -> Any:
    try:
        return compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as problem:
        line, column = problem.lineno or 1, problem.offset or 1
        width = 1
        if problem.end_lineno == problem.lineno and problem.end_offset:
            width = max(1, problem.end_offset - column)
        text = (problem.text or "").rstrip("\n")
        raise BuildfileSyntaxError(
            problem.msg, at=Position(name, line, max(column, 1)), excerpt=caret(text, max(column, 1), width)
        ) from problem
    except (ValueError, UnicodeDecodeError) as problem:
        raise BuildfileSyntaxError(str(problem), at=name) from problem


def _as_ours(problem: BaseException, name: str, path: str) -> BuildfileError:
    where, excerpt = _place(problem.__traceback__, name, path)
    left_out = len(where.via) - 2 * _SHOWN
    if left_out > 0:
        where = where.replace(via=(*where.via[:_SHOWN], *where.via[-_SHOWN:]))
    text = _text_of(problem)
    kind = type(problem).__name__
    notes = [note for note in getattr(problem, "__notes__", ()) if isinstance(note, str)]
    if left_out > 0:
        notes.append(f"{left_out} calls between the first and the last {_SHOWN} are not shown")
    deepest = _deepest(problem.__traceback__)
    if deepest and not deepest.startswith(path + ":"):
        notes.append(f"raised at {deepest}")
    hint = ""
    if isinstance(problem, ModuleNotFoundError):
        hint = "only installed packages can be imported; the directory of a Buildfile.py is not searched"
    elif isinstance(problem, NameError | AttributeError) and problem.name:
        hint = did_you_mean(problem.name, _known_there(problem))
    message = f"{kind}: {text}" if text else kind
    return BuildfileError(message, at=where, excerpt=excerpt, hint=hint, notes=tuple(notes))


def _text_of(problem: BaseException) -> str:
    try:
        return str(problem)
    except Exception:  # its `__str__` is the user's, too
        return ""


def _known_there(problem: NameError | AttributeError) -> list[str]:
    """The names that a mistyped one may have meant: Python tells them only where it prints the traceback itself."""
    if isinstance(problem, AttributeError):
        return [name for name in dir(problem.obj) if not name.startswith("_")]
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return []
    frame = trace.tb_frame
    return [*frame.f_locals, *frame.f_globals]


def _place(trace: TracebackType | None, name: str, path: str) -> tuple[Position, str]:
    """The innermost line of the file on a traceback, and that line with a caret under what was running."""
    frames: list[TracebackType] = []
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            frames.append(trace)
        trace = trace.tb_next
    if not frames:
        return Position(name, 1), ""
    spot = frames[-1]
    code = spot.tb_frame.f_code
    line, column, width = spot.tb_lineno, 1, 0
    for index, (start, end, first, last) in enumerate(code.co_positions()):
        if index == spot.tb_lasti // 2:
            if first is not None and start == line:
                column = first + 1
                width = last - first if end == line and last is not None else 0
            break
    via = tuple(
        Position(name, frame.tb_lineno, function=function_name(frame.tb_frame.f_code)) for frame in frames[-2::-1]
    )
    where = Position(name, line, column, function_name(code), via)
    return where, _line(path, line, column, width)


def _line(path: str, line: int, column: int = 0, width: int = 0) -> str:
    import linecache

    linecache.checkcache(path)
    text = linecache.getline(path, line).rstrip("\n")
    if not text:
        return ""
    if not column:
        column = len(text) - len(text.lstrip()) + 1
    return caret(text, column, width or len(text) - column + 1)


def _deepest(trace: TracebackType | None) -> str:
    place = ""
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _exit_text(problem: SystemExit) -> str:
    return "" if problem.code is None else repr(problem.code)


def _refuse_doubles(targets: tuple[TargetFunction, ...]) -> None:
    seen: dict[str, TargetFunction] = {}
    for target in targets:
        other = seen.setdefault(target.name, target)
        if other is not target:
            raise BuildfileError(f"two targets are named `{target.name}`", at=target.position)
    defaults = [target for target in targets if target.default]
    if len(defaults) > 1:
        names = " and ".join(f"`{target.name}`" for target in defaults)
        raise BuildfileError(f"{names} are both marked default=True", at=defaults[1].position)
