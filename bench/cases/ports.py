"""Cases of published ports: requests through them, and ten thousand connections at once."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench import web
from bench.cases.networked import loaded_docker
from bench.connections import connections
from bench.daemon import free_port
from bench.fresh_docker import FreshDocker
from bench.peak import held
from bench.race import Sample
from bench.registry import WEB
from bench.verdict import Report, at_least, under
from bench.workbench import Workbench, installed

_NAME = "bench-web"
_CONNECTIONS = 10_000
_WRK = ("wrk", "--latency", "--threads=1", "--connections=50")
_SECONDS = 5  # a run of wrk
_PATIENCE, _PAUSE = 30.0, 0.5  # seconds, until closed connections are gone
_MORE = 0.1  # megabytes: ten bytes for each connection


def port_requests(bench: Workbench) -> Report:
    """Requests a second, and how long one takes, through a published port and without one."""
    if installed("wrk") is None:
        raise RuntimeError("wrk is missing: apt install wrk")
    image = bench.base(WEB)
    docker = loaded_docker(bench, image)
    try:
        with _served(bench, image) as (port, forwarders):
            inside = ("nsenter", f"--net=/proc/{forwarders[0]}/ns/net")
            wanted: list[tuple[str, tuple[str, ...], int]] = [("pybuild", (), port), ("direct", inside, web.PORT)]
            if docker is not None:
                wanted.insert(1, ("docker", docker.inside(), _published_by_docker(bench, docker, image)))
            rates: dict[str, list[float]] = {name: [] for name, _, _ in wanted}
            times: dict[str, list[float]] = {name: [] for name, _, _ in wanted}
            for number in range(bench.rounds(5) + 1):
                for name, words, where in wanted:
                    url = f"http://127.0.0.1:{where}/index.html"
                    said = bench.run(*words, *_WRK, f"--duration={bench.size(_SECONDS)}s", url)
                    if number:  # the first round is to warm up
                        rate, half = web.requests(said)
                        rates[name].append(rate)
                        times[name].append(half)
    finally:
        if docker is not None:
            docker.stop()
    return Report(
        "port-requests",
        "requests to nginx from 50 connections, through a published port and without one",
        [Sample(name, tuple(values), unit="requests/s") for name, values in rates.items()]
        + [Sample(f"{name}, a request", tuple(values)) for name, values in times.items()],
        [
            at_least("pybuild", "docker", 1),
            at_least("pybuild", "direct", 0.5),
            at_least("docker, a request", "pybuild, a request", 1),
            at_least("direct, a request", "pybuild, a request", 0.5),
        ],
        [
            "docker by its userland proxy, as at each published port of 127.0.0.1",
            "`direct`: the same server, asked from within its container's network",
        ],
    )


def port_connections(bench: Workbench) -> Report:
    """Ten thousand connections through a published port at once, and what is left when they are closed."""
    image = bench.base(WEB)
    count = bench.size(_CONNECTIONS)
    served: list[float] = []
    left: list[float] = []
    memory: dict[str, list[float]] = {"before": [], "with all open": [], "after": [], "more after each round": []}
    with _served(bench, image) as (port, forwarders):
        at_rest = _at_rest(forwarders)
        memory["before"].append(_memory(forwarders))
        # A leak shows in each of them, a megabyte that the interpreter lets go or takes in one or two.
        for _ in range(max(2, bench.rounds(9))):
            with connections(port, count) as opened:
                # Twice, so that none of them was let go after the first.
                served += [min(opened.served(web.PAGE), opened.served(web.PAGE))]
                memory["with all open"].append(_memory(forwarders))
            left.append(_at_rest(forwarders) - at_rest)
            memory["after"].append(_memory(forwarders))
    after = memory["after"]
    memory["more after each round"] = [later - earlier for earlier, later in itertools.pairwise(after)]
    return Report(
        "port-connections",
        f"{count} connections through a published port at once, and what is left of them",
        [Sample("served", tuple(served), unit="connections"), Sample("left open", tuple(left), unit="descriptors")]
        + [Sample(f"memory {name}", tuple(values), unit="MB") for name, values in memory.items()],
        [at_least("served", "", count), under("left open", 0), under("memory more after each round", _MORE)],
        [
            "each connection is served twice; memory is the anonymous one of the processes that pass on",
            "in the first rounds they come to keep what the interpreter had got before and had not touched yet",
        ],
    )


@contextmanager
def _served(bench: Workbench, image: str) -> Iterator[tuple[int, list[int]]]:
    """A web server in the background: its published port, and the processes that pass on what comes there."""
    port = free_port()
    env = {**bench.env, "PYBUILD_NETWORK": ""}
    run = (bench.pybuild_path, "run", "-d", f"--name={_NAME}", "-p", f"{port}:{web.PORT}", image, *web.COMMAND)
    started = subprocess.run(run, env=env, capture_output=True, text=True, check=False)
    try:
        if started.returncode:
            raise RuntimeError(f"{' '.join(run)}: exit code {started.returncode}\n{started.stderr}")
        end = time.monotonic() + _PATIENCE
        while not _answers(port):
            if time.monotonic() > end:
                raise RuntimeError(f"nginx does not answer: {bench.run(bench.pybuild_path, 'logs', _NAME)}")
            time.sleep(_PAUSE)
        yield port, _forwarders(started.stdout.split()[-1])
    finally:
        bench.run(bench.pybuild_path, "rm", "-f", _NAME, check=False)


def _answers(port: int) -> bool:
    with connections(port, 1) as one:
        return one.served(web.PAGE) == 1


def _published_by_docker(bench: Workbench, docker: FreshDocker, image: str) -> int:
    """The port at which a web server of docker's is reached in docker's network."""
    publish = f"--publish=127.0.0.1:{web.PORT}:{web.PORT}"
    bench.run(*docker.client(), "run", "-d", "--rm", publish, image, *web.COMMAND)
    url = f"http://127.0.0.1:{web.PORT}/index.html"
    bench.run(*docker.inside(), *_WRK, "--duration=1s", url)
    return web.PORT


def _forwarders(container: str) -> list[int]:
    """The processes that pass on what comes to a container's ports: they are in its network, and named for it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            words = (entry / "cmdline").read_bytes()
            if container.encode() in words and (entry / "comm").read_text() == "pybuild-ports\n":
                found.append(int(entry.name))
    return found


def _descriptors(processes: list[int]) -> int:
    return sum(len(os.listdir(f"/proc/{number}/fd")) for number in processes)


def _at_rest(processes: list[int]) -> int:
    """The descriptors that they have once no more of them go."""
    end = time.monotonic() + _PATIENCE
    now, before = _descriptors(processes), -1
    while now != before and time.monotonic() < end:
        time.sleep(_PAUSE)
        now, before = _descriptors(processes), now
    return now


def _memory(processes: list[int]) -> float:
    return sum(held(number, "Anonymous") for number in processes) / 1e6
