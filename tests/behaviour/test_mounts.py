"""Mounts of a RUN as a Dockerfile has them: several at a place, secrets in two, what is left of their targets."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.behaviour.world import World


def out(world: World, base_layout: Path, dockerfile: str, *options: str) -> Path:
    """The filesystem that comes of a text."""
    world.write({"Dockerfile": dockerfile})
    return world.out("--build-context", f"busybox=oci-layout://{base_layout}", *options)


@pytest.mark.parametrize(("first", "second", "files"), [("bind", "tmpfs", ""), ("tmpfs", "bind", "f\n")])
def test_the_last_of_two_mounts_at_a_place_is_on_top(
    world: World, base_layout: Path, first: str, second: str, files: str
) -> None:
    world.write({"d/f": "f"})
    flags = {"bind": "--mount=type=bind,source=d,target=/t", "tmpfs": "--mount=type=tmpfs,target=/t"}
    text = f"FROM busybox\nRUN {flags[first]} {flags[second]} ls -A /t > /seen\n"
    assert (out(world, base_layout, text) / "seen").read_text() == files


def test_a_secret_as_a_variable_is_a_file_only_where_a_target_is_given(world: World, base_layout: Path) -> None:
    world.write({"secret": "hush"})
    text = """FROM busybox
RUN --mount=type=secret,source=s,env=S,target=/k,uid=77,mode=0440 echo "$S $(cat /k) $(stat -c '%a %u %g' /k)" > /both
RUN --mount=type=secret,id=s,env=S echo "$S" > /env; ls /run/secrets 2> /dev/null >> /env; true
RUN --mount=type=secret,id=s,required=true cat /run/secrets/s > /file
RUN --mount=type=secret,id=none,env=S,required=false echo "${S-unset}" > /none
RUN --mount=type=secret,target=/a/s cat /a/s > /by-target
RUN echo "${S-unset}" > /after
"""
    found = out(world, base_layout, text, "--secret", "id=s,src=secret")
    names = ("both", "env", "file", "none", "by-target", "after")
    read = {name: (found / name).read_text().removesuffix("\n") for name in names}
    assert read == {
        "both": "hush hush 440 77 0",
        "env": "hush",
        "file": "hush",
        "none": "unset",
        "by-target": "hush",
        "after": "unset",
    }


def test_a_secret_that_no_variable_can_have_is_not_shown(world: World, base_layout: Path) -> None:
    world.write({"secret": b"a\0bcdefgh"})
    world.write({"Dockerfile": f"FROM oci-layout://{base_layout}\nRUN --mount=type=secret,id=s,env=S true\n"})
    done = world.build("--secret=id=s,src=secret", ok=False)
    assert done.returncode == 3
    assert "Dockerfile:2:1: the secret `s` has a NUL byte in it" in done.stderr
    assert "bcdefgh" not in done.stderr


def test_targets_that_were_made_for_mounts_are_not_left(world: World, base_layout: Path) -> None:
    world.write({"a": "a"})
    mounts = ("type=cache,target=c/d", "type=tmpfs,target=/n/e/w", "type=bind,source=a,target=/etc/a")
    flags = " ".join(f"--mount={mount}" for mount in mounts)
    found = out(world, base_layout, f"FROM busybox\nWORKDIR /w\nRUN {flags} cp /etc/a kept\nRUN true\n")
    assert sorted(os.listdir(found / "w")) == ["kept"]
    assert not (found / "n").exists()
    assert "a" not in os.listdir(found / "etc")


def test_a_cache_that_begins_as_a_directory_has_the_mode_and_owner_of_it(world: World, base_layout: Path) -> None:
    text = """FROM busybox AS seed
RUN mkdir -p /o/p && chmod 711 /o/p && chown 5:6 /o/p
FROM busybox
RUN --mount=type=cache,target=/c,from=seed,source=/o/p,mode=0700,uid=77 stat -c '%a %u %g' /c > /seen
"""
    assert (out(world, base_layout, text) / "seen").read_text() == "711 5 6\n"


def test_the_network_of_the_command_line_is_the_one_that_default_means(world: World, base_layout: Path) -> None:
    text = "FROM busybox\nRUN ls /sys/class/net > /1\nRUN --network=default ls /sys/class/net > /2\n"
    found = out(world, base_layout, text, "--network=none")
    assert [(found / name).read_text() for name in "12"] == ["lo\n", "lo\n"]


def test_devices_and_pipes_of_a_stage_are_copied(world: World, base_layout: Path) -> None:
    made = "mkfifo -m 600 /d/p" + (" && mknod -m 640 /d/n c 1 3" if world.mode == "root" else "")
    text = f"FROM busybox AS s\nRUN mkdir /d && {made}\nFROM busybox\nCOPY --from=s /d /x\nRUN ls -l /x > /seen\n"
    lines = (out(world, base_layout, text) / "seen").read_text().splitlines()[1:]
    seen = {line.split()[-1]: line.split()[0] for line in lines}
    assert seen == {"p": "prw-------"} | ({"n": "crw-r-----"} if world.mode == "root" else {})


@pytest.mark.parametrize("more", ["", ",scan=false"])
def test_a_secret_from_a_pipe(world: World, base_layout: Path, more: str) -> None:
    """It gives its value once, and steps that run beside each other ask for it, and who looks for it in results."""
    stage = (
        f"FROM oci-layout://{base_layout} AS s{{0}}\n"
        "RUN --mount=type=secret,id=s test $(wc -c < /run/secrets/s) = 13 && echo ok > /{0}\n"
    )
    text = "".join(stage.format(number) for number in range(3))
    world.write({"Dockerfile": f"{text}COPY --from=s0 /0 /\nCOPY --from=s1 /1 /\n"})
    pipe = world.top / "pipe"
    os.mkfifo(pipe, 0o644)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b"a-long-secret"))
    writer.start()
    world.build(f"--secret=id=s,src={pipe}{more}", "-j3", "-o", "out")
    writer.join()
    assert {name: (world.project / "out" / name).read_text() for name in "012"} == dict.fromkeys("012", "ok\n")


def test_a_secret_without_an_end(world: World, base_layout: Path) -> None:
    world.write({"Dockerfile": f"FROM oci-layout://{base_layout}\nRUN --mount=type=secret,id=s true\n"})
    done = world.build("--secret=id=s,src=/dev/zero", ok=False)
    assert (done.returncode, "File too large" in done.stderr) == (4, True)
