"""Volumes of a project that nobody named: those of a service's places and those that its image declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.frontend.compose.unnamed_volumes import is_unnamed_of, unnamed_volume
from tests.behaviour.projects import compose, service
from tests.behaviour.world import World

DOCKERFILE = """\
FROM busybox
RUN mkdir /data && echo seed > /data/rows && chmod 711 /data
VOLUME /data /absent/below
"""


@pytest.fixture
def vol(svc: World, base_layout: Path) -> World:
    """With an image `vol` that declares two volumes, of which it has the one."""
    svc.write({"Dockerfile": DOCKERFILE})
    svc.run("build", "-t", "vol", f"--build-context=busybox=oci-layout://{base_layout}", ".")
    return svc


def lines(world: World) -> list[str]:
    """What the one service of the project wrote."""
    return [line.removeprefix("db | ") for line in world.run("up", "db").stdout.splitlines()]


def test_what_an_image_declares_outlives_its_container(vol: World) -> None:
    script = "cat /data/rows; echo row >> /data/rows; stat -c %a /data; touch /absent/below/x"
    for number in range(3):
        compose(vol, db=service(script, f"environment: {{X: '{number}'}}, network_mode: none", image="vol"))
        assert lines(vol) == ["seed", *["row"] * number, "711"]
    vol.run("down")
    names = [unnamed_volume("shop", "db", path) for path in ("/absent/below", "/data")]
    assert vol.run("volume", "ls", "-q").stdout.split() == names
    assert lines(vol) == ["seed", *["row"] * 3, "711"], "they stay with the service"
    vol.run("down")
    said = vol.run("down", "-v").stderr
    assert all(f"the volume {name} was removed" in said for name in names), "though no container is there any more"
    assert vol.run("volume", "ls", "-q").stdout == ""


def test_what_is_mounted_there_comes_first(vol: World) -> None:
    more = "volumes: ['named:/data'], tmpfs: [/absent/below], network_mode: none"
    compose(vol, db=service("cat /data/rows; grep -c below /proc/mounts", more, image="vol"))
    with (vol.project / "compose.yaml").open("a") as file:
        file.write("volumes: {named: }\n")
    assert lines(vol) == ["seed", "1"]
    assert vol.run("volume", "ls", "-q").stdout == "shop_named\n"


def test_a_run_has_the_directories_that_its_image_declares(vol: World) -> None:
    run = ("run", "--network=none", "vol", "sh", "-c")
    assert vol.run(*run, "echo x > /absent/below/x; ls /absent/below /data").stdout.split() == [
        "/absent/below:",
        "x",
        "/data:",
        "rows",
    ]
    assert vol.run("run", "--read-only", *run[1:], "echo x > /absent/below/x; cat /data/rows").stdout == "seed\n"


def test_no_two_are_one(vol: World) -> None:
    read = "ls /cache /c/d /c-d"
    waits = "depends_on: {db: {condition: service_completed_successfully}}"
    write = "echo secret > /v/of-db; echo here > /v/d"
    compose(
        vol,
        web=service(read, "volumes: [/cache, /c/d, /c-d], network_mode: none", waits),
        db=service(write, "volumes: ['web_cache:/v'], network_mode: none"),
    )
    text = (vol.project / "compose.yaml").read_text()
    vol.write({"compose.yaml": f"{text}volumes: {{web_cache: }}\n"})
    shown = vol.run("up").stdout.splitlines()
    assert [line for line in shown if not line.endswith((":", "| "))] == []
    assert len(vol.run("volume", "ls", "-q").stdout.split()) == 4


def declare(world: World, volumes: str, **services: str) -> None:
    """A compose.yaml of some services, with these volumes."""
    compose(world, **services)
    with (world.project / "compose.yaml").open("a") as file:
        file.write(f"volumes: {volumes}\n")


def become_external(world: World) -> None:
    """A project that has made two volumes, and in whose files one of them is external now."""
    web = service("echo x >> /data/x", "volumes: ['data:/data', 'other:/other']", "network_mode: none")
    db = service("true", "network_mode: none")
    declare(world, "{data: {name: keep}, other: }", web=web, db=db)
    world.run("up")
    declare(world, "{data: {name: keep, external: true}, other: }", web=web, db=db)


def test_down_removes_no_volume_that_has_become_external(svc: World) -> None:
    """Nor one that is not in the files any more: what containers know is from when they were made."""
    become_external(svc)
    assert "the volume shop_other was removed" in svc.run("down", "-v").stderr
    assert svc.run("volume", "ls", "-q").stdout == "keep\n"
    declare(svc, "{data: {name: keep}}", web=service("true", "volumes: ['data:/data']", "network_mode: none"))
    svc.run("up")
    compose(svc, web=service("true", "network_mode: none"))
    svc.run("down", "-v")
    assert svc.run("volume", "ls", "-q").stdout == "keep\n"


def test_who_goes_by_the_project_alone_knows_it_from_the_next_up_on(svc: World) -> None:
    become_external(svc)
    svc.run("up")
    assert "the volume shop_other was removed" in svc.run("down", "-v", "-p", "shop").stderr
    assert svc.run("volume", "ls", "-q").stdout == "keep\n"


def test_down_goes_on_after_a_volume_that_is_in_use(svc: World) -> None:
    web = service("true", "volumes: ['a:/a', 'b:/b', 'own:/own']", "network_mode: none")
    declare(svc, "{a: , b: , own: }", web=web)
    svc.run("up")
    for volume in ("a", "b"):
        svc.run("run", "-d", f"--name=other-{volume}", "--network=none", "-v", f"shop_{volume}:/v", "svc", "true")
    done = svc.run("down", "-v", ok=False)
    assert done.returncode == 2
    assert "the volume shop_own was removed" in done.stderr
    assert "the container `other-a` has the volume `shop_a`" in done.stderr
    assert "the container `other-b` has the volume `shop_b`" in done.stderr
    assert svc.run("volume", "ls", "-q").stdout.split() == ["shop_a", "shop_b"]


def test_names() -> None:
    name = unnamed_volume("shop", "web", "/var/lib/ä b")
    assert name.startswith("shop_web_var-lib---b-")
    assert is_unnamed_of(name, "shop", "web")
    assert not is_unnamed_of(name, "shop", "db")
    assert not is_unnamed_of("shop_web_var-lib", "shop", "web")
    others = [("a", "b_c", "/d"), ("a", "b", "/c_d"), ("a_b", "c", "/d"), ("a", "b_c", "/d/"), ("a", "b_c", "/d" * 200)]
    names = [unnamed_volume(*one) for one in others]
    assert len(set(names)) == len(others)
    assert max(map(len, names)) < 255
