"""Compose files that are wrong anywhere become an error of ours with a place, or what a container is."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from buildkit_py.api.project_request import requests
from buildkit_py.errors import PybuildError
from buildkit_py.frontend.compose.load import load
from tests.fuzz.compose import mutated


@pytest.mark.parametrize("seed", range(6))
def test_any_file_becomes_a_project_or_an_error_of_ours(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    loaded, refused = 0, []
    for _ in range(50):
        (tmp_path / "compose.yaml").write_text(mutated(chance))
        (tmp_path / "over.yaml").write_text(mutated(chance))
        files = ("compose.yaml", "over.yaml") if chance.random() < 0.3 else ("compose.yaml",)
        try:
            project = load(str(tmp_path), {"S": "v"}, files=files, profiles=("*",))
            for service in project.services:
                requests(project, service)
            loaded += 1
        except PybuildError as problem:
            refused.append(str(problem))
    assert not [said for said in refused if not re.match(r"[\w./-]+(:\d+:\d+)?: ", said)]
    assert loaded, "all were refused, which tells little"
