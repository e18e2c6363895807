"""`cache du | prune | verify` and `info`: looking after a store and a machine."""

from __future__ import annotations

import json

import pytest

from tests.cli.busybox import put_busybox
from tests.cli.process import pybuild


def test_du_counts_what_is_there(tmp_path):
    digest = put_busybox(tmp_path)
    lines = pybuild(tmp_path, "cache", "du").stdout.splitlines()
    assert lines[0].split() == ["KIND", "COUNT", "ON", "DISK"]
    assert lines[-1].split()[0] == "total"
    shares = json.loads(pybuild(tmp_path, "cache", "du", "--json").stdout)
    assert shares["blobs"]["count"] == 3
    assert shares["images"]["count"] == 1
    blob = tmp_path / "store/blobs/sha256" / digest[7:]
    assert shares["blobs"]["bytes"] > blob.stat().st_size


def test_prune_keeps_images_unless_all(tmp_path):
    put_busybox(tmp_path)
    assert pybuild(tmp_path, "cache", "prune").returncode == 0
    assert json.loads(pybuild(tmp_path, "cache", "du", "--json").stdout)["blobs"]["count"] == 3
    done = pybuild(tmp_path, "cache", "prune", "--all", "--json")
    assert json.loads(done.stdout)["blobs"]["count"] == 3
    assert json.loads(pybuild(tmp_path, "images", "--json").stdout) == []


def test_verify_finds_damage_and_takes_it_out_of_use(tmp_path):
    digest = put_busybox(tmp_path)
    good = pybuild(tmp_path, "cache", "verify")
    assert (good.returncode, good.stdout) == (0, "nothing is damaged\n")
    blob = tmp_path / "store/blobs/sha256" / digest[7:]
    blob.chmod(0o600)
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    kept = pybuild(tmp_path, "cache", "verify", "--keep")
    assert kept.returncode == 5
    assert digest in kept.stdout
    assert blob.exists()
    found = json.loads(pybuild(tmp_path, "cache", "verify", "--json").stdout)
    assert digest in [problem["name"] for problem in found]
    assert not blob.exists()
    assert pybuild(tmp_path, "cache", "verify").returncode == 0


def test_verify_reads_the_unpacked_files_of_a_pulled_layer(tmp_path):
    put_busybox(tmp_path)
    assert pybuild(tmp_path, "run", "box", "--", "true").returncode == 0
    [busybox] = (tmp_path / "store/layers").glob("*/diff/bin/busybox")
    busybox.write_bytes(busybox.read_bytes()[:-1] + b"?")
    assert pybuild(tmp_path, "cache", "verify", "--no-trees").returncode == 0
    found = pybuild(tmp_path, "cache", "verify")
    assert (found.returncode, "its unpacked files are not what it says" in found.stdout) == (5, True), found
    assert not busybox.exists()
    assert pybuild(tmp_path, "run", "box", "--", "true").returncode == 0
    assert pybuild(tmp_path, "cache", "verify").returncode == 0


def test_a_store_that_is_none(tmp_path):
    (tmp_path / "store").write_text("a file")
    for argv in (("images",), ("cache", "du"), ("run", "box")):
        done = pybuild(tmp_path, *argv)
        assert done.returncode == (125 if argv[0] == "run" else 5)
        assert str(tmp_path / "store") in done.stderr
        assert "Traceback" not in done.stderr


def test_info_names_what_there_is(tmp_path):
    done = pybuild(tmp_path, "info")
    assert done.returncode == 0
    assert f"{tmp_path}/store" in done.stdout
    assert "isolated network" in done.stdout
    facts = json.loads(pybuild(tmp_path, "info", "--json").stdout)
    assert facts["store"] == f"{tmp_path}/store"
    assert {"name", "ok", "detail", "fix"} <= set(facts["findings"][0])


@pytest.mark.parametrize(
    ("argv", "owner"),
    [
        (("prune", "--by=kind"), "du"),
        (("du", "--cache-max=5"), "prune"),
        (("keygen", "--by=kind", "FILE"), "du"),
        (("verify", "--by=step"), "du"),
        (("audit", "--cache-max=1", "IMAGE"), "prune"),
        (("verify", "--all"), "prune"),
    ],
)
def test_an_option_belongs_to_one_word(tmp_path, argv, owner):
    done = pybuild(tmp_path, "cache", *argv)
    assert (done.returncode, f"hint: it belongs to `{owner}`" in done.stderr) == (2, True)
