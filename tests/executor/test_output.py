"""What a step writes, read to its end: of itself, or of the one process whose output it is."""

from __future__ import annotations

import os
import select
import subprocess
from contextlib import suppress

from buildkit_py.executor.output import Pump


def test_it_ends_with_who_writes_where_another_one_writes_on() -> None:
    """Each line that is read is followed by another one, so that at no moment there is nothing to be read."""
    read, write = os.pipe()
    err_read, err_write = os.pipe()
    said: list[str] = []

    def line(stream: int, text: str) -> None:
        said.append(text)
        assert len(said) < 100
        with suppress(BrokenPipeError):
            os.write(write, b"of another one\n")

    with subprocess.Popen(["true"]) as process:
        gone = os.pidfd_open(process.pid)
        select.select([gone], [], [])
        os.write(write, b"last words\nand the very last")
        os.write(err_write, b"of the other stream\n")
        Pump(line, os.devnull).run(read, err_read, gone)
    assert sorted(said) == ["and the very last", "last words", "of the other stream"]
    for fd in (write, err_write, gone):
        os.close(fd)
