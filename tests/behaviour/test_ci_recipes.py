"""The recipes of docs/how-to/ci-cache.md, run as they stand, from a clean checkout to a second job without a step."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.behaviour.world import REPOSITORY, World
from tests.needs import need

PAGE = REPOSITORY / "docs/how-to/ci-cache.md"
DOCKERFILE = """\
FROM oci-layout://{layout} AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/c,key=go.sum touch /c/seen; cat main.go > /made; cat /proc/sys/kernel/random/uuid > /id
TEST --name=made test -s /made
FROM oci-layout://{layout}
COPY --from=build /made /id /app/
"""


class Recipe:
    """A section of the page: its commands in order, those that install pybuild, and what CI is told to keep."""

    def __init__(self, heading: str) -> None:
        section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        (block,) = re.findall(r"^```(?:yaml|sh)\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        lines = [line.strip().removeprefix("- ").removeprefix("run: ") for line in block.splitlines()]
        self.installs = [line for line in lines if line.startswith("pip install ")]
        self.commands = [line for line in lines if line.startswith("pybuild ")]
        self.keeps = set(re.findall(r"^\s+(?:path: |- )(\.[\w-]+)/?$", block, re.MULTILINE))
        # Else a line that starts pybuild in some other way would not be run, and nobody would know.
        assert block.count("pybuild ") == len(self.commands)


GITHUB = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_REPOSITORY": "team/shop",
    "GITHUB_JOB": "image",
    "GITHUB_RUN_ATTEMPT": "1",
    "GITHUB_EVENT_NAME": "push",
    "RUNNER_NAME": "runner",
}
GITLAB = {"CI": "true", "GITLAB_CI": "true", "CI_SERVER_URL": "https://gitlab.example", "CI_PIPELINE_SOURCE": "push"}


class Runner:
    """Runs jobs of one repository, each on a machine that has nothing but what the CI system kept."""

    def __init__(self, world: World, recipe: Recipe) -> None:
        self.world = world
        self.recipe = recipe
        self.kept = world.top / "kept"
        self.repository = world.top / "repository"
        *self._prefix, python, _, _ = world.command()
        (world.top / "bin").mkdir()
        program = world.top / "bin/pybuild"
        program.write_text(f'#!/bin/sh\nexec {python} -m buildkit_py "$@"\n')
        program.chmod(0o755)

    def job(self, number: int, where: dict[str, str], env: dict[str, str]) -> list[str]:
        """What each command of the recipe said. `where` is the variable that names the checkout."""
        checkout = self.world.top / "checkout"
        shutil.rmtree(checkout, ignore_errors=True)
        self._run("git", "clone", "-q", str(self.repository), str(checkout), at=self.world.top, env={})
        for name in self.recipe.keeps:
            if (self.kept / name).exists():
                self._run("cp", "-a", str(self.kept / name), str(checkout / name), at=checkout, env={})
        variables = {
            **env,
            **{name: str(checkout) for name in where},
            "PYBUILD_HOME": str(self.world.top / f"s{number}"),
        }
        said = [self._run("sh", "-ec", command, at=checkout, env=variables) for command in self.recipe.commands]
        for name in self.recipe.keeps:
            shutil.rmtree(self.kept / name, ignore_errors=True)
            self._run("mkdir", "-p", str(self.kept), at=checkout, env={})
            self._run("cp", "-a", str(checkout / name), str(self.kept / name), at=checkout, env={})
        return said

    def _run(self, *command: str, at: Path, env: dict[str, str]) -> str:
        base = self.world.environment(**env)
        base["PATH"] = f"{self.world.top}/bin:{base['PATH']}"
        done = subprocess.run(
            [*self._prefix, *command], cwd=at, env=base, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stderr}"
        return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("heading", "where", "env", "number"),
    [
        ("GitHub", "GITHUB_WORKSPACE", GITHUB, "GITHUB_RUN_ID"),
        ("GitLab", "CI_PROJECT_DIR", GITLAB, "CI_JOB_ID"),
        ("A directory that stays", "", {}, ""),
    ],
)
def test_the_second_job_runs_no_step(
    world: World, base_layout: Path, heading: str, where: str, env: dict[str, str], number: str
) -> None:
    need("git")
    recipe = Recipe(heading)
    assert recipe.installs == (["pip install buildkit-py"] if where else [])
    assert recipe.keeps == ({".pybuild-cache"} if where else set())
    runner = Runner(world, recipe)
    world.write(
        {
            "Dockerfile": DOCKERFILE.format(layout=base_layout),
            ".dockerignore": ".git\n",
            "main.go": "package main\n",
            "go.sum": "a v1 h1:x=\n",
        }
    )
    for command in (
        ("init", "-q"),
        ("add", "-A"),
        ("-c", "user.name=a", "-c", "user.email=a@example", "commit", "-qm", "first"),
        ("clone", "-q", "--bare", ".", str(runner.repository)),
    ):
        runner._run("git", *command, at=world.project, env={})

    said = []
    for job in (1, 2, 3):
        variables = {**env, "CACHES": str(world.top / "caches")} | ({number: str(job)} if number else {})
        said.append(runner.job(job, {where: ""} if where else {}, variables))
    ran = [[int(count) for count in re.findall(r"(\d+) ran, \d+ cached", "".join(each))] for each in said]
    passed = [re.findall(r"1 passed in .*", "".join(each)) for each in said]
    assert ran[0][-1] > 0
    assert [counts[-1] for counts in ran[1:]] == [0, 0]
    assert all("(1 cached)" in each[0] for each in passed[1:])
    assert "(1 cached)" not in passed[0][0]
    assert "1 mounts" in said[0][-1]
    assert all("0 bytes sent" in each[-1] for each in said[1:])
