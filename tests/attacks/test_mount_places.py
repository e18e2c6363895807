"""Where something is mounted and mounted from: links, `..` and what changes meanwhile lead nowhere but inside."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from buildkit_py.sandbox.spec import SandboxMount
from tests.attacks.conftest import TRIES
from tests.attacks.doors import Door
from tests.attacks.images import link
from tests.behaviour.world import World
from tests.sandbox.conftest import Box


def bind(source: str, target: str = "/m") -> str:
    return f"--mount=type=bind,from=evil,source={source},target={target}"


@pytest.mark.attack("S5")
@pytest.mark.parametrize("door", ["build"], indirect=True)
def test_the_source_of_a_mount_of_a_stage(door: Door) -> None:
    """CVE-2024-1753: a link in the stage, or dots; what is shown is the stage's own root, or nothing."""
    out = door.canary.directory
    door.image(link("root", "/"), link("out", str(out)), link("up", "../" * 40), link("proc1", "/proc/self/root"))
    head = "FROM box AS evil\nRUN touch /of-the-stage\nFROM box\n"
    for source, shown in {"/root": True, "/up": True, "/../../..": True, "/out": False, "/out/secret": False}.items():
        text = f"{head}RUN {bind(source)} ls /m; cat /m/secret /m/*/secret 2>/dev/null; :\n"
        seen = door.buildfile(text)
        assert (seen.code == 0) == shown, (source, seen)
        assert ("of-the-stage" in seen.out) == shown
        assert door.canary.text not in seen.said
    for source in (f"../../{out}", "/proc1/etc", "/proc/self/root", "/proc/1/root/etc"):
        seen = door.buildfile(f"{head}RUN {bind(source)} ls /m; cat /m/secret /m/shadow\n")
        assert seen.code != 0
        assert door.canary.text not in seen.said


@pytest.mark.attack("S5", by="run")
@pytest.mark.parametrize("door", ["run"], indirect=True)
def test_the_target_of_a_volume_is_inside(door: Door) -> None:
    """What a volume is of is the user's own word; where the image's links put it is below the image's root."""
    shared = door.world.project / "shared"
    shared.mkdir(mode=0o777)
    shared.chmod(0o777)
    door.image(link("out", str(door.canary.directory)), link("up", "../" * 40 + str(door.canary.directory)[1:]))
    for target in ("/out", "/up", "/out/x", f"/../..{door.canary.directory}"):
        seen = door.sh(f"touch {target}/made && ls {target}; cat {target}/secret; :", "-v", f"{shared}:{target}")
        assert seen.out == ["made"], seen
        (shared / "made").unlink()


@pytest.mark.attack("S5")
def test_what_a_mount_begins_with(door: Door) -> None:
    """A cache is filled from a stage, a volume from the image: by links that lead to the canary, up, or by /proc."""
    out = str(door.canary.directory)
    magic = f"/proc/self/root{out}"
    door.image(link("out", out), link("up", "../" * 40 + out[1:]), link("magic", magic), link("root", "/"))
    for number, source in enumerate(("/out", "/up", "/magic", "/root/out", "/out/secret")):
        if door.kind == "build":
            mount = f"--mount=type=cache,id=c{number},target=/m,from=evil,source={source}"
            seen = door.buildfile(f"FROM box AS evil\nFROM box\nRUN {mount} cat /m/secret /m; find /m; :\n")
        else:
            seen = door.sh(f"cat {source}/secret {source}; find {source}/; :", "-v", f"v{number}:{source}")
        assert seen.code in (0, 3, 4, 6, 125), (source, seen)
        assert door.canary.text not in seen.said
        assert not any("secret" in line and "No such" not in line for line in seen.out if line.startswith("/m/")), seen


@pytest.mark.attack("S7")
def test_what_was_made_for_a_mount_goes_and_nothing_else(door: Door) -> None:
    """CVE-2024-23652: the image leads the target to a directory like the canary's; its own empty files stay."""
    out = str(door.canary.directory)
    door.image(link("t", out), link("etc2", "/etc"), link("deep", "../" * 40 + out[1:]))
    tmpfs = (f"{out}/x", "/t/y", "/deep/z/w", "/etc2/made")
    if door.kind == "build":
        flags = " ".join(f"--mount=type=tmpfs,target={target}" for target in tmpfs)
        seen = door.sh(f"find {out} /etc/made; rmdir /t/y; ln -s {out}/secret /etc2/other", flags=flags)
    else:
        options = [word for target in tmpfs for word in ("--tmpfs", target)]
        seen = door.sh(f"find {out} /etc/made; rmdir /t/y; ln -s {out}/secret /etc2/other", *options)
    assert {f"{out}/x", f"{out}/y", f"{out}/z/w", "/etc/made"} <= set(seen.out), seen


