"""Entry point of the `pybuild` command: finds the command, runs it, and turns what it raises into an exit code.

Only `sys` is imported here at module level: what is imported here, every
`pybuild` pays for. docs/reference/exit-codes.md is the table of codes.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

COMMANDS = {
    "build": "build an image from a Buildfile, Buildfile.py or Dockerfile",
    "test": "run the tests of a Buildfile's targets",
    "verify": "build twice in surroundings that differ, and tell which steps do",
    "watch": "build again whenever an input changes, and restart a run of the result",
    "check": "tell what is odd about a Buildfile, without building it",
    "fmt": "write Buildfiles in canonical form",
    "convert": "write a Dockerfile or Buildfile anew as a Buildfile.py",
    "update": "pin what images, refs and URLs stand for, in pybuild.lock",
    "plan": "show what a build would run, and why",
    "why": "show why the steps of a build ran",
    "builds": "list the builds, newest first",
    "shell": "open a shell where a step of a build runs",
    "logs": "print what the steps of a build, or a container, wrote",
    "run": "run a command in an image or a target",
    "bundle": "write an image or a target as an OCI bundle",
    "ps": "list the containers in the background",
    "port": "show where the ports of a container are reached",
    "top": "list the processes of a container",
    "stats": "show what containers use of the machine",
    "exec": "run a command in a container that runs",
    "cp": "copy files between a container and here",
    "commit": "make an image of a container with what it wrote",
    "start": "start containers that have ended",
    "stop": "end containers, and wait until they have",
    "kill": "send containers a signal",
    "wait": "wait until containers have ended, and print their exit codes",
    "up": "start the services of a compose file",
    "down": "end and remove the containers of a project",
    "restart": "end the containers of a project, and start them again",
    "rm": "remove containers with all they wrote",
    "volume": "list or remove the named volumes of containers: ls, rm",
    "images": "list the images of the local store",
    "inspect": "show an image's configuration as JSON",
    "history": "show how an image came to be, newest first",
    "size": "show how large an image is, and what of it",
    "diff": "show what is different between two images",
    "tag": "give an image another name",
    "rmi": "remove names of images",
    "push": "send an image to its registry",
    "pull": "fetch an image from its registry",
    "cache": "show, shrink or check the store: du, prune, verify, audit; keygen",
    "ci": "keep caches from one CI job to the next: restore, save",
    "info": "show what this machine can do, and how to fix what it cannot",
    "completion": "print the completion script of a shell",
    "version": "show the version",
}

# Those that are no builds, of which nothing is remembered for the first tier.
_OTHER_COMMANDS = COMMANDS.keys() - {"build"}

_OBJECTS_BETWEEN_LOOKS = 500_000

_HELP = """\
Container images built like make builds programs.

Usage: pybuild FILE [TARGET…] [--parameter=value…] [options]
       pybuild COMMAND …

Commands:
{commands}

`pybuild COMMAND --help` explains a command; `pybuild build --help` has the options of the first form too.
"""


def main() -> int:
    """Run the command line in `sys.argv`; the process's exit code, or no return at all."""
    import gc

    _open_closed_streams()
    _take_any_text()
    _wait_for_children()
    # Modules, graphs and the files of a context are no garbage: looking for some is 1 ms of the 20 of a `run`, and a
    # tenth of a build of many files.
    gc.set_threshold(_OBJECTS_BETWEEN_LOOKS)
    if not _OTHER_COMMANDS.intersection(sys.argv[1:2]):
        from buildkit_py.cli import first_tier

        code = first_tier.try_answer(sys.argv[1:])
        if code is not None:
            return code
    from buildkit_py.cli import own_modules

    own_modules.install()
    from buildkit_py.cli import guard

    guard.leave(guard.guarded(dispatch, sys.argv[1:]))


def _open_closed_streams() -> None:
    """Have /dev/null for a standard stream that was closed: else the first file that is opened would become it."""
    import posix

    for fd in (0, 1, 2):
        try:
            posix.fstat(fd)
        except OSError:
            posix.open("/dev/null", posix.O_RDWR)  # the lowest number that is free, which is this
            posix.set_inheritable(fd, True)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)


def _take_any_text() -> None:
    """Have standard output take what it has no letters for: names of files as they are, or else an escape."""
    if change := getattr(sys.stdout, "reconfigure", None):
        is_utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
        change(errors="surrogateescape" if is_utf8 else "backslashreplace")


def _wait_for_children() -> None:
    """Have ended children waited for here: who ignores SIGCHLD hands that on, and the kernel would not keep them."""
    import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum

    if _signal.getsignal(_signal.SIGCHLD) == _signal.SIG_IGN:
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)


def dispatch(argv: list[str]) -> int:
    """Run one command line. Raises what the command raises."""
    first = argv[0] if argv else ""
    if not argv:
        sys.stderr.write(_help())
        return 2
    if first in ("--help", "-h"):
        sys.stdout.write(_help())
        return 0
    if first == "help":
        argv = [*argv[1:2], "--help"]
        return dispatch(argv)
    if first == "--version":
        return _command("version")(argv[1:])
    if first in COMMANDS:
        return _command(first)(argv[1:])
    if first == "-" or first.startswith("-") or _exists(first):
        from buildkit_py.cli.build import build_file

        return build_file(argv)
    from buildkit_py.cli.options import near
    from buildkit_py.errors import UsageError

    hint = near(first, COMMANDS) or "`pybuild --help` lists the commands"
    raise UsageError(f"there is no command and no file `{first}`", hint=hint)


def _command(name: str) -> Callable[[list[str]], int]:
    module = __import__(f"buildkit_py.cli.{name}", fromlist=["main"])
    run: Callable[[list[str]], int] = module.main
    return run


def _exists(path: str) -> bool:
    import os

    return os.path.exists(path)


def _help() -> str:
    rows = "\n".join(f"  {name:<12}{summary}" for name, summary in COMMANDS.items())
    return _HELP.format(commands=rows)
