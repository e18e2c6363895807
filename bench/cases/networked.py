"""Cases of containers on the network that is theirs by default: one with limits, and fifty services."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import suppress
from dataclasses import replace

from bench import fixtures
from bench.cases.start import bundle, run_bundle
from bench.control_groups import with_controllers
from bench.fresh_docker import FreshDocker
from bench.race import Contender, race
from bench.registry import BUSYBOX
from bench.verdict import Report, at_least, at_most
from bench.workbench import Workbench

_MEMORY, _PROCESSES, _CPUS = 64 << 20, 100, 1
_PERIOD = 100_000  # microseconds
_LIMITS = (f"--memory={_MEMORY}", f"--pids-limit={_PROCESSES}", f"--cpus={_CPUS}")
_SERVICES = 50
_FOR_LONG = ("sleep", "1000000")
# How many seconds processes get to end in, and network namespaces, for which nobody can wait.
_PATIENCE, _TAKING_APART = 20.0, 1.0


def run_limited(bench: Workbench) -> Report:
    """`run IMAGE true` with limits, warm, on the default network."""
    image = bench.base(BUSYBOX)
    directory = bench.directory("run-limited")
    with with_controllers():
        docker = loaded_docker(bench, image)
        try:
            contenders = [isolated(bench.pybuild("run", *_LIMITS, image, "true", cwd=directory))]
            if docker is not None:
                command = ("docker", "run", "--rm", *_LIMITS, image, "true")
                contenders.append(Contender("docker", (command,), directory, docker.env))
            contenders += [_runtime(bench, name, directory) for name in ("runc", "crun") if bench.has(name)]
            samples = race(contenders, bench.rounds(15), warm_up=2)
        finally:
            if docker is not None:
                docker.stop()
    return Report(
        "run-limited",
        "`run IMAGE true` with limits of memory, processes and processor, warm, on the default network",
        samples,
        (at_least("docker", "pybuild", 8), at_most("pybuild", "runc", 1.2)),
        ["runc and crun make a network namespace with nothing but a loopback, and bind a directory that is there"],
    )


def services_50(bench: Workbench) -> Report:
    """Fifty services in the background, each on the default network."""
    image = bench.base(BUSYBOX)
    directory = bench.directory("services-50")
    names = [f"bench-{number}" for number in range(bench.size(_SERVICES))]

    # As a first process it would not hear of another signal, and its end takes no part.
    what = f"image: {image}\n    command: {json.dumps(_FOR_LONG)}\n    stop_signal: SIGKILL\n"
    services = "".join(f"  {name}:\n    {what}" for name in names)
    fixtures.write(f"{directory}/compose.yaml", f"services:\n{services}")

    def each(*command: str) -> tuple[tuple[str, ...], ...]:
        return tuple((*command, f"--name={name}", image, *_FOR_LONG) for name in names)

    docker = loaded_docker(bench, image)
    compose = docker is not None and _has_compose(bench)
    words = ("docker", "compose", "--project-name=bench")
    alone = processes()

    def clear(_: int) -> None:
        """End what all of them have started, and wait until it is gone: what ends takes as much as what starts."""
        bench.run(bench.pybuild_path, "down", cwd=directory, check=False)
        bench.run(bench.pybuild_path, "rm", "-f", *names, check=False)
        if docker is not None and compose:
            bench.run(*docker.client()[:-1], *words, "down", "--timeout=0", cwd=directory, check=False)
        elif docker is not None:
            bench.run(*docker.client(), "rm", "-f", *names, check=False)
        settle(alone)

    contenders = [
        isolated(bench.pybuild("up", "-d", cwd=directory, name="pybuild up", prepare=clear)),
        isolated(Contender("pybuild run", each(bench.pybuild_path, "run", "-d"), directory, bench.env, clear)),
    ]
    if docker is not None and compose:
        contenders.append(Contender("docker compose", ((*words, "up", "-d"),), directory, docker.env, clear))
    elif docker is not None:
        contenders.append(Contender("docker run", each("docker", "run", "-d"), directory, docker.env, clear))
    try:
        samples = race(contenders, bench.rounds(3), warm_up=1)
    finally:
        clear(0)
        if docker is not None:
            docker.stop()
    return Report(
        "services-50",
        f"{len(names)} services in the background, on the default network",
        samples,
        [at_least("docker run" if docker is None else contenders[-1].name, "pybuild up", 5)],
        ["with `run` a command a service; with `up` one command for all of them, and a network that they share"],
    )


def processes() -> int:
    """How many there are in the benchmark's private place, without those that have ended: nobody takes note of that."""
    number = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
                number += bool(file.read(1))
    return number


def settle(number: int) -> None:
    """Wait until there are no more than that many processes, and the kernel has taken their namespaces apart."""
    end = time.monotonic() + _PATIENCE
    while processes() > number and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(_TAKING_APART)


def isolated(contender: Contender) -> Contender:
    """The command under test on its own default network, where the workbench says the host's."""
    return replace(contender, env={**contender.env, "PYBUILD_NETWORK": ""})


def loaded_docker(bench: Workbench, *images: str) -> FreshDocker | None:
    """A docker with its default network that has images; the caller stops it. None where docker is no peer."""
    if not bench.has("docker"):
        return None
    archive = f"{bench.root}/tmp/images.tar"
    bench.run("docker", "save", "-o", archive, *images)
    docker = FreshDocker(f"{bench.root}/engines/networked", bench.env, networked=True)
    try:
        docker.renew()
        bench.run(*docker.client(), "load", "-i", archive)
    except BaseException:
        docker.stop()
        raise
    finally:
        os.unlink(archive)
    return docker


def _has_compose(bench: Workbench) -> bool:
    done = subprocess.run(("docker", "compose", "version"), env=bench.env, capture_output=True, check=False)
    return done.returncode == 0


def _runtime(bench: Workbench, name: str, directory: str) -> Contender:
    spec = bundle(bench, name, f"{directory}/{name}")
    quota = {"quota": _CPUS * _PERIOD, "period": _PERIOD}
    spec["linux"]["resources"] |= {"memory": {"limit": _MEMORY}, "pids": {"limit": _PROCESSES}, "cpu": quota}
    return run_bundle(bench, name, f"{directory}/{name}", spec)
