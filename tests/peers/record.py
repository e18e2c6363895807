"""`python -m tests.peers.record [GROUP…]` asks docker for its answers and stores them in tests/peers/answers."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.peers.answer import Archive, answer_of
from tests.peers.case import SITE, Case
from tests.peers.cases import CASES, GROUPS
from tests.peers.daemon import Docker, docker_daemon
from tests.peers.site import site

ANSWERS = Path(__file__).parent / "answers"
SEALS = ANSWERS / "seals.json"


def load_base(docker: Docker, layout: Path) -> None:
    """The base image into docker, as `busybox`, which a build then finds without asking anyone."""
    from tests.peers.base import docker_archive

    docker("load", stdin=docker_archive(layout))


def ask(docker: Docker, case: Case, base: dict[str, str], address: str) -> dict[str, Any]:
    """Docker's answer to a case; `address` is that of the server of those that fetch."""
    with tempfile.TemporaryDirectory(dir=docker.directory) as made:
        project = Path(made) / "project"
        project.mkdir()
        case.write(project, address)
        failure = docker.build("answer", project, case.options)
        # A daemon that broke down gives no answer. One that remembers gives that of another case: it takes
        # a file of the same name, size and time for the one it was sent before.
        docker("builder", "prune", "-af")
        if failure:
            return {"error": failure.replace(address, SITE)}
        docker("save", "-o", f"{made}/image.tar", "answer")
        docker("image", "rm", "-f", "answer")
        return answer_of(Path(made) / "image.tar", base, address)


def version(docker: Docker) -> str:
    """Of the daemon."""
    return docker("version", "--format={{.Server.Version}}").strip()


def seal(docker_version: str, case: Case, answer: dict[str, Any]) -> str:
    """A digest of what was asked, which docker, and what it answered."""
    said = repr((docker_version, case, json.dumps(answer, sort_keys=True)))
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def main(groups: Sequence[str]) -> None:
    """Record the groups, all where none is named."""
    from tests.behaviour.base_image import busybox_layout
    from tests.peers.base import layout_archive

    with docker_daemon() as docker, site(docker.directory / "site") as address:
        layout = docker.directory / "busybox"
        busybox_layout(layout)
        load_base(docker, layout)
        _, base = Archive(layout_archive(layout, docker.directory / "busybox.tar")).image()
        seals, docker_version = json.loads(SEALS.read_text()), version(docker)
        for group in groups or GROUPS:
            answers = {case.name: ask(docker, case, base, address) for case in GROUPS[group]}
            seals |= {case.name: seal(docker_version, case, answers[case.name]) for case in GROUPS[group]}
            text = json.dumps(answers, indent=1, ensure_ascii=False)
            (ANSWERS / f"{group}.json").write_text(text + "\n")
            SEALS.write_text(json.dumps({name: seals[name] for name in CASES if name in seals}, indent=1) + "\n")
            print(f"{group}: {len(answers)} answers", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
