"""A world: a home, a store and a project of one test, and pybuild run in it by root or by an ordinary user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
INTERNAL_ERROR = 70


class World:
    """`python` is the interpreter that the user may start, `prefix` the command that becomes the user."""

    def __init__(self, top: Path, mode: str, python: str, prefix: tuple[str, ...], library: str) -> None:
        self.top = top
        self.mode = mode
        self.project = top / "project"
        self.store = top / "store"
        self._python = python
        self.prefix = prefix
        self._library = library
        self.env: dict[str, str] = {}
        self.project.mkdir()

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Files of the project, by path."""
        for name, content in files.items():
            path = self.project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            for made in (path, *path.parents):
                if made == self.project.parent:
                    break
                if self.prefix:
                    os.chown(made, self.project.stat().st_uid, self.project.stat().st_gid)

    def command(self, *argv: str) -> list[str]:
        """The whole command line of a pybuild command."""
        return [*self.prefix, self._python, "-m", "buildkit_py", *argv]

    def environment(self, **env: str) -> dict[str, str]:
        """Nothing of ours but where the system's files are."""
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.top / "home"),
            "PYBUILD_HOME": str(self.store),
            "PYTHONPATH": self._library,
            "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C.UTF-8",
            **self.env,
            **env,
        }

    def run(self, *argv: str, ok: bool = True, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Run pybuild in the project. With `ok` it has to succeed."""
        done = subprocess.run(
            self.command(*argv),
            cwd=self.project,
            env=self.environment(**env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        if ok:
            assert done.returncode == 0, f"{argv}: exit code {done.returncode}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode != INTERNAL_ERROR, done.stderr
        return done

    def build(self, *argv: str, ok: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        """`pybuild build --progress=plain … .`"""
        return self.run("build", "--progress=plain", *argv, ".", ok=ok, **env)

    def ran(self, done: subprocess.CompletedProcess[str]) -> list[str]:
        """Names of the steps that ran in a build with plain progress, in the order of their numbers."""
        names: dict[str, str] = {}
        finished = set()
        for line in done.stderr.splitlines():
            number, _, rest = line.partition(" ")
            if number.startswith("#") and rest.startswith("["):
                names[number] = rest
            elif number.startswith("#") and rest.startswith("DONE"):
                finished.add(number)
        return [names[number] for number in sorted(finished, key=lambda text: int(text[1:]))]

    def out(self, *argv: str) -> Path:
        """Build and write the filesystem to a directory; that directory."""
        target = self.project / "out"
        shutil.rmtree(target, ignore_errors=True)
        self.build("-o", str(target), *argv)
        return target


def libraries(python: str, base: Path) -> str:
    """A PYTHONPATH for an interpreter: this repository, and the dependencies where its own lack them."""
    packages = ("lark", "blake3", "zstandard", "typeguard", "rich", "obstore", "cryptography", "watchfiles", "yaml")
    done = subprocess.run([python, "-c", f"import {', '.join(packages)}"], capture_output=True, check=False)
    if done.returncode == 0:
        return str(REPOSITORY)
    target = base / "libraries"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--target", str(target), *packages[:-1], "PyYAML"],
        check=True,
        capture_output=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    subprocess.run(["chmod", "-R", "a+rX", str(target)], check=True)
    return f"{REPOSITORY}:{target}"


def this_python() -> str:
    """The interpreter of the tests."""
    return sys.executable
