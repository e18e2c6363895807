"""Which Buildfile and which context a command line means."""

from __future__ import annotations

import pytest

from buildkit_py.cli.locate import locate
from buildkit_py.errors import ContextError, UsageError
from buildkit_py.frontend.files import NAMES


@pytest.fixture
def project(tmp_path):
    for path in ("app/Dockerfile", "app/Buildfile", "app/other", "Special", "empty/x"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("FROM scratch\n")
    return tmp_path


@pytest.mark.parametrize(
    ("operand", "file", "expected"),
    [
        ("app", "", ("app/Buildfile", "app")),
        ("app/Dockerfile", "", ("app/Dockerfile", "app")),
        ("./app/../app/", "", ("app/Buildfile", "app")),
        ("Special", "", ("Special", "")),
        ("app", "Special", ("Special", "app")),
        ("app", "app/other", ("app/other", "app")),
        ("app", "other", ("app/other", "app")),
    ],
)
def test_found(project, operand, file, expected):
    want = tuple(f"{project}/{path}".rstrip("/") for path in expected)
    assert locate(operand, file, str(project)) == want


def test_standard_input(project):
    assert locate("-", "", str(project)) == ("", "-")
    assert locate("-", "app/other", str(project)) == ("app/other", "-")
    assert locate("app", "-", str(project)) == ("-", f"{project}/app")


@pytest.mark.parametrize("have", range(len(NAMES)))
def test_the_first_name_wins(tmp_path, have):
    for name in NAMES[have:]:
        (tmp_path / name).write_text("")
    file, _ = locate(".", "", str(tmp_path))
    assert file == f"{tmp_path}/{NAMES[have]}"


@pytest.mark.parametrize(
    ("operand", "file", "kind", "message"),
    [
        ("", "", UsageError, "no Buildfile and no context is named"),
        ("gone", "", ContextError, "there is no `gone`"),
        ("empty", "", ContextError, "`empty` has no Buildfile"),
        ("app", "gone", ContextError, "there is no Buildfile `gone`"),
        ("app", "empty", ContextError, "the Buildfile `empty` is a directory"),
        ("Special", "app/other", UsageError, "the Buildfile is named twice"),
    ],
)
def test_refused(project, operand, file, kind, message):
    with pytest.raises(kind, match=message):
        locate(operand, file, str(project))


@pytest.mark.parametrize(
    "context", ["https://h/x.git#main", "git@h:x", "github.com/o/r", "ssh://h/x", "http://h/x.tar"]
)
def test_addresses_stay_as_they_are(project, context):
    assert locate(context, "sub/File", str(project)) == ("sub/File", context)
