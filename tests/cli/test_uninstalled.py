"""pybuild runs from its source alone: it asks nobody for a distribution of its name, which need not be installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.process import environment

# As if no package of that name were installed.
HIDE = """
import importlib.metadata as metadata, sys
def distribution(name):
    raise metadata.PackageNotFoundError(name)
metadata.distribution = distribution
sys.argv[0] = "pybuild"
from buildkit_py.cli.main import main
sys.exit(main())
"""


@pytest.mark.parametrize("argv", [("version",), ("info", "--json"), ("--version",)])
def test_its_version_is_known(argv: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, "-c", HIDE, *argv]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(tmp_path), check=False)
    assert done.returncode == 0, done.stderr
    version = json.loads(done.stdout)["version"] if argv[0] == "info" else done.stdout.split()[1]
    assert version[0].isdigit()
