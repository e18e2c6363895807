"""What git says about the project's directory. Runs the machine's own `git`."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.python import session
from buildkit_py.frontend.python.position import here


def describe(*, default: str | None = None) -> str:
    """`git describe --tags --always --dirty` of the Buildfile.py's directory.

    What git looked at cannot be listed, so a build that asks is never
    answered without running its Buildfile.py. Raises `BuildfileError` where
    git is missing or there is no repository, unless `default` is given.
    """
    import subprocess

    running = session.current()
    if running is not None:
        running.inputs.impure("git describe")
    command = ["git", "-C", session.resolve("."), "describe", "--tags", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as problem:
        if default is not None:
            return default
        raise BuildfileError(f"git cannot be run: {problem.strerror}", at=here()) from problem
    if done.returncode == 0:
        return done.stdout.strip()
    if default is not None:
        return default
    said = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
    raise BuildfileError(
        f"git describe failed: {said[0]}", at=here(), hint='give it a default: describe(default="dev")'
    )
