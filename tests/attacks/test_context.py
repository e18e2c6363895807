"""What is copied from, and to: links of the image and of stages, and files of every kind that a context can have."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.attacks.doors import Door
from tests.attacks.images import link
from tests.behaviour.world import World

pytestmark = pytest.mark.parametrize("door", ["build"], indirect=True)


@pytest.mark.attack("C6")
def test_a_destination_that_is_a_link_of_the_image(door: Door) -> None:
    """To a directory, to a file, up, and through /proc: all is written in the image, if it can be meant at all."""
    out = str(door.canary.directory)
    door.image(
        link("evil", out),
        link("file", str(door.canary.file)),
        link("up", "../" * 30 + out[1:]),
        link("magic", f"/proc/self/root{out}"),
        link("cwd", f"/proc/1/cwd{out}"),
    )
    door.world.write({"f": "copied\n"})
    (door.world.project / "out").mkdir(exist_ok=True)
    for place in ("/evil/", "/file", "/up/new", "/magic/new", "/cwd/new", "/evil/../x", f"/../..{out}/y", "../../z"):
        for instruction in ("COPY f", "ADD f", "COPY --chown=7:7 f", "COPY --link f"):
            seen = door.buildfile(f"FROM box\n{instruction} {place}\nRUN cat {door.canary.file}; :\n")
            assert seen.code in (0, 3, 4), (place, seen)
            assert door.canary.text not in seen.said
    seen = door.buildfile(
        f"FROM box\nRUN mkdir -p {out}\nCOPY f /evil/\nCOPY f /file\nRUN cat {out}/f {door.canary.file}\n"
    )
    assert seen.out == ["copied", "copied"]


@pytest.mark.attack("C7")
def test_a_source_that_is_a_link_of_a_stage(door: Door) -> None:
    """It stays in the stage: what another stage has at that path is taken, and nothing of the machine."""
    out = str(door.canary.directory)
    door.image(
        link("up", "../../../../etc/hostname"),
        link("out", str(door.canary.file)),
        link("dir", out),
        link("magic", "/proc/self/root/etc/hostname"),
        link("loop", "loop"),
    )
    stage = "FROM box AS a\nRUN echo of-the-stage > /etc/hostname; rm -f /etc/group\n"
    seen = door.buildfile(f"{stage}FROM box\nCOPY --from=a /up /x\nRUN cat /x\n")
    assert seen.out == ["of-the-stage"]
    for source in ("/out", "/dir/secret", "/magic", "/loop", f"../..{door.canary.file}", "/etc/group"):
        seen = door.buildfile(f"{stage}FROM box\nCOPY --from=a {source} /x\nRUN cat /x\n")
        assert seen.code == 4, (source, seen)
        assert "not found" in seen.said or "link" in seen.said, seen
        assert door.canary.text not in seen.said


@pytest.mark.attack("C11", "C15")
def test_files_of_every_kind(door: Door, world: World) -> None:
    """Nothing is waited for, opened that does something, or run; names keep their bytes, and no terminal obeys them."""
    directory = world.project / "d"
    world.write({"d/plain": "x"})
    os.mkfifo(directory / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "socket"))
    os.link(directory / "plain", directory / "hard")
    (world.top / "outside").write_text("of the user")
    os.link(world.top / "outside", directory / "outside")  # what he may read anyway is no secret of the context
    names = [b"new\nline", b"esc\x1b]0;title\x07\x1b[2J", b"\xff\xfe", b"-rf", b"a" * 255, b"*", b"..."]
    for name in names:
        Path(os.fsdecode(os.fsencode(directory) + b"/" + name)).write_bytes(b"odd")
    (directory / "many").mkdir()
    for number in range(5000):
        (directory / f"many/{number}").touch()
    owner = world.project.stat()
    for path in directory.rglob("*"):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    seen = door.buildfile(
        "FROM box\nCOPY d /d/\nRUN test -p /d/pipe && test ! -s /d/socket && ls /d/many | wc -l && ls -1 /d | wc -l; "
        "[ /d/plain -ef /d/hard ] && echo linked; cat /d/outside\n"
    )
    assert seen.code == 0, seen
    assert next(line for line in seen.out if line.isdigit()) == "5000"
    assert "linked" in seen.out
    assert "\x1b" not in seen.said
    assert "\x07" not in seen.said
    for name in ("esc\x1b]0;title\x07\x1b[2J", "gone\x1b[2J"):
        seen = door.buildfile(f'FROM box\nCOPY ["d/{name}x", "/y"]\n')
        assert "\x1b" not in seen.said
    if world.mode == "user" and os.geteuid() == 0:
        (world.project / "closed").write_text("not for him")
        os.chown(world.project / "closed", 0, 0)
        (world.project / "closed").chmod(0o600)
        seen = door.buildfile("FROM box\nCOPY closed /\n")
        assert seen.code == 4
        assert "ermission denied" in seen.said
