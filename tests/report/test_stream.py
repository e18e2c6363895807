"""The stream of progress: whole lines, whoever writes, whoever has gone."""

from __future__ import annotations

import io
import os
import threading

from buildkit_py.report.stream import Stream


def test_a_reader_that_went_away_is_noted_once_and_raises_nothing():
    reader, writer = os.pipe()
    os.close(reader)
    calls = []
    file = open(writer, "w", buffering=1)
    stream = Stream(file, lambda: calls.append(1))
    stream.write("a\n")
    stream.write("b\n")
    assert stream.gone
    assert calls == [1]
    # What is left in the buffer must not complain when the file is dropped.
    os.dup2(os.open(os.devnull, os.O_WRONLY), writer)
    file.close()


def test_what_the_encoding_lacks_is_written_out():
    raw = io.BytesIO()
    stream = Stream(io.TextIOWrapper(raw, encoding="ascii"))
    stream.write("naïve ✓\n")
    assert raw.getvalue() == b"na\\xefve \\u2713\n"


def test_lines_of_many_threads_stay_whole():
    out = io.StringIO()
    stream = Stream(out)
    threads = [
        threading.Thread(target=lambda n=n: [stream.write(f"{n}" * 50 + "\n") for _ in range(200)]) for n in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = out.getvalue().splitlines()
    assert len(lines) == 1000
    assert all(len(line) == 50 and len(set(line)) == 1 for line in lines)
