"""All cases by group, and by name."""

from __future__ import annotations

from tests.peers.corpus import adding, config, copying, edges, fetching, ignoring, running, stages, words

GROUPS = {
    "adding": adding.CASES,
    "config": config.CASES,
    "copying": copying.CASES,
    "edges": edges.CASES,
    "fetching": fetching.CASES,
    "ignoring": ignoring.CASES,
    "running": running.CASES,
    "stages": stages.CASES,
    "words": words.CASES,
}
CASES = {case.name: case for cases in GROUPS.values() for case in cases}
