"""The benchmark's command line: which cases, how many rounds, against whom; prints the tables."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import private, verdict, workbench
from bench.cases import caches, containers, explain, growth, layers, memory, networked, noop, parse, ports, start, steps
from bench.race import Sample
from bench.verdict import Report
from bench.workbench import Workbench

CASES: dict[str, Callable[[Workbench], Report]] = {
    "noop-1k": noop.noop_1k,
    "noop-100k": noop.noop_100k,
    "one-of-100k": noop.one_of_100k,
    "run20": steps.run20,
    "late-edit": steps.late_edit,
    "copy-50k": layers.copy_50k,
    "run-1g": layers.run_1g,
    "pull-run": start.pull_run,
    "unpack-50k": layers.unpack_50k,
    "run-true": start.run_true,
    "run-limited": networked.run_limited,
    "services-50": networked.services_50,
    "port-requests": ports.port_requests,
    "port-connections": ports.port_connections,
    "diamond": steps.diamond,
    "noop-1000-run": noop.noop_1000_run,
    "help": start.help_text,
    "parse": parse.parse,
    "growth-steps": growth.growth_steps,
    "growth-layers": growth.growth_layers,
    "why-100": explain.why_100,
    "lookup-100k": explain.lookup_100k,
    "memory": memory.memory,
    "supervisor": containers.supervisor,
    "cache-cold": caches.cache_cold,
    "cache-edit": caches.cache_edit,
}


def main(script: str, argv: Sequence[str]) -> int:
    """Run the cases named on the command line. Exit code 1: a contender failed; a figure that is missed is no error."""
    arguments = _parser().parse_args(argv)
    for case in arguments.cases:
        if case not in CASES:
            return _refuse(f"there is no case `{case}`; there are {', '.join(CASES)}")
    try:
        peers = workbench.present([name for name in arguments.peers.split(",") if name], workbench.installed)
    except ValueError as problem:
        return _refuse(str(problem))
    if os.geteuid() != 0:
        return _refuse("the benchmark needs root: it makes namespaces, mounts and daemons of its own")
    if not os.access(arguments.pybuild, os.X_OK):
        return _refuse(f"there is no command {arguments.pybuild}: give it with --pybuild")
    root = private.settle()
    if root is None:
        return private.run_inside(script, argv)
    bench = Workbench(root, os.path.abspath(arguments.pybuild), peers, arguments.rounds, arguments.quick)
    try:
        reports = _run(bench, arguments.cases or list(CASES))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    finally:
        bench.close()
    print("\n".join(["", *verdict.summary(reports)]))
    if arguments.json:
        data = {"machine": _machine(bench), "cases": verdict.as_json(reports)}
        Path(arguments.json).write_text(json.dumps(data, indent=1) + "\n")
    return int(any(sample.error for report in reports for sample in report.samples))


def _run(bench: Workbench, names: Sequence[str]) -> list[Report]:
    for key, value in _machine(bench).items():
        print(f"{key:<12}{value}")
    reports = []
    for name in names:
        before = os.getloadavg()[0]
        begin = time.monotonic()
        try:
            report = CASES[name](bench)
        except RuntimeError as problem:
            # What could not even be prepared; the other cases do not stand on it.
            report = Report(name, "not prepared", [Sample("preparation", error=str(problem))])
        report.load = (before, os.getloadavg()[0])
        report.whole = not bench.small
        report.notes.append(f"took {time.monotonic() - begin:.0f} s in all")
        reports.append(report)
        print("\n" + "\n".join(verdict.lines(report)), flush=True)
        bench.tidy()
    return reports


def _machine(bench: Workbench) -> dict[str, str]:
    return {
        "kernel": platform.release(),
        "processors": str(os.cpu_count()),
        "python": bench.run(bench.interpreter, "-c", "import sys; print(sys.version.split()[0])").strip(),
        "pybuild": bench.run(bench.pybuild_path, "--version").strip(),
        "peers": ", ".join(bench.peers),
        "mounts": str(len(private.mount_points())),
    }


def _parser() -> argparse.ArgumentParser:
    beside = os.path.join(os.path.dirname(sys.executable), "pybuild")
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)} (default: all)")
    parser.add_argument("--rounds", type=int, default=0, metavar="N", help="rounds of each case (default: its own)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes, to try it out; judges nothing")
    parser.add_argument("--json", metavar="FILE", help="write every single time to a file as well")
    parser.add_argument("--peers", default=",".join(workbench.PEERS), metavar="LIST", help="default: %(default)s")
    parser.add_argument("--pybuild", default=beside, metavar="PATH", help="the command under test (%(default)s)")
    return parser


def _refuse(message: str) -> int:
    sys.stderr.write(f"bench: {message}\n")
    return 2
