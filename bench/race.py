"""A race: contenders that do the same work, run in turn, round after round, and how long each took.

In turn (A B C A B C …), because a machine's load drifts by the minute: what
runs side by side may be divided, what ran an hour apart may not. Medians,
because a disturbance only ever adds time.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

# Nothing measured here takes minutes; what does is stuck.
TIME_LIMIT = 600
_TAIL = 1500


class Failure(Exception):
    """A contender's command failed; the message has the end of what it wrote."""


@dataclass(frozen=True)
class Contender:
    """One who runs in a race.

    `commands` run one after another in `cwd` and are timed together. `prepare` runs before each round and is not
    timed; it gets the round's number. `changing` gives variables that differ from round to round. `most`: it takes
    part in no more counted rounds than that (0: all), for one that is so slow that its scatter does not matter.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    cwd: str
    env: Mapping[str, str]
    prepare: Callable[[int], None] | None = None
    changing: Callable[[int], Mapping[str, str]] | None = None
    most: int = 0


@dataclass(frozen=True)
class Sample:
    """What a contender took, a number a round; `unit` is "s" or "MB". `error`: why there are no more.

    `cpu` are the processor seconds of the same rounds, of its own processes and not of a daemon's: what little a
    loaded machine can say of a contender that has none.
    """

    name: str
    values: tuple[float, ...] = ()
    cpu: tuple[float, ...] = ()
    unit: str = "s"
    error: str = ""

    @property
    def median(self) -> float:
        """The median. Raises `statistics.StatisticsError` where nothing was measured."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """How much the rounds scatter: the width of their middle half, as a part of the median; 0 where that is 0."""
        if len(self.values) < 2 or not self.median:
            return 0.0
        first, _, third = statistics.quantiles(self.values, n=4, method="inclusive")
        return (third - first) / self.median


@dataclass
class _Lane:
    contender: Contender
    values: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    error: str = ""


def race(
    contenders: Sequence[Contender],
    rounds: int,
    *,
    warm_up: int = 0,
    before_round: Callable[[int], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Sample]:
    """Run the contenders in turn for a number of rounds, after `warm_up` rounds that do not count.

    `before_round` changes what all of them build (rounds are numbered from 0, warm-up included). A contender that
    fails leaves the race; its sample says why.
    """
    lanes = [_Lane(contender) for contender in contenders]
    for number in range(warm_up + rounds):
        if before_round is not None:
            before_round(number)
        for lane in lanes:
            most = lane.contender.most
            if lane.error or (most and number >= warm_up + most):
                continue
            try:
                seconds, cpu = run_once(lane.contender, number)
            except Failure as failure:
                lane.error = str(failure)
                continue
            if number >= warm_up:
                lane.values.append(seconds)
                lane.cpu.append(cpu)
                say(f"round {number - warm_up + 1}/{rounds} {lane.contender.name} {seconds:.3f} s")
    return [Sample(lane.contender.name, tuple(lane.values), tuple(lane.cpu), error=lane.error) for lane in lanes]


def run_once(contender: Contender, number: int) -> tuple[float, float]:
    """The seconds of one run, and its processor seconds. Raises `Failure`."""
    if contender.prepare is not None:
        contender.prepare(number)
    env = dict(contender.env)
    if contender.changing is not None:
        env.update(contender.changing(number))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = sum(timed(command, contender.cwd, env) for command in contender.commands)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def timed(command: Sequence[str], cwd: str, env: Mapping[str, str]) -> float:
    """The seconds from starting a command to having its exit code. Raises `Failure` for one that is not 0."""
    # Its output goes to a file in memory: a pipe would make this process a part of what is measured.
    log = os.memfd_create("log")
    try:
        begin = time.perf_counter()
        try:
            process = subprocess.Popen(
                command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        except OSError as problem:
            raise Failure(f"{command[0]}: {problem.strerror}") from problem
        try:
            ended = _ends_within(process.pid, TIME_LIMIT)
        except BaseException:
            _kill(process)
            raise
        if not ended:
            _kill(process)
            raise Failure(f"{' '.join(command)}: still not done after {TIME_LIMIT} s")
        code = process.wait()
        seconds = time.perf_counter() - begin
        if code:
            size = os.fstat(log).st_size
            tail = os.pread(log, _TAIL, max(0, size - _TAIL)).decode(errors="replace").strip()
            raise Failure(f"{' '.join(command)}: exit code {code}\n{tail}")
        return seconds
    finally:
        os.close(log)


def _ends_within(number: int, seconds: float) -> bool:
    # Not `Popen.wait(timeout)`: that sleeps in steps which double, and would measure 16, 32 and 64 ms.
    watched = os.pidfd_open(number)
    try:
        poll = select.poll()
        poll.register(watched, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(watched)


def _kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
