"""The case of containers in the background: what it takes to have one there that does nothing."""

from __future__ import annotations

import os

from bench import fixtures
from bench.peak import held
from bench.race import Sample
from bench.registry import BUSYBOX
from bench.verdict import Report, under
from bench.workbench import Workbench

_LIMIT = 12
_SERVICES = 10


def supervisor(bench: Workbench) -> Report:
    """The memory of the supervisor of an idle container: of one, of each of ten, and of each of ten services."""
    image = bench.base(BUSYBOX)
    names = (
        "supervisor",
        "supervisor, all it has in memory",
        "supervisor, checks health",
        "each of 10",
        "each of `up`",
    )
    directory = bench.directory("supervisor")
    services = "".join(f"  s{n}:\n    image: {image}\n    command: [sleep, '1000000']\n" for n in range(_SERVICES))
    fixtures.write(f"{directory}/compose.yaml", f"services:\n{services}")
    ids: list[str] = []

    def start(*options: str) -> int:
        ids.append(bench.run(bench.pybuild_path, "run", "-d", *options, image, "sleep", "1000000").split()[-1])
        return _supervisor(ids[-1])

    try:
        first = start()
        one, whole = held(first), held(first, "Rss")
        times = ("--health-start-period=1h", "--health-start-interval=1ms", "--health-interval=1h")
        checked = start("--health-cmd=true", *times)  # once, and then not again for an hour
        bench.run(bench.pybuild_path, "wait", "--healthy", ids[-1])
        checking = held(checked)
        each = [held(number) for number in (first, checked, *[start() for _ in range(8)])]
        bench.run(bench.pybuild_path, "rm", "-f", *ids)
        ids.clear()
        bench.run(bench.pybuild_path, "up", "-d", cwd=directory)
        ids += bench.run(bench.pybuild_path, "ps", "-q", cwd=directory).split()
        forked = [held(_supervisor(id)) for id in ids]
    finally:
        if ids:
            bench.run(bench.pybuild_path, "rm", "-f", *ids)
    values = ((one,), (whole,), (checking,), each, forked)
    samples = [
        Sample(name, tuple(size / 1e6 for size in sizes), unit="MB") for name, sizes in zip(names, values, strict=True)
    ]
    return Report(
        "supervisor",
        "memory of the supervisor of an idle container",
        samples,
        [under(names[0], _LIMIT), under(names[3], _LIMIT), under(names[4], _LIMIT)],
        [
            "proportional set size, in which the interpreter's own pages count in part: the benchmark has them, too",
            f"`{names[1]}` counts those in full: nowhere is it more",
        ],
    )


def _supervisor(container: str) -> int:
    """The process that looks after a container. Raises `RuntimeError` if there is none."""
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if container.encode() in words and any(b"api.supervise" in word for word in words):
            return int(name)
    raise RuntimeError(f"nobody looks after the container {container}")
