"""`images`, `inspect`, `history`, `tag`, `rmi`: the store's images from outside."""

from __future__ import annotations

import json

import pytest

from tests.cli.process import pybuild
from tests.cli.sample import put_image

A, B = "docker.io/library/a:latest", "localhost:5000/team/b:1.2"


def test_the_table_is_newest_first(tmp_path):
    a = put_image(tmp_path, A, created="2024-01-01T00:00:00Z", cmd="a")
    b = put_image(tmp_path, B, created="2025-01-01T00:00:00Z", cmd="b")
    done = pybuild(tmp_path, "images")
    assert done.returncode == 0
    heads, first, second = done.stdout.splitlines()
    assert heads.split() == ["IMAGE", "DIGEST", "PLATFORM", "CREATED", "SIZE"]
    assert first.startswith("localhost:5000/team/b:1.2   " + b[7:19])
    assert second.split()[:3] == ["a", a[7:19], "linux/amd64"]
    assert pybuild(tmp_path, "images", "-q").stdout.split() == [b, a]
    assert pybuild(tmp_path, "images", "--format", "name").stdout.split() == [B, A]
    assert pybuild(tmp_path, "images", "--format=short").stdout.split() == [B, "a"]
    (newest, _) = json.loads(pybuild(tmp_path, "images", "--format=json").stdout)
    assert newest["digest"] == b
    assert newest["size"] == len("layer of b")


def test_inspect_is_what_docker_tools_read(tmp_path):
    digest = put_image(tmp_path, A, B)
    done = pybuild(tmp_path, "inspect", "a")
    (found,) = json.loads(done.stdout)
    assert found["RepoTags"] == ["a:latest", B]
    assert found["Digest"] == digest
    assert found["Config"] == {"Env": ["PATH=/bin"], "Cmd": ["true"], "Labels": {"a": "b"}}
    assert found["RootFS"]["Type"] == "layers"
    assert (found["Os"], found["Architecture"]) == ("linux", "amd64")


def test_every_way_to_name_an_image(tmp_path):
    digest = put_image(tmp_path, A)
    id = json.loads(pybuild(tmp_path, "images", "--json").stdout)[0]["id"]
    for name in ("a", "a:latest", "library/a", A, digest, digest[7:], digest[7:15], id, id[:19]):
        (found,) = json.loads(pybuild(tmp_path, "inspect", name).stdout)
        assert found["Digest"] == digest


def test_history_is_newest_first(tmp_path):
    put_image(tmp_path, A)
    lines = pybuild(tmp_path, "history", "a").stdout.splitlines()
    assert 'CMD ["true"]' in lines[1]
    assert "0B" in lines[1]
    assert "COPY . / # buildkit" in lines[2]
    assert "13B" in lines[2]
    entries = json.loads(pybuild(tmp_path, "history", "--json", "a").stdout)
    assert [entry["empty_layer"] for entry in entries] == [True, False]


def test_tag_and_rmi(tmp_path):
    digest = put_image(tmp_path, A)
    assert pybuild(tmp_path, "tag", "a", "copy:1").returncode == 0
    assert pybuild(tmp_path, "rmi", "a").stdout == f"removed {A}\n"
    (left,) = json.loads(pybuild(tmp_path, "images", "--json").stdout)
    assert (left["name"], left["digest"]) == ("docker.io/library/copy:1", digest)
    # By the beginning of its digest, now that it has one name only.
    assert pybuild(tmp_path, "rmi", digest[7:17]).stdout == "removed docker.io/library/copy:1\n"
    assert json.loads(pybuild(tmp_path, "images", "--json").stdout) == []


def test_rmi_takes_all_or_nothing(tmp_path):
    put_image(tmp_path, A)
    done = pybuild(tmp_path, "rmi", "a", "gone")
    assert done.returncode == 4
    assert "there is no image `gone`" in done.stderr
    assert len(json.loads(pybuild(tmp_path, "images", "--json").stdout)) == 1
    assert pybuild(tmp_path, "rmi", "-f", "a", "gone").stdout == f"removed {A}\n"


def test_rmi_of_an_image_with_two_names_wants_one(tmp_path):
    digest = put_image(tmp_path, A, B)
    done = pybuild(tmp_path, "rmi", digest)
    assert done.returncode == 2
    assert "hint: say the name that is to go" in done.stderr


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("inspect", "b"), 4, "there is no image `b` in the store"),
        (("inspect", "UPPER"), 2, "is not an image name"),
        (("tag", "a", "x@sha256:" + "0" * 64), 2, "has a digest"),
        (("tag", "a", "-x-"), 2, "unknown option"),
        (("history", "sha256:" + "0" * 64), 4, "there is no image"),
    ],
)
def test_refused(tmp_path, argv, code, message):
    put_image(tmp_path, A)
    done = pybuild(tmp_path, *argv)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr


def test_a_near_name_is_suggested(tmp_path):
    put_image(tmp_path, "docker.io/library/debian:latest")
    assert "hint: did you mean `debian`?" in pybuild(tmp_path, "inspect", "debain").stderr


def test_a_damaged_image_hides_no_other(tmp_path):
    put_image(tmp_path, A)
    digest = put_image(tmp_path, B, cmd="b")
    (tmp_path / "store/blobs/sha256" / digest[7:]).unlink()
    lines = pybuild(tmp_path, "images").stdout.splitlines()
    assert len(lines) == 3
    assert "damaged" in lines[2]
    assert pybuild(tmp_path, "inspect", B).returncode == 5
