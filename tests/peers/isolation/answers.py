"""The stored facts of docker, runc and crun: the first engine's in full, of each other what differs from it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from tests.peers.isolation.inside import Facts

STORED = Path(__file__).parent.parent / "answers" / "isolation.json"
ENGINES = ("docker build", "docker run", "runc", "crun")


class Answers(NamedTuple):
    """`machine` is that of `machine()`, `versions` of the engines are there to be read."""

    machine: str
    versions: dict[str, str]
    facts: dict[str, Facts]


def machine() -> str:
    """What the kernel's part of the facts depends on: the architecture, the kernel's release, the control groups."""
    uname = os.uname()
    groups = sorted(line.split(":")[1] for line in Path("/proc/self/cgroup").read_text().splitlines())
    return f"{uname.machine}, Linux {'.'.join(uname.release.split('.')[:2])}, cgroups {' '.join(groups).strip()}"


def depends_on_machine(name: str) -> bool:
    """Whether a fact may be another one with another kernel."""
    parts = ("syscall/", "socket/", "personality/", "clone/", "attempt/", "sysctl/", "status/", "prctl/", "process/")
    parts += ("path/proc", "path/sys", "mount/proc", "mount/sys", "names/sys", "cgroup/", "limit/")
    return name.partition(" ")[2].startswith(parts)


def store(answers: Answers) -> None:
    """Write them."""
    first = answers.facts[ENGINES[0]]
    facts: dict[str, dict[str, str | None]] = {ENGINES[0]: dict(first)}
    for engine in ENGINES[1:]:
        known = answers.facts[engine]
        names = [*known, *[name for name in first if name not in known]]
        facts[engine] = {name: known.get(name) for name in names if known.get(name) != first.get(name)}
    document = {"machine": answers.machine, "versions": answers.versions, "facts": facts}
    STORED.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def stored() -> Answers:
    """Read them."""
    document = json.loads(STORED.read_text())
    first = document["facts"][ENGINES[0]]
    facts = {}
    for engine in ENGINES:
        merged = {**first, **document["facts"][engine]}
        facts[engine] = {name: value for name, value in merged.items() if value is not None}
    return Answers(document["machine"], document["versions"], facts)
