"""Files that a container's streams are: it writes on and reads on, and has nothing else of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.doors import Door

SEIZE = (
    "exec 2>/dev/null; for n in 0 1 2; do f=/proc/self/fd/$n; [ -f $f ] && echo FILE; chmod 666 $f; chown 77:77 $f; "
    "dd if=/dev/zero of=$f bs=1 count=0; touch -d @0 $f; done; for f in /proc/1/fd/*; do chmod 777 $f; done; echo mine"
)


@pytest.fixture(params=["run", "exec"])
def start(request: pytest.FixtureRequest, door: Door) -> Iterator[list[str]]:
    """The command line that runs what follows in a container as root, by `pybuild run -i` or `pybuild exec -i`."""
    door.world.run("run", "-d", "--name=web", "box", "sh", "-c", "sleep 1000", door.mark)
    where = ("run", "-i", "-u", "0", "box") if request.param == "run" else ("exec", "-i", "-u", "0", "web")
    yield door.world.command(*where)
    door.world.run("rm", "-f", "web")


def look(path: Path) -> tuple[int, int, int, int]:
    status = path.stat()
    return status.st_mode, status.st_uid, status.st_gid, status.st_ino


@pytest.mark.attack("S11", by="run")
@pytest.mark.parametrize("door", ["run"], indirect=True)
def test_files_stay_their_owners(door: Door, start: list[str]) -> None:
    """What was in a log stays there and is not read, what is read is not written to, and neither changes hands."""
    project, secret = door.world.project, door.canary.text
    log, data = project / "log", project / "data"
    for path, text in ((log, f"{secret}\n"), (data, f"one\n{'x' * 200_000}\nlast\n")):
        path.write_text(text)
        path.chmod(0o640)
        os.chown(path, project.stat().st_uid, project.stat().st_gid)
    before, text = (look(log), look(data)), data.read_text()

    def run(script: str) -> int:
        with data.open() as given, log.open("a") as output:
            done = subprocess.run(
                [*start, "sh", "-c", script],
                cwd=project,
                env=door.world.environment(),
                stdin=given,
                stdout=output,
                stderr=output,
                check=False,
            )
        return done.returncode

    assert run("head -n 1; echo mine; echo other >&2; exit 3") == 3
    assert log.read_text() == f"{secret}\none\nmine\nother\n"
    assert run("cat; echo end") == 0
    assert log.read_text() == f"{secret}\none\nmine\nother\n{text}end\n"
    run(f"for n in 0 1 2; do cat /proc/self/fd/$n | grep -c {secret}; done & sleep 0.3; kill $!; {SEIZE}")
    assert log.read_text().startswith(f"{secret}\none\nmine\n")
    assert "FILE" not in log.read_text()
    assert data.read_text() == text
    assert (look(log), look(data)) == before


@pytest.mark.attack("S11")
def test_the_null_device_of_the_machine(door: Door) -> None:
    before = os.stat("/dev/null")
    door.sh(SEIZE)
    after = os.stat("/dev/null")
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


@pytest.mark.attack("S11", by="run")
@pytest.mark.parametrize("door", ["run"], indirect=True)
@pytest.mark.parametrize("closed", ["0", "1", "2", "0 1", "1 2", "0 1 2"])
def test_streams_that_are_closed(door: Door, start: list[str], closed: str) -> None:
    """No file that pybuild opens gets their numbers: nothing is read there, and what is written there goes nowhere."""
    written = door.world.project / "written"
    look = 'for n in 0 1 2; do [ -f /proc/self/fd/$n ] && exit 4; done; [ -z "$(cat)" ] || exit 5; '
    say = f"echo {door.canary.text}; echo {door.canary.text} >&2; "
    # What is opened while it runs is looked at while it runs.
    script = f"{look} {say} for n in 1 2; do [ -f /proc/1/fd/$n ] && exit 6; done; exit 3"
    close = " ".join(f"{fd}<&-" if fd == "0" else f"{fd}>&-" for fd in closed.split())
    with written.open("w") as output:
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {close}', "sh", *start, "sh", "-c", script],
            cwd=door.world.project,
            env=door.world.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=120,
            check=False,
        )
    said = written.read_text()
    assert (done.returncode, said) == (3, f"{door.canary.text}\n" * (2 - len({"1", "2"} & set(closed.split()))))
