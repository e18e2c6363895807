"""An ssh agent that this build starts, for keys that are given as files.

It is the machine's own `ssh-agent`, behind a shell that ends it when this
process is gone, however it went. The keys reach `ssh-add` by its standard
input, so that their files may have any mode.
"""

from __future__ import annotations

import os
import time

from buildkit_py.errors import SourceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# The shell's standard input ends with this process, by whatever it dies. The agent removes its socket itself.
_SERVE = """ssh-agent -D -a agent </dev/null & agent=$!; read -r _; kill "$agent"; wait; cd /; rmdir "$1" """
_PATIENCE = 10.0
_LARGEST_KEY = 1 << 20


class KeyAgent:
    """An agent that holds the keys in these files. `socket` is the path of its socket.

    Raises `SourceError` where there is no ssh-agent, for a file that cannot
    be read and for a key that ssh-add does not take.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        import subprocess
        from shutil import which
        from tempfile import mkdtemp

        if which("ssh-agent") is None or which("ssh-add") is None:
            raise _no_agent()
        # Not in the store: the path of a socket has room for 107 bytes, and git's ssh takes it by its path.
        self._directory = mkdtemp(prefix="pybuild-ssh-")
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _SERVE, "sh", self._directory],
            cwd=self._directory,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.socket = f"{self._directory}/agent"
        try:
            self._wait()
            for key in keys:
                self._add(key)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the agent."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _wait(self) -> None:
        """Until the agent listens."""
        until = time.monotonic() + _PATIENCE
        while not os.path.exists(self.socket):
            if time.monotonic() > until:
                raise _no_agent()
            time.sleep(0.005)

    def _add(self, key: str) -> None:
        import subprocess

        try:
            with open(key, "rb") as file:
                data = file.read(_LARGEST_KEY)
        except OSError as problem:
            raise SourceError(f"the ssh key cannot be read: {problem.strerror}", at=key) from problem
        done = subprocess.run(
            ["ssh-add", "-q", "-"],
            input=data if data.endswith(b"\n") else data + b"\n",
            env={**_environment(), "SSH_AUTH_SOCK": self.socket},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # without a terminal nobody can be asked for a passphrase
            check=False,
        )
        if done.returncode != 0:
            said = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
            raise SourceError(
                "ssh-add does not take this key",
                at=key,
                notes=tuple(f"ssh-add: {line}" for line in said[-3:]),
                hint="add a key that has a passphrase to an agent of yours, and give that with --ssh default",
            )


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}


def _no_agent() -> SourceError:
    return SourceError(
        "keys of files need an agent, and `ssh-agent` could not be started",
        hint="install OpenSSH's client, or start an agent elsewhere and give its socket with --ssh",
    )
