"""Plain progress, line by line."""

from __future__ import annotations

import io

import pytest

from buildkit_py.events import StepFinished, StepOutput, StepProgress, StepQueued, StepStarted
from buildkit_py.report.plain import PlainReporter
from buildkit_py.report.stream import Stream
from tests.report.scripted import FAILED, GOOD, SHELL, failure


def rendered(events, error=None, clock=lambda: 0.0) -> str:
    out = io.StringIO()
    reporter = PlainReporter(Stream(out), clock)
    for event in events:
        reporter.emit(event)
    if error is not None:
        reporter.failed(error)
    reporter.close()
    return out.getvalue()


def test_a_whole_build():
    expected = """\
#1 [web 1/3] FROM debian:13
#1 CACHED

#2 [web 2/3] RUN make
#2 0.123 cc -c main.c

#3 [db 1/2] RUN seed
#3 0.300 seeding\\x1b[2J

#2 [web 2/3] RUN make
#2 0.750 cc -o main

#3 [db 1/2] RUN seed
#3 packing 10MB / 10MB

#2 [web 2/3] RUN make
#2 DONE 1.5s

#3 [db 1/2] RUN seed
#3 DONE 2.0s
warning: Buildfile:4:1: the base image is old
hint: build with `--pull`
exported oci out.tar sha256:{digest} 0.2s

built in 3.4s: 2 ran, 1 cached, 1 warning
""".format(digest="a" * 64)
    assert expected == rendered(GOOD)


def test_a_failure_shows_the_last_lines_the_place_and_the_source():
    expected = """\
#1 [1/1] RUN false
#1 0.010 no luck
#1 RETRY 2/2: exit code 1
#1 ERROR: exit code: 1

failed in 0.0s: 1 ran, 0 cached

------
 > [1/1] RUN false:
no luck
------
error: Buildfile:4:1: `RUN false` ended with exit code 1
  RUN false
  ^^^

hint: `--no-cache` does not help
"""
    assert expected == rendered(FAILED, failure())


@pytest.mark.attack("H7")
def test_a_step_cannot_fake_our_lines():
    events = [
        StepQueued("s", "RUN liar"),
        StepStarted("s", 0.0),
        StepOutput("s", 1, "done\r#7 DONE 0.1s", 0.0),
        StepOutput("s", 1, "\x1b[1A#7 DONE", 0.0),
    ]
    lines = rendered(events).splitlines()
    assert lines == ["#1 RUN liar", "#1 0.000 done\\r#7 DONE 0.1s", "#1 0.000 \\x1b[1A#7 DONE"]


def test_progress_is_thinned_out_but_its_end_is_shown():
    now = 0.0

    def clock() -> float:
        return now

    out = io.StringIO()
    reporter = PlainReporter(Stream(out), clock)
    reporter.emit(StepQueued("s", "pull"))
    for done in range(0, 101):
        reporter.emit(StepProgress("s", "layer", done, 100))
        now += 0.0625
    assert out.getvalue().splitlines() == [
        "#1 pull",
        "#1 layer 0B / 100B",
        "#1 layer 32B / 100B",
        "#1 layer 64B / 100B",
        "#1 layer 96B / 100B",
        "#1 layer 100B / 100B",
    ]


def test_a_skipped_step_says_why():
    assert rendered([StepQueued("s", "RUN x"), StepFinished("s", "SKIPPED", reason="needs [1/2]")]).splitlines() == [
        "#1 RUN x",
        "#1 SKIPPED: needs [1/2]",
    ]


def test_a_shell_where_a_step_failed():
    words = (
        "This shell is where it ran:\n"
        "  retry   run the step again, in the files as they are then\n"
        "  commit  take the files as they are for what the step gives\n"
        "  exit    end the build\n"
    )
    assert rendered(SHELL) == (
        "#1 [1/1] RUN false\n"
        "#1 0.010 no luck\n"
        f"\nerror: `RUN false` ended with exit code 1\n{words}"
        "#1 4.000 no luck\\x1b[2J again\n"
        f"\nerror: `RUN false` ended with exit code 2\n{words}"
        "#1 DONE 0.0s\n"
        "\nbuilt in 9.1s: 1 ran, 0 cached\n"
    )
