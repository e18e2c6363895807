"""A program that runs a command, sends it signals at the right moment, and sees what the command leaves behind.

    python -m tests.behaviour.watching JSON

The JSON says: `command`; `until`, a text to wait for in its output, or `file`,
a path that has to appear; `signals`, numbers to send to its process group (to
its own process alone with `alone`); `terminal`, to give it a terminal and send
what Ctrl-C sends; `hang_up`, the streams (`stdout`, `stderr`) whose reader goes
away after the moment. Printed is JSON again: `code` (minus the signal that
ended it), `output` (both streams), and `left`: what was still running when it
had ended and did not end by itself soon after.

Orphans are given to this process, so none goes unnoticed.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
# Nobody waits this long: it turns a hang into a message. What the tests run would sleep for longer.
_PATIENCE = 50.0


class Watched:
    """A running command and all that it has said."""

    def __init__(self, command: list[str], terminal: bool) -> None:
        self.output = b""
        self.master = -1
        if terminal:
            self.master, slave = pty.openpty()
            self.process = subprocess.Popen(
                command,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # no threads here
            )
            os.close(slave)
            self.streams = {"terminal": self.master}
            return
        readers, writers = zip(os.pipe(), os.pipe(), strict=True)
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=writers[0], stderr=writers[1], start_new_session=True
        )
        for writer in writers:
            os.close(writer)
        self.streams = {"stdout": readers[0], "stderr": readers[1]}

    def read(self, seconds: float) -> None:
        """Take what it says within this time."""
        names = {fd: name for name, fd in self.streams.items()}
        for fd in select.select(list(names), [], [], seconds)[0]:
            try:
                piece = os.read(fd, 1 << 16)
            except OSError:  # how a terminal says that nobody has it open any more
                piece = b""
            self.output += piece
            if not piece:
                self.close(names[fd])

    def close(self, name: str) -> None:
        """Read a stream no more."""
        os.close(self.streams.pop(name))

    def await_moment(self, until: str, file: str) -> None:
        """Wait for the text or the file."""
        deadline = time.monotonic() + _PATIENCE
        while not (until.encode() in self.output if until else Path(file).exists()):
            self.read(0.01)
            if time.monotonic() > deadline or self.process.poll() is not None:
                # It is over: read the rest, so that the message says why.
                while self.streams and self.process.poll() is not None:
                    self.read(0.1)
                raise SystemExit(f"it does not come to `{until or file}`: {self.output.decode(errors='replace')}")

    def await_end(self) -> int:
        """Wait for the process, though not for others that have its output open; its exit code."""
        deadline = time.monotonic() + _PATIENCE
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                self.process.kill()
                self.process.wait()
                return 9999
            self.read(0.01) if self.streams else time.sleep(0.01)
        while self.streams and select.select(list(self.streams.values()), [], [], 0)[0]:
            self.read(0)
        return self.process.returncode


def left_over() -> list[str]:
    """Command lines of what does not end by itself."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.005)
        except ChildProcessError:
            return []
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() for pid in children]
    for pid in children:
        os.kill(int(pid), signal.SIGKILL)
    return lines


def main() -> None:
    """Do what the JSON says."""
    wanted: dict[str, Any] = json.loads(sys.argv[1])
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    watched = Watched(wanted["command"], bool(wanted.get("terminal")))
    if wanted.get("until") or wanted.get("file"):
        watched.await_moment(wanted.get("until", ""), wanted.get("file", ""))
    for name in wanted.get("hang_up", ()):
        watched.close(name)
    for number in wanted.get("signals", ()):
        if watched.master >= 0:
            os.write(watched.master, b"\x03")
        elif wanted.get("alone"):
            watched.process.send_signal(number)
        else:
            os.killpg(watched.process.pid, number)
    code = watched.await_end()
    print(json.dumps({"code": code, "output": watched.output.decode(errors="replace"), "left": left_over()}))


if __name__ == "__main__":
    main()