@pytest.mark.attack("S8", by="both")
def test_options_that_are_not_known(world: World, base_layout: Path) -> None:
    """CVE-2024-9407, CVE-2024-9675: refused, whatever they would mean elsewhere; an id is no path."""
    context = f"--build-context=busybox=oci-layout://{base_layout}"
    before = sorted(os.listdir(world.top))
    for mount in (
        "type=bind,source=.,target=/m,bind-propagation=rshared",
        "type=bind,source=.,target=/m,rprivate",
        "type=cache,target=/m,upperdir=/etc",
        "type=tmpfs,target=/m,options=dev",
    ):
        world.write({"Dockerfile": f"FROM busybox\nRUN --mount={mount} true\n"})
        assert world.build(context, ok=False).returncode == 3, mount
    for name in ("../../../../x", "/etc", "..", f"{world.top}/x"):
        world.write({"Dockerfile": f"FROM busybox\nRUN --mount=type=cache,target=/m,id={name} touch /m/made\n"})
        world.build(context)
    assert [name for name in sorted(os.listdir(world.top)) if name not in before] in ([], ["store"])
    world.write({"Dockerfile": "FROM busybox\nLABEL a=b\n"})
    world.run("build", "-q", "-t", "box", context, ".")
    for options in (
        ("-v", "./x:/m:rshared"),
        ("-v", "./x:/m:dev,suid"),
        ("-v", "../../x:/m:ro:ro"),
        ("-v", "../x/../../y"),
        ("--tmpfs", "/m:dev"),
        ("--tmpfs", "/m:exec,upperdir=/"),
        ("--security-opt", "apparmor=another"),
        ("--security-opt", "label=type:another"),
        ("--security-opt", "seccomp=/etc/passwd"),
        ("--runtime", "../../bin/sh"),
    ):
        assert world.run("run", *options, "box", "true", ok=False).returncode == 125, options
    for name in ("..", "../x", "a/b", ".hidden", "a\nb", ""):
        assert world.run("run", "-v", f"{name}:/m", "box", "true", ok=False).returncode in (0, 125)
        assert world.run("volume", "inspect", name, ok=False).returncode != 0


@pytest.mark.attack("S6")
def test_a_directory_and_a_link_take_turns(box: Box, place: Path, inside: Path) -> None:
    """CVE-2024-23651, CVE-2024-11218: below a mount that another process writes to, where something is mounted, and
    in a tree that something is mounted from.

    Tried ten times PYBUILD_ATTACK_TRIES, 600 times where that is not set; the full number is 10,000.
    """
    shared, canary = place / f"turns-{box.mode}", place / f"canary-{box.mode}"
    for directory in (shared / "d", canary):
        directory.mkdir(parents=True)
        directory.chmod(0o777)
    shared.chmod(0o777)
    (shared / "d/f").write_text("inside\n")
    (canary / "f").write_text("canary\n")
    (shared / "l").symlink_to(canary)
    mounts = (
        SandboxMount("bind", "/c", source=str(shared), read_only=False),
        SandboxMount("tmpfs", "/c/d/x"),
        SandboxMount("file", "/c/d/y", data=b"ours"),
        SandboxMount("tree", "/t", layers=(str(shared),), path="/d"),
    )
    flipper = subprocess.Popen([inside, "flip", str(shared / "d"), str(shared / "l")])
    started = 0
    try:
        for _ in range(min(10 * TRIES, 10_000)):
            result = box.sh("cat /t/f; echo x > /c/d/x/own; echo x > /c/d/own; :", mounts=mounts)
            assert "canary" not in result.out + result.err.replace(str(canary), ""), result
            assert sorted(os.listdir(canary)) == ["f"]
            started += not result.error
        assert (canary / "f").read_text() == "canary\n"
    finally:
        flipper.kill()
        flipper.wait()
    assert started > 0
