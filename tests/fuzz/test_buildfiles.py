"""The short form of the fuzzing: the same inputs in each run, so that a failure stays one."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.buildfiles import attempt, hold_checks, hold_form, lark_once, mutated, seeds

ROOT = Path(__file__).resolve().parents[2]
KNOWN = seeds()


@pytest.mark.parametrize("seed", range(8))
def test_any_text_becomes_a_graph_or_an_error_of_ours(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    lowered = 0
    with lark_once():
        for _ in range(60):
            data = mutated(chance, KNOWN)
            lowered += not attempt(data, str(tmp_path))
            hold_form(data)
            hold_checks(data, str(tmp_path))
    assert lowered, "all inputs were refused, which tells little"


def test_the_command_runs_and_counts() -> None:
    command = (sys.executable, "-m", "tests.fuzz", "--minutes", "0.02", "--seed", "7")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("seed 7\n")
    assert "nothing broke" in done.stdout
