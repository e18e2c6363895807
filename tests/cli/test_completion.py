"""Completion scripts: shells accept them, and bash's answers."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from buildkit_py.cli.completion import SHELLS, script
from buildkit_py.cli.main import COMMANDS
from tests.needs import need


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_parses_it(tmp_path, shell):
    path = tmp_path / "script"
    path.write_text(script(shell))
    for name in COMMANDS:
        assert name in path.read_text()
    if shell == "bash":
        need("bash")
    if shutil.which(shell):
        done = subprocess.run([shell, "-n", path], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "some", "none"),
    [
        (["pybuild", "im"], {"images"}, {"run"}),
        (["pybuild", "build", "--no-"], {"--no-cache", "--no-cache-filter"}, {"--tag"}),
        (["pybuild", "build", "--progress", ""], {"auto", "plain", "json"}, {"images"}),
        (["pybuild", "build", "--progress", "=", "p"], {"plain"}, {"auto"}),
        (["pybuild", "cache", ""], {"du", "prune", "verify"}, set()),
        (["pybuild", "Buildfile.py", "--dry"], {"--dry-run"}, set()),
        (["pybuild", "build", "-f", "Buil"], {"Buildfile"}, {"other"}),
        (["pybuild", "run", "--net"], {"--network"}, set()),
        (["pybuild", "run", "de"], {"debian"}, {"alpine"}),
        (["pybuild", "build", "--jobs", ""], set(), {"auto", "--jobs"}),
    ],
)
def test_bash_offers(tmp_path, words, some, none):
    need("bash")
    for name in ("Buildfile", "other"):
        (tmp_path / name).write_text("")
    # The script asks pybuild for the images; here is one that answers.
    stand_in = tmp_path / "bin/pybuild"
    stand_in.parent.mkdir()
    stand_in.write_text("#!/bin/sh\necho debian\necho alpine\n")
    stand_in.chmod(0o755)
    quoted = " ".join(f"'{word}'" for word in words)
    asked = (
        f"PATH={stand_in.parent}:$PATH\n{script('bash')}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}\n"
        '_pybuild; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, cwd=tmp_path, check=True)
    offered = set(done.stdout.split())
    assert some <= offered
    assert not none & offered
    assert done.stderr == ""
