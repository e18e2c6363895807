"""The graph of every Dockerfile of the corpus is the one it was: what a Buildfile has of its own changes none of them.

`graphs.json` has a digest a case, of what the keys of its steps are made of,
of how they are run, and of the image. To record them anew, after a change
that is meant to change graphs: `python -m tests.frontend.test_corpus_graphs`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import pytest

from buildkit_py.digest import blake3_hex
from buildkit_py.errors import PybuildError
from buildkit_py.graph.op import LocalSource
from buildkit_py.graph.step import Step, in_order, inputs
from buildkit_py.solver.keys import op_parts
from tests.frontend.convert.both import as_buildfile
from tests.frontend.convert.test_corpus import settings
from tests.peers.cases import CASES

KNOWN = Path(__file__).with_name("graphs.json")


def digest(name: str, directory: Path) -> str:
    """Of the graph and image that a case comes to; that of its error where it comes to none."""
    case = CASES[name]
    case.write(directory)
    file = directory / (dict(zip(case.options[::2], case.options[1::2], strict=True)).get("-f") or "Dockerfile")
    text = file.read_bytes().decode()
    try:
        made = as_buildfile(text, directory, file=str(file), **settings(case.options))
    except PybuildError as refusal:
        return f"error: {type(refusal).__name__}"
    steps = list(in_order([made.step] if made.step is not None else []))
    number = {step: at for at, step in enumerate(steps)}
    graph = [(_own(step), step.base is None, [number[other] for other in inputs(step)]) for step in steps]
    whole = (graph, made.config, made.history, made.author, made.platform, made.host, made.tags, made.outputs)
    return blake3_hex(repr(whole).encode("utf-8", "surrogateescape"))[:16]


def _own(step: Step) -> object:
    if isinstance(step.op, LocalSource):
        return "local", step.op.ignore
    return op_parts(step.op), getattr(step.op, "policy", None)


@pytest.mark.parametrize("name", CASES)
def test_the_graph_is_the_one_it_was(name: str, tmp_path: Path) -> None:
    assert digest(name, tmp_path) == json.loads(KNOWN.read_text())[name]


def test_every_case_is_known() -> None:
    known = json.loads(KNOWN.read_text())
    assert set(known) == set(CASES)
    assert len({value for value in known.values() if not value.startswith("error")}) > 200


def _record() -> None:
    known = {}
    for name in sorted(CASES):
        with tempfile.TemporaryDirectory() as directory:
            known[name] = digest(name, Path(directory))
    KNOWN.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(_record())
