"""`push` and `pull`: through a real registry, from one store to another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.busybox import put_busybox
from tests.cli.process import pybuild
from tests.needs import need
from tests.registry_server import COMMAND, registry_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    need(COMMAND)
    with registry_server(tmp_path / "registry") as host:
        yield host


def test_there_and_back(tmp_path, registry):
    digest = put_busybox(tmp_path)
    name = f"{registry}/team/box:1"
    assert pybuild(tmp_path, "tag", "box", name).returncode == 0
    sent = pybuild(tmp_path, "push", name)
    assert (sent.returncode, sent.stdout) == (0, digest + "\n")
    assert f"#1 push {name}\n" in sent.stderr
    assert "#1 DONE" in sent.stderr

    other = tmp_path / "other"
    other.mkdir()
    got = pybuild(other, "pull", name)
    assert (got.returncode, got.stdout) == (0, digest + "\n")
    assert "#2 layer " in got.stderr
    (image,) = json.loads(pybuild(other, "images", "--json").stdout)
    assert (image["name"], image["digest"]) == (name, digest)
    again = pybuild(other, "pull", name)
    assert "#2 CACHED" in again.stderr
    quiet = pybuild(other, "pull", "-q", name)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, digest + "\n", "")


def test_json_progress_is_json(tmp_path, registry):
    put_busybox(tmp_path, f"{registry}/box:1")
    done = pybuild(tmp_path, "push", "--progress=json", f"{registry}/box:1")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert events[0]["event"] == "build-started"
    assert events[-1]["event"] == "build-finished"
    failed = pybuild(tmp_path, "pull", "--progress=json", f"{registry}/gone:1")
    assert failed.returncode == 4
    last = json.loads(failed.stderr.splitlines()[-1])
    assert (last["event"], last["exit_code"]) == ("error", 4)


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("push", "gone"), 4, "there is no image `gone` in the store"),
        (("pull", "oci-layout://x"), 2, "is no name of an image in a registry"),
        (("pull", "UPPER"), 4, "is not an image name"),
        (("pull",), 2, "needs to be told more"),
    ],
)
def test_refused(tmp_path, argv, code, message):
    done = pybuild(tmp_path, *argv)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_answers(tmp_path):
    done = pybuild(tmp_path, "pull", "127.0.0.1:1/box:1")
    assert done.returncode == 4
    assert "127.0.0.1:1" in done.stderr
