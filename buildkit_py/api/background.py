"""A process in the background: an interpreter of its own, which says once whether it is ready, and then stays."""

from __future__ import annotations

import marshal
import os
import sys

from buildkit_py.errors import PybuildError, SandboxError
from buildkit_py.sandbox.userns import handed_on, take_over

_BOOT = "import sys; sys.path[:] = sys.argv[5:]; from buildkit_py.api.background import main; main(*sys.argv[1:5])"
# Where it says that it is ready, or why not.
_READY = 3
_MESSAGE = 1 << 16
# What it needs of the environment: programs, the configuration, and the interpreter's own libraries.
_KEPT = ("PATH", "HOME", "XDG_CONFIG_HOME", "LD_LIBRARY_PATH")


def begin(module: str, root: str, name: str, what: str) -> None:
    """Start `run(root, name, ready)` of a module in a process of its own session; returns once it is ready.

    `ready(problem)` is to be called with None, or why not, and counts once; `what` is what the process is, in words.
    Raises `SandboxError` with the problem.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    argv = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOT, module, root, name, handed_on()]
    argv += map(os.path.abspath, sys.path)
    actions = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    env = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        # Its own session: neither this terminal's Ctrl-C nor its end reaches it.
        pid = os.posix_spawn(
            sys.executable, argv, env, file_actions=[*actions, (os.POSIX_SPAWN_DUP2, writer, _READY)], setsid=True
        )
    except OSError as problem:
        os.close(reader)
        raise SandboxError(f"cannot start {what}: {problem.strerror}") from problem
    finally:
        os.close(writer)
    with open(reader, "rb") as stream:
        data = stream.read(_MESSAGE)
    answer = marshal.loads(data) if data else ("error", f"{what} ended before it was ready", "", "")
    if answer[0] != "ok":
        os.waitpid(pid, 0)
        _, message, hint, at = answer
        raise SandboxError(message, hint=hint, at=at or None)


def main(module: str, root: str, name: str, identity: str) -> None:
    """Be the process. `identity` is that of who starts it (`userns.handed_on`)."""
    told = False

    def ready(problem: PybuildError | None) -> None:
        nonlocal told
        if told:
            return
        told = True
        said = ("ok",) if problem is None else ("error", problem.message, problem.hint, str(problem.at or ""))
        os.write(_READY, marshal.dumps(said))
        os.close(_READY)

    # Neither a directory nor a file of who starts it is kept in use for as long as it stays.
    os.chdir("/")
    os.closerange(_READY + 1, os.sysconf("SC_OPEN_MAX"))
    take_over(identity)
    try:
        __import__(module, fromlist=["run"]).run(root, name, ready)
    except PybuildError as problem:
        ready(problem)
    except OSError as problem:
        from buildkit_py.store.faults import store_error

        ready(store_error(problem, root, "look after what runs"))
