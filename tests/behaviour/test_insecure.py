"""`RUN --security=insecure` and the `--allow` that it needs."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.behaviour.world import World

OWN = Path("/proc/self/status")
ALLOW = ("--allow", "security.insecure")


@pytest.fixture
def project(world: World, base_layout: Path) -> World:
    world.env["BASE"] = f"oci-layout://{base_layout}"
    return world


def said(world: World, run: str, *options: str) -> list[str]:
    """What the command prints."""
    world.write({"Dockerfile": f"FROM {world.env['BASE']}\nRUN {run}\n"})
    done = world.build(*options)
    return re.findall(r"^#2 \d+\.\d+ (.*)$", done.stderr, re.MULTILINE)


@pytest.mark.attack("S9")
def test_without_being_allowed_nothing_runs(project: World) -> None:
    project.write({"Dockerfile": f"FROM {project.env['BASE']}\nRUN true\nRUN --security=insecure true\n"})
    done = project.build(ok=False)
    assert done.returncode == 3
    assert "Dockerfile:3:5: a RUN with `--security=insecure` is not allowed in this build" in done.stderr
    assert "hint: whoever builds has to allow it: --allow security.insecure" in done.stderr
    assert project.ran(done) == []


def test_it_has_every_right_that_its_builder_has(project: World) -> None:
    show = "grep -E 'CapEff|CapBnd|^Seccomp:' /proc/self/status"
    mine = dict(line.split() for line in re.findall(r"^(?:CapBnd|Seccomp):\t.*$", OWN.read_text(), re.MULTILINE))
    plain = dict(line.split() for line in said(project, show))
    free = dict(line.split() for line in said(project, f"--security=insecure {show}", *ALLOW))
    assert plain["Seccomp:"] == "2"
    assert free["Seccomp:"] == mine["Seccomp:"]
    assert free["CapEff:"] == free["CapBnd:"] != plain["CapEff:"]
    if project.mode == "root":
        assert free["CapBnd:"] == mine["CapBnd:"]
    mount = "mount -t tmpfs none /mnt && echo mounted; mkdir -p /mnt"
    assert "mounted" not in said(project, f"mkdir -p /mnt; {mount}")
    assert "mounted" in said(project, f"--security=insecure mkdir -p /mnt; {mount}", *ALLOW)


def test_nothing_of_the_kernels_files_is_covered(project: World) -> None:
    count = "grep -cE ' /proc/(sys|kcore|keys|bus|irq) ' /proc/mounts || true"
    assert int(said(project, count)[0]) > 0
    assert said(project, f"--security=insecure {count}", *ALLOW) == ["0"]
    writable = "(echo own > /proc/sys/kernel/hostname) 2>/dev/null && hostname || echo no"
    options = 'awk \'$3 == "proc" || $3 == "sysfs" {print $2, substr($4, 1, 2)}\' /proc/mounts'
    assert "/proc rw" in said(project, f"--security=insecure {options}", *ALLOW)
    if project.mode == "root":
        assert said(project, writable) == ["no"]
        assert said(project, f"--security=insecure {writable}", *ALLOW) == ["own"]
        assert "/sys rw" in said(project, f"--security=insecure {options} ; :", *ALLOW)


def test_devices_can_be_opened_by_root(project: World) -> None:
    if project.mode == "user":
        pytest.skip("an ordinary user makes no devices")
    node = "mknod /null c 1 3; echo x > /null && echo written; rm /null"
    assert "written" not in said(project, node)
    assert said(project, f"--security=insecure {node}", *ALLOW) == ["written"]
    loops = sorted(name for name in os.listdir("/dev") if name.startswith("loop"))
    found = said(project, "--security=insecure ls /dev | grep ^loop || true", *ALLOW)
    assert sorted(found) == loops


def test_it_is_in_the_key(project: World) -> None:
    text = f"FROM {project.env['BASE']}\nRUN {{}}true\n"
    project.write({"Dockerfile": text.format("")})
    project.build()
    project.write({"Dockerfile": text.format("--security=insecure ")})
    assert len(project.ran(project.build(*ALLOW))) == 1
    assert project.ran(project.build(*ALLOW)) == []
    project.write({"Dockerfile": text.format("--security=sandbox ")})
    assert project.ran(project.build(*ALLOW)) == []


def test_in_a_buildfile_py(project: World) -> None:
    base = project.env["BASE"]
    project.write(
        {
            "Buildfile.py": f"""\
from buildkit_py import Image, target
@target
def app():
    return Image("{base}").run("mkdir /m; mount -t tmpfs none /m && echo mounted", security="insecure")
"""
        }
    )
    assert "is not allowed in this build" in project.run("Buildfile.py", ok=False).stderr
    assert " mounted\n" in project.run("Buildfile.py", "--progress=plain", *ALLOW).stderr


def test_other_entitlements(project: World) -> None:
    assert said(project, "--network=host echo there", "--allow", "network.host") == ["there"]
    done = project.build("--allow", "device", ok=False)
    assert done.returncode == 2
    assert "option `--allow` cannot be `device`" in done.stderr


@pytest.mark.attack("S9")
def test_devices_of_cdi_are_refused(project: World) -> None:
    project.write({"Dockerfile": f"FROM {project.env['BASE']}\nRUN --device=vendor.com/gpu=0 true\n"})
    done = project.build(ok=False)
    assert done.returncode == 3
    assert "Dockerfile:2:5: RUN --device is not supported" in done.stderr
