"""A step and a run seen from inside, fact by fact, against docker, runc and crun.

Their facts are stored, so this runs where they are not; `python -m tests.peers.isolation.record` stores them anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.behaviour.world import World
from tests.needs import need
from tests.peers.daemon import Docker
from tests.peers.isolation.answers import depends_on_machine, machine, stored
from tests.peers.isolation.differences import (
    COMPARED,
    KINDS,
    PAGE,
    differences,
    gone,
    rows,
    share,
    sums,
    unlisted,
)
from tests.peers.isolation.inside import Facts, compile_probe, pybuild_build, pybuild_run, write_context
from tests.peers.isolation.record import ask

LEAST = 0.98


def test_the_page_says_of_each_difference_where_and_why() -> None:
    assert rows()
    for row in rows():
        assert set(row.places) <= set(COMPARED), row
        assert row.kind in KINDS, row
        assert row.reason, row


@pytest.mark.parametrize("what", ["build", "run"])
@pytest.mark.attack("S11", "S12", by="both")
def test_each_difference_is_listed_with_its_reason(what: str, world: World, tmp_path: Path) -> None:
    compile_probe(tmp_path / "probe")
    write_context(world.project, tmp_path / "probe")
    ours = pybuild_build(world) if what == "build" else pybuild_run(world)
    answers = stored()
    here = answers.machine == machine()
    for place, (done, mode, engine) in COMPARED.items():
        if (done, mode) == (what, world.mode):
            theirs = answers.facts[engine]
            found = differences(_comparable(ours, here), _comparable(theirs, here))
            assert unlisted(place, found) == [], place
            if here:
                assert len(ours) > 1900
                assert gone(place, found) == [], place
                count = len({*ours, *theirs})
                assert share(place, found, count) >= LEAST, place
                assert sums(place, found, count) in PAGE.read_text()


@pytest.mark.peers
@pytest.mark.privileged
@pytest.mark.xdist_group("docker")
def test_the_engines_still_look_so(docker: Docker) -> None:
    """What was stored is what these engines say, so the rest of this file compares with them."""
    need("runc", "crun")
    answers = stored()
    here = answers.machine == machine()
    for engine, facts in ask(docker).items():
        assert differences(_comparable(facts, here), _comparable(answers.facts[engine], here)) == [], engine


def _comparable(facts: Facts, here: bool) -> Facts:
    """Of an answer of another machine, only what no kernel has a part in."""
    return facts if here else {name: value for name, value in facts.items() if not depends_on_machine(name)}
