"""Every Dockerfile of the corpus, converted: the Buildfile.py makes the same graph and the same image."""

from __future__ import annotations

import pytest

from buildkit_py.errors import PybuildError
from tests.frontend.convert.both import as_buildfile, as_python, shape
from tests.peers.cases import CASES

TAKES = {"--build-arg": "build_args", "--add-host": "hosts", "--network": "network", "--target": "target"}


def settings(options):
    """A case's options that decide the graph."""
    out = {}
    for name, value in zip(options[::2], options[1::2], strict=True):
        key = TAKES.get(name)
        if key in ("build_args", "hosts"):
            pair = tuple(value.split(":" if key == "hosts" else "=", 1))
            out[key] = (*out.get(key, ()), pair)
        elif key:
            out[key] = value
    return out


@pytest.mark.parametrize("name", CASES)
def test_the_converted_file_makes_the_same_graph(name, tmp_path):
    case = CASES[name]
    case.write(tmp_path)
    file = tmp_path / (dict(zip(case.options[::2], case.options[1::2], strict=True)).get("-f") or "Dockerfile")
    own_rules = file.with_name(file.name + ".dockerignore")
    if own_rules.exists():
        (tmp_path / "Buildfile.py.dockerignore").write_bytes(own_rules.read_bytes())
    text = file.read_bytes().decode()
    given = settings(case.options)
    try:
        wanted = as_buildfile(text, tmp_path, file=str(file), **given)
    except PybuildError as refusal:
        if "used before it is defined" in refusal.message:
            return  # in Python a function may stand below its callers
        wanted = None
    for words, refused in (
        ("AS $", "a variable in the name of a stage"),
        ("ARG Y_$", "a variable in the name of an ARG"),
    ):
        if words in text:
            with pytest.raises(PybuildError, match=refused):
                as_python(text, tmp_path, **given)
            return
    if wanted is None:
        with pytest.raises(PybuildError):
            as_python(text, tmp_path, **given)
        return
    made = as_python(text, tmp_path, **given)
    assert shape(made.step) == shape(wanted.step)
    assert made.config == wanted.config
    assert (made.platform, made.author, made.host) == (wanted.platform, wanted.author, wanted.host)
