"""A person at a terminal: pybuild started on a pseudo-terminal, what it shows waited for, lines typed."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import termios
import time

from tests.behaviour.world import World

_PATIENCE = 120.0


class Terminal:
    """pybuild in a world's project, with standard input, output and error on a terminal. A context manager."""

    def __init__(self, world: World, *argv: str, **env: str) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, 150))
        self.seen = b""
        self._at = 0
        self.process = subprocess.Popen(
            world.command(*argv),
            cwd=world.project,
            env=world.environment(TERM="xterm", **env),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def until(self, text: str) -> bytes:
        """Read until it shows a text that it did not show before; all that came up to there."""
        wanted = text.encode()
        while (found := self.seen.find(wanted, self._at)) < 0:
            assert self._read(), f"{text!r} never came:\n{self.seen.decode(errors='replace')}"
        came = self.seen[self._at : found + len(wanted)]
        self._at = found + len(wanted)
        return came

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._ours, line.encode() + b"\n")

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        code = self.process.wait(timeout=_PATIENCE)
        assert b"Traceback" not in self.seen, self.seen.decode(errors="replace")
        return code

    def _read(self) -> bool:
        """Whether there was more to read; False at the end."""
        until = time.monotonic() + _PATIENCE
        readable, _, _ = select.select([self._ours], [], [], max(0.0, until - time.monotonic()))
        assert readable, f"nothing came for {_PATIENCE:.0f} s:\n{self.seen.decode(errors='replace')}"
        try:
            piece = os.read(self._ours, 65536)
        except OSError:  # the other side was closed
            return False
        self.seen += piece
        return bool(piece)
