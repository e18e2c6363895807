"""`python -m tests.peers.isolation.record` asks docker, runc and crun for their facts and stores them."""

from __future__ import annotations

import subprocess

from tests.peers.daemon import Docker, docker_daemon
from tests.peers.isolation.answers import Answers, machine, store
from tests.peers.isolation.inside import Facts, compile_probe, docker_build, docker_run, runtime, write_context


def ask(docker: Docker) -> dict[str, Facts]:
    """The facts of every engine of `ENGINES`."""
    project = docker.directory / "isolation"
    project.mkdir()
    compile_probe(docker.directory / "probe")
    write_context(project, docker.directory / "probe")
    return {
        "docker build": docker_build(docker, project),
        "docker run": docker_run(docker, project),
        "runc": runtime(docker, "runc"),
        "crun": runtime(docker, "crun"),
    }


def main() -> None:
    """Ask, and store."""
    with docker_daemon() as docker:
        versions = {"docker": docker("version", "--format", "{{.Server.Version}}").strip()}
        for program in ("runc", "crun"):
            done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
            versions[program] = done.stdout.splitlines()[0].split()[-1]
        store(Answers(machine(), versions, ask(docker)))


if __name__ == "__main__":
    main()
