"""Every case of the corpus built by pybuild and held against docker's answer: files, config and history.

The answers are stored, so this runs where docker is not; `python -m tests.peers.record` stores them anew.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.world import World
from tests.needs import need
from tests.peers.answer import Archive, answer_of, lines
from tests.peers.base import layout_archive
from tests.peers.cases import CASES, GROUPS
from tests.peers.daemon import Docker
from tests.peers.justified import JUSTIFIED, REFUSED, expected
from tests.peers.record import ANSWERS, SEALS, ask, seal, version
from tests.peers.site import site

INTERNAL_ERROR = 70
# Of the answers that this docker gave to these very cases one in so many is asked for again: no test takes longer.
ASKED = int(os.environ.get("PYBUILD_DOCKER_ASKED", "5"))


@functools.cache
def stored() -> dict[str, dict[str, Any]]:
    """All stored answers by name."""
    return {
        name: answer for group in GROUPS for name, answer in json.loads((ANSWERS / f"{group}.json").read_text()).items()
    }


@pytest.fixture(scope="module")
def base_files(base_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the base image has."""
    return Archive(layout_archive(base_layout, tmp_path_factory.mktemp("base") / "base.tar")).image()[1]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server of the cases that fetch."""
    need("git")
    with site(tmp_path_factory.mktemp("site")) as found:
        yield found


def test_each_case_has_an_answer_and_each_exception_a_case() -> None:
    assert len(CASES) == sum(len(cases) for cases in GROUPS.values())
    assert set(CASES) == set(stored())
    assert set(JUSTIFIED) <= set(CASES)
    for name, (changes, _) in JUSTIFIED.items():
        assert expected(name, stored()[name]) != stored()[name], name
        assert changes == REFUSED or "error" not in stored()[name] or changes.get("error", "") is None, name


# Who builds makes a difference where files and processes are made, and nowhere else.
FOR_USERS = {case.name for group in ("adding", "copying", "fetching", "running") for case in GROUPS[group]} - {
    # Nobody but root makes a device, and those of the machine belong to its root, who has no number for others.
    "run device nodes",
    "run sees devices",
}
RUNS = [("root", name) for name in CASES] + [("user", name) for name in CASES if name in FOR_USERS]


@pytest.mark.parametrize(("world", "name"), RUNS, indirect=["world"])
def test_pybuild_answers_as_docker_did(
    name: str, world: World, base_layout: Path, base_files: dict[str, str], address: str
) -> None:
    case = CASES[name]
    case.write(world.project, address)
    done = world.run(
        *("build", "--progress=plain", "--build-context", f"busybox=oci-layout://{base_layout}", *case.options),
        *("-o", "type=oci,compression=uncompressed,dest=../image.tar", "."),
        ok=False,
    )
    wanted = expected(name, stored()[name])
    if "error" in wanted:
        assert done.returncode not in (0, INTERNAL_ERROR), f"{done.stderr}\nwanted: {wanted['error']}"
    else:
        assert done.returncode == 0, done.stderr
        _same(answer_of(world.top / "image.tar", base_files, address), wanted)


def _same(ours: dict[str, Any], dockers: dict[str, Any]) -> None:
    only_ours = [line for line in lines(ours) if line not in lines(dockers)]
    only_dockers = [line for line in lines(dockers) if line not in lines(ours)]
    assert (only_ours, only_dockers) == ([], [])
    assert ours == dockers


@pytest.mark.peers
@pytest.mark.privileged
@pytest.mark.xdist_group("docker")
@pytest.mark.parametrize("group", GROUPS)
def test_docker_still_answers_so(group: str, docker: Docker, base_files: dict[str, str], address: str) -> None:
    """What was stored is what this docker says, so the rest of this file compares with docker itself.

    What another docker said, and what has changed since, is asked for again in any case; PYBUILD_DOCKER_ASKED=1 asks
    for all of it.
    """
    seals, docker_version = json.loads(SEALS.read_text()), version(docker)
    for number, case in enumerate(GROUPS[group]):
        known = stored()[case.name]
        if number % ASKED and seals.get(case.name) == seal(docker_version, case, known):
            continue
        answer = ask(docker, case, base_files, address)
        assert ("error" in answer) == ("error" in known), case.name
        if "error" not in known:
            _same(answer, known)
