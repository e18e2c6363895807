"""What `pybuild watch` has done in processes of their own: one look, one build, or one run of what was built.
`pybuild up --watch` has projects brought up in such.

So each of them can be ended as any command is, and the process that watches
stays small however long it does. What to do comes in a file descriptor as
`marshal` has it, and what came of it goes out in another:

    python -P -c 'from buildkit_py.cli.watched import main; main()' look|build|run|up GIVEN ANSWER
"""

from __future__ import annotations

import marshal
import os
import sys
from stat import S_ISREG

from buildkit_py.api.witness import Witness
from buildkit_py.freeze import freeze, thaw
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from buildkit_py.api.inputs import Inputs
    from buildkit_py.api.request import BuildRequest, BuildResult
    from buildkit_py.cli.options import Parsed
    from buildkit_py.events import Emit, Event
    from buildkit_py.runner.memo import Runnable
    from buildkit_py.runner.request import RunRequest

# Exports of these kinds write at the place that they name; the others go to a registry or a cache.
_TO_FILES = ("local", "tar", "oci", "docker", "output", "save-always")


class Answer(Record):
    """What came of a build. `inputs` None: it did not come so far as to have any. `built`: what a run needs."""

    ok: bool
    inputs: Inputs | None = None
    built: Runnable | None = None


class Watching(Witness):
    """Looks at everything, and keeps what the build writes apart from what it reads."""

    thorough = True

    def __init__(self) -> None:
        super().__init__()
        self.outputs: set[str] = set()
        for fd in (1, 2):  # what is said there is written by the build, too
            try:
                if S_ISREG(os.fstat(fd).st_mode):
                    self.outputs.add(os.readlink(f"/proc/self/fd/{fd}"))
            except OSError:
                continue  # it is closed

    def written(self, path: str) -> None:
        """A file was written by this build."""
        self.outputs.add(os.path.abspath(path))


def main() -> NoReturn:
    """Do what the command line says, and end with its exit code."""
    from buildkit_py.cli import own_modules

    own_modules.install()
    from buildkit_py.cli import guard

    kind, given, answer = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    _end_with_parent()
    if kind in ("look", "build", "up"):
        do = {"look": _look, "build": _build, "up": _up}[kind]
        guard.leave(guard.guarded(lambda argv: do(argv, answer), list(_given(given))))
    guard.leave(guard.guarded(lambda _: _run(*thaw(_given(given))), []))


def _given(fd: int) -> tuple[str, ...]:
    with open(fd, "rb") as file:
        given: tuple[str, ...] = marshal.loads(file.read())
    return given


def _end_with_parent() -> None:
    """Be asked to end when the process that watches is killed. A change of user clears this."""
    from signal import SIGTERM

    from buildkit_py.sandbox import syscalls

    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, SIGTERM)


def _request(parsed: Parsed, witness: Watching) -> BuildRequest:
    from buildkit_py.cli.build_request import build_request
    from buildkit_py.cli.locate import candidates, here

    cwd = here()
    request = build_request(parsed, os.environ, cwd)
    for path in candidates(parsed.operands[0], parsed.one("file"), cwd):
        witness.file(path)
    return request


def _parsed(argv: list[str]) -> Parsed:
    from buildkit_py.cli import watch
    from buildkit_py.cli.options import parse

    return parse(watch.parser(), argv)


def _look(argv: list[str], answer: int) -> int:
    """Find the inputs of a build before it begins. What is wrong with it, the build says."""
    from buildkit_py.api.build import build
    from buildkit_py.errors import PybuildError

    witness = Watching()
    try:
        request = _request(_parsed(argv), witness)
        build(request.replace(dry_run=True), lambda event: None, witness)
    except PybuildError:
        pass
    _answer(answer, witness, None, "")
    return 0


def _build(argv: list[str], answer: int) -> int:
    from buildkit_py.cli import remember
    from buildkit_py.cli.progress import kind_of, shown

    parsed = _parsed(argv)
    witness = Watching()
    request = _request(parsed, witness)
    kind = kind_of(parsed)
    result: BuildResult | None = None
    try:
        result = shown(kind, lambda emit: _built(request, emit, witness))
    finally:
        _answer(answer, witness, result, request.store)
    if kind == "quiet":
        sys.stdout.write(remember.answer(request, result))
    return 0


def _up(given: list[str], answer: int) -> int:
    from buildkit_py.cli import up
    from buildkit_py.sandbox.userns import take_over

    identity, *argv = given
    take_over(identity)
    witness = Watching()
    done = False
    try:
        up.bring_again(argv, witness)
        done = True
    finally:
        inputs = project_inputs(witness, failed=not done)
        with open(answer, "wb", closefd=False) as file:
            file.write(marshal.dumps(freeze(Answer(done, inputs if inputs.files else None))))
    return 0


def project_inputs(witness: Watching, *, failed: bool = False) -> Inputs:
    """The inputs of a project's builds and files."""
    from buildkit_py.api.inputs import Inputs
    from buildkit_py.config import store_root

    return Inputs.of(witness, tuple(sorted(witness.outputs)), os.path.abspath(store_root(os.environ)), failed=failed)


def _built(request: BuildRequest, emit: Emit, witness: Watching) -> BuildResult:
    from buildkit_py.api.build import build
    from buildkit_py.events import Exported

    def noting(event: Event) -> None:
        if isinstance(event, Exported) and event.kind in _TO_FILES and event.destination != "-":
            witness.written(event.destination)
        emit(event)

    return build(request, noting, witness)


def _answer(fd: int, witness: Watching, result: BuildResult | None, store: str) -> None:
    from buildkit_py.api.inputs import Inputs
    from buildkit_py.api.run import runnable_of
    from buildkit_py.config import store_root

    built = None
    if result is not None and len(result.targets) == 1:
        built = runnable_of(result.targets[0], store)
    written = tuple(sorted(witness.outputs))
    inputs = Inputs.of(witness, written, os.path.abspath(store or store_root(os.environ)), failed=result is None)
    with open(fd, "wb", closefd=False) as file:
        file.write(marshal.dumps(freeze(Answer(result is not None, inputs if inputs.files else None, built))))


def _run(request: RunRequest, built: Runnable) -> int:
    from buildkit_py.api.run import prepare_built
    from buildkit_py.cli.guard import Reported, say
    from buildkit_py.cli.progress import if_busy, shown
    from buildkit_py.cli.run import NOT_STARTED
    from buildkit_py.errors import OutputLost, PybuildError

    try:
        container = shown("auto", lambda emit: prepare_built(request, built, if_busy(emit)))
        _end_with_parent()
        return container.run()
    except Reported:
        return NOT_STARTED
    except OutputLost as lost:
        return say(lost)
    except PybuildError as error:
        say(error)
        return NOT_STARTED
