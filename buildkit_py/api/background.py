"""A process in the background: an interpreter of its own, which says once whether it is ready, and then stays."""

from __future__ import annotations

import marshal
import os
import sys

from buildkit_py.errors import PybuildError, SandboxError
from buildkit_py.sandbox.userns import handed_on, take_over

_BOOT = "import sys; sys.path[:] = sys.argv[5:]; from buildkit_py.api.background import main; main(*sys.argv[1:5])"
# Where it says that it is ready, or why not; a fork server is asked there.
_READY = 3
_MESSAGE = 1 << 16
# What it needs of the environment: programs, the configuration, and the interpreter's own libraries.
_KEPT = ("PATH", "HOME", "XDG_CONFIG_HOME", "LD_LIBRARY_PATH")

VACANT = "-" * 64
"""The name of one that is to be another: a fork server, whose forks get theirs (`background_forks`)."""


def begin(module: str, root: str, name: str, what: str) -> None:
    """Start `run(root, name, ready)` of a module in a process of its own session; returns once it is ready.

    `ready(problem)` is to be called with None, or why not, and counts once; `what` is what the process is, in words.
    Raises the problem, and `SandboxError` where no process can be had.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        pid = spawn(module, root, name, what, writer)
    except SandboxError:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    problem = answer(reader, what)
    if problem is not None:
        os.waitpid(pid, 0)
        raise problem


def spawn(module: str, root: str, name: str, what: str, fd: int) -> int:
    """Start the process, with a descriptor on which it answers; its id. Raises `SandboxError`."""
    argv = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOT, module, root, name, handed_on()]
    argv += map(os.path.abspath, sys.path)
    actions = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in (0, 1, 2)]
    env = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        # Its own session: neither this terminal's Ctrl-C nor its end reaches it.
        return os.posix_spawn(
            sys.executable, argv, env, file_actions=[*actions, (os.POSIX_SPAWN_DUP2, fd, _READY)], setsid=True
        )
    except OSError as problem:
        raise SandboxError(f"cannot start {what}: {problem.strerror}") from problem


def answer(reader: int, what: str) -> PybuildError | None:
    """Why a process is not ready, once it has said that, None where it is; closes the descriptor.

    The error has the exit code of the one that the process met.
    """
    with open(reader, "rb") as stream:
        data = stream.read(_MESSAGE)
    said = marshal.loads(data) if data else failed(SandboxError(f"{what} ended before it was ready"))
    if said[0] == "ok":
        return None
    _, message, hint, at, code = said
    problem = PybuildError(message, hint=hint, at=at or None)
    problem.exit_code = code
    return problem


def failed(problem: PybuildError) -> tuple[str, str, str, str, int]:
    """What is answered where a process is not ready."""
    return "error", problem.message, problem.hint, str(problem.at or ""), problem.exit_code


def main(module: str, root: str, name: str, identity: str) -> None:
    """Be the process. `identity` is that of who starts it (`userns.handed_on`)."""
    # Neither a directory nor a file of who starts it is kept in use for as long as it stays.
    os.chdir("/")
    os.closerange(_READY + 1, os.sysconf("SC_OPEN_MAX"))
    take_over(identity)
    run = __import__(module, fromlist=["run"]).run
    if name == VACANT:
        from buildkit_py.api.background_forks import serve

        name = serve(_READY, module)
        if not name:
            return
    told = False

    def ready(problem: PybuildError | None) -> None:
        nonlocal told
        if told:
            return
        told = True
        os.write(_READY, marshal.dumps(("ok",) if problem is None else failed(problem)))
        os.close(_READY)

    try:
        run(root, name, ready)
    except PybuildError as problem:
        ready(problem)
    except OSError as problem:
        from buildkit_py.store.faults import store_error

        ready(store_error(problem, root, "look after what runs"))
