"""A scripted build: the events of two interleaved steps, one cached and one that fails, for every report's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit_py.errors import StepFailed
from buildkit_py.events import (
    BuildFinished,
    BuildStarted,
    Exported,
    Notice,
    ShellClosed,
    ShellOpened,
    StepFinished,
    StepOutput,
    StepProgress,
    StepQueued,
    StepRetried,
    StepStarted,
)
from buildkit_py.source_map import Position

if TYPE_CHECKING:
    from buildkit_py.events import Event

PLACE = Position("Buildfile", 4, 1)

GOOD: tuple[Event, ...] = (
    BuildStarted("b1", "Buildfile", 3),
    StepQueued("s1", "[web 1/3] FROM debian:13"),
    StepQueued("s2", "[web 2/3] RUN make"),
    StepQueued("s3", "[db 1/2] RUN seed"),
    StepFinished("s1", "CACHED", at=0.1),
    StepStarted("s2", 1.0),
    StepOutput("s2", 1, "cc -c main.c", 1.123),
    StepStarted("s3", 1.2),
    StepOutput("s3", 2, "seeding\x1b[2J", 1.5),
    StepOutput("s2", 1, "cc -o main", 1.75),
    StepProgress("s3", "packing", 10_000_000, 10_000_000),
    StepFinished("s2", "DONE", 1.5, 2.5),
    StepFinished("s3", "DONE", 2.0, 3.2),
    Notice("warning", "the base image is old", PLACE, "build with `--pull`"),
    Exported("oci", "out.tar", "sha256:" + "a" * 64, 0.2),
    BuildFinished(True, 3.4, 2, 1),
)

FAILED: tuple[Event, ...] = (
    BuildStarted("b2", "Buildfile", 1),
    StepQueued("s1", "[1/1] RUN false", PLACE),
    StepStarted("s1", 0.0),
    StepOutput("s1", 2, "no luck", 0.01),
    StepRetried("s1", 2, 2, "exit code 1", 0.01),
    StepFinished("s1", "FAILED", 0.02, 0.02, "exit code: 1"),
    BuildFinished(False, 0.03, 1, 0),
)


SHELL: tuple[Event, ...] = (
    BuildStarted("b3", "Buildfile", 1),
    StepQueued("s1", "[1/1] RUN false", PLACE),
    StepStarted("s1", 0.0),
    StepOutput("s1", 2, "no luck", 0.01),
    ShellOpened("s1", "`RUN false` ended with exit code 1", ("no luck",), ("retry", "commit"), 0.02),
    StepOutput("s1", 2, "no luck\x1b[2J again", 4.0),
    ShellOpened("s1", "`RUN false` ended with exit code 2", (), ("retry", "commit"), 5.0),
    ShellClosed("s1", "commit", 9.0),
    StepFinished("s1", "DONE", 0.02, 9.0, "repaired by hand"),
    BuildFinished(True, 9.1, 1, 0),
)


def failure() -> StepFailed:
    """The error that the second script ends with."""
    return StepFailed(
        "`RUN false` ended with exit code 1",
        code=1,
        step_id="s1",
        tail=("no luck",),
        at=PLACE,
        excerpt="  RUN false\n  ^^^",
        hint="`--no-cache` does not help",
    )
