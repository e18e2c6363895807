"""Named volumes: what they begin with, how long they stay, and who can remove them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.containers import LOOP, log, removed_at_the_end, sh, until
from tests.behaviour.world import World


@pytest.fixture
def db(world: World, base_layout: Path) -> Iterator[World]:
    """A world with the image `svc`, which has a directory of data; all its containers go at the end."""
    world.write(
        {
            "Dockerfile": "FROM busybox\n"
            "RUN mkdir -p /data/deep && echo seed > /data/deep/seed && ln -s deep/seed /data/link && chmod 750 /data\n"
            "RUN echo x > /file\n"
        }
    )
    world.run("build", "-t", "svc", f"--build-context=busybox=oci-layout://{base_layout}", ".")
    with removed_at_the_end(world):
        yield world


def run(world: World, script: str, *options: str) -> str:
    return world.run("run", *options, "svc", "sh", "-c", script).stdout


def volumes(world: World) -> list[str]:
    return world.run("volume", "ls", "-q").stdout.split()


def test_it_begins_with_what_the_image_has_and_stays(db: World) -> None:
    first = run(db, "cat /data/link; stat -c %a /data; echo mine > /data/deep/seed; echo new > /data/new", "-v=d:/data")
    assert first.split() == ["seed", "750"]
    assert run(db, "cat /data/link /data/new", "-v", "d:/data").split() == ["mine", "new"]
    assert run(db, "cat /other/new; ls /data", "-v", "d:/other").split() == ["new", "deep", "link"]
    assert run(db, "ls -A /empty; stat -c %a /empty; touch /empty/x", "-v", "e:/empty").split() == ["755"]
    assert run(db, "touch /data/no 2>/dev/null; echo $?", "-v", "d:/data:ro").split() == ["1"]
    assert volumes(db) == ["d", "e"]


def test_files_of_its_own_lie_over_what_is_mounted_at_etc(db: World) -> None:
    db.write({"etc/hosts": "of the directory\n", "etc/resolv.conf": "of the directory\n", "etc/kept": "kept\n"})
    files = ("hosts", "resolv.conf", "hostname")
    script = f"cd /etc; cat {' '.join(files)}; cat kept; echo written > hosts"
    for source in ("./etc", "e"):
        options = ("--hostname=own", "--add-host=db:10.0.0.1", "-v", f"{source}:/etc")
        if source == "e":
            run(db, "echo kept > /x/kept", "-v", "e:/x")
        plain = run(db, f"cd /etc; cat {' '.join(files)}", *options[:2])
        assert run(db, script, *options) == f"{plain}kept\n"
        assert run(db, script, *options, "--tmpfs=/etc/kept.d") == f"{plain}kept\n"
    assert (db.project / "etc/hosts").read_text() == "of the directory\n"
    # What is mounted at one of them lies over that, as ever.
    db.write({"mine": "mine\n"})
    assert run(db, "cat /etc/hosts", "-v", "./etc:/etc", "-v", "./mine:/etc/hosts") == "mine\n"


def test_owners_come_along(db: World) -> None:
    db.write({"Dockerfile.own": "FROM svc\nRUN chown -R 7:8 /data\n"})
    script = "stat -c %u:%g /data /data/deep/seed"
    done = db.run("run", "-v", "own:/data", "Dockerfile.own", "sh", "-c", script)
    assert done.stdout.split() == ["7:8", "7:8"]


def test_of_a_container_in_the_background(db: World) -> None:
    sh(db, "web", f"cat /data/deep/seed; echo run >> /data/runs; {LOOP}", "-v", "d:/data")
    until(lambda: "seed" in log(db, "web"))
    assert run(db, "cat /data/runs", "-v", "d:/data") == "run\n"
    assert "is in use" in db.run("volume", "rm", "d", ok=False).stderr
    db.run("stop", "-t0", "web")
    refused = db.run("volume", "rm", "d", ok=False)
    assert refused.returncode == 2
    assert "the container `web` has the volume `d`" in refused.stderr
    db.run("start", "web")
    until(lambda: run(db, "cat /data/runs", "-v", "d:/data").count("run") == 2)
    db.run("rm", "-f", "web")
    assert volumes(db) == ["d"]
    assert db.run("volume", "rm", "d").stdout == "d\n"
    assert volumes(db) == []
    assert os.listdir(db.store / "volumes") == []


def test_nobody_removes_it_while_it_is_mounted(db: World) -> None:
    script = "echo ready; read line"
    command = db.command("run", "-i", "-v", "d:/data", "svc", "sh", "-c", script)
    with subprocess.Popen(
        command,
        cwd=db.project,
        env=db.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        done = db.run("volume", "rm", "d", ok=False)
        assert "is in use" in done.stderr
        process.stdin.write("\n")
        process.stdin.close()
        assert process.wait() == 0
    assert db.run("volume", "rm", "d").stdout == "d\n"


def test_the_store_s_size_and_prune_leave_it_alone(db: World) -> None:
    run(db, "dd if=/dev/zero of=/data/large bs=1M count=4 2>/dev/null", "-v", "d:/data")
    db.run("cache", "prune", "--all")
    db.run("cache", "prune", "--cache-max=1m")
    assert volumes(db) == ["d"]
    shares = json.loads(db.run("cache", "du", "--json").stdout)
    assert shares["volumes"]["count"] == 1
    assert shares["volumes"]["bytes"] >= 4 << 20
    row = db.run("volume", "ls").stdout.splitlines()[1].split()
    assert row[0] == "d"
    listed = json.loads(db.run("volume", "ls", "--json").stdout)
    assert [(one["name"], one["path"]) for one in listed] == [("d", f"{db.store}/volumes/d/data")]


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("run", "-v", "_x:/data", "svc", "true"), 125, "no name of a volume"),
        (("run", "-v", "d:/file", "svc", "true"), 125, "is no directory in the image"),
        (("volume", "rm", "gone"), 2, "there is no volume `gone`"),
        (("volume", "rm", "../images"), 2, "cannot be the name of a volume"),
        (("volume", "rm"), 2, "needs the name"),
        (("volume", "ls", "d"), 2, "cannot take `d`"),
        (("volume", "rm", "-q", "d"), 2, "has no `--quiet`"),
        (("volume", "list"), 2, "list"),
    ],
)
def test_what_is_wrong_is_said(db: World, command: tuple[str, ...], code: int, said: str) -> None:
    done = db.run(*command, ok=False)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert volumes(db) == []
