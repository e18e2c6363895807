"""`pybuild diff`: every kind of difference between two images is told, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.world import World
from tests.image.rpms import written_by_rpm

BEFORE = """\
FROM busybox
ENV A=1 GONE=x
EXPOSE 80
CMD ["a"]
RUN mkdir -p /var/lib/dpkg /lib/apk/db /x/site-packages/Foo_Bar-1.0.dist-info /y/node_modules/@s/p /y/node_modules/q
COPY status /var/lib/dpkg/status
COPY p.json /y/node_modules/@s/p/package.json
COPY p.json /y/node_modules/q/lib/package.json
RUN printf 'P:musl\\nV:1.2\\n\\nP:zlib\\nV:1.3\\n' > /lib/apk/db/installed
RUN echo same > /same; echo old > /changed; echo gone > /gone; ln -s same /link; echo m > /mode; echo o > /owner
USER app
"""
STATUS = """\
Package: libc6
Status: install ok installed
Version: 2.41-1
Description: a
 Package: none

Package: removed
Status: deinstall ok config-files
Version: 9
"""


@pytest.fixture
def images(world: World, base_layout: Any) -> World:
    """`before` and `after`."""
    context = ("--build-context", f"busybox=oci-layout://{base_layout}")
    world.write({"Dockerfile": BEFORE, "status": STATUS, "p.json": '{"name":"@s/p","version":"1.0.0"}'})
    world.build(*context, "-t", "before")
    after = (
        BEFORE.replace("A=1 GONE=x", "A=2 NEW=y").replace("80", "81/udp").replace("USER app", "WORKDIR /w\nUSER root")
    )
    after = after.replace("Foo_Bar-1.0", "foo_bar-2.0").replace("V:1.2", "V:1.2.1").replace("zlib", "zstd")
    after = after.replace("echo old > /changed; echo gone > /gone; ln -s same", "echo new > /changed; ln -s other")
    after += "RUN chmod 4755 /mode; chown 77:50 /owner; head -c 5000 /dev/zero > /large; touch -d @1 /same\n"
    world.write({"Dockerfile": after, "status": STATUS.replace("2.41-1", "2.41-2")})
    world.write({"p.json": '{"name":"@s/p","version":"1.1.0"}'})
    world.build(*context, "-t", "after")
    return world


def test_all_kinds_of_differences(images: World) -> None:
    found = json.loads(images.run("diff", "--json", "before", "after").stdout)
    config = {(one["what"], one["name"]): (one["before"], one["after"]) for one in found["config"]}
    assert config == {
        ("env", "A"): ("1", "2"),
        ("env", "GONE"): ("x", ""),
        ("env", "NEW"): ("", "y"),
        ("port", "80/tcp"): ("exposed", ""),
        ("port", "81/udp"): ("", "exposed"),
        ("user", ""): ("app", "root"),
        ("workdir", ""): ("", "/w"),
    }
    packages = {(one["what"], one["name"]): (one["before"], one["after"]) for one in found["packages"]}
    assert packages == {
        ("dpkg", "libc6"): ("2.41-1", "2.41-2"),
        ("apk", "musl"): ("1.2", "1.2.1"),
        ("apk", "zlib"): ("1.3", ""),
        ("apk", "zstd"): ("", "1.3"),
        ("python", "foo-bar"): ("1.0", "2.0"),
        ("npm", "@s/p"): ("1.0.0", "1.1.0"),
    }
    files = {one["path"]: one for one in found["files"]}
    assert "same" not in files  # only its time is another
    assert files["changed"]["how"] == ["content"]
    assert (files["gone"]["before"], files["gone"]["after"]) == (5, -1)
    assert files["link"]["how"] == ["it leads to other"]
    assert files["mode"]["how"] == ["mode 0644 became 4755"]
    assert files["owner"]["how"] == ["owner 0:0 became 77:50"]
    assert (files["large"]["before"], files["large"]["after"]) == (-1, 5000)
    assert [(one["name"], one["after"]) for one in found["special"]] == [("mode", "4755")]
    assert found["size"]["after"] - found["size"]["before"] > 4000


def test_for_people(images: World) -> None:
    said = images.run("diff", "before", "after").stdout
    for line in (
        "  ~ env A  1 became 2",
        "  - env GONE  x",
        "  ~ dpkg libc6  2.41-1 became 2.41-2",
        "  + mode mode  4755",
        "  + large  5kB",
        "  ~ changed  content",
    ):
        assert line in said.splitlines()
    assert images.run("diff", "before", "before").stdout == "no difference\n"
    assert images.run("diff", "--exit-code", "before", "before").returncode == 0
    assert images.run("diff", "--exit-code", "before", "after", ok=False).returncode == 1
    assert images.run("diff", "before", "nowhere.invalid/x:1", ok=False).returncode == 4
    assert images.run("diff", "before", ok=False).returncode == 2


def test_packages_of_rpm(world: World, base_layout: Path, tmp_path: Path) -> None:
    context = ("--build-context", f"busybox=oci-layout://{base_layout}")
    before, after = (
        written_by_rpm(tmp_path / name, versions)
        for name, versions in (("a", {"hello": "1.2", "gone": "1"}), ("b", {"hello": "1.3"}))
    )
    world.write({"Dockerfile": "FROM busybox\nCOPY db /var/lib/rpm/rpmdb.sqlite\n", "db": before})
    world.build(*context, "-t", "before")
    world.write({"db": after})
    world.build(*context, "-t", "after")
    said = world.run("diff", "before", "after")
    assert "  ~ rpm hello  2:1.2-3 became 2:1.3-3\n" in said.stdout
    assert "  - rpm gone  2:1-3\n" in said.stdout
    assert said.stderr == ""

    world.write(
        {"Dockerfile": "FROM busybox\nCOPY db /usr/lib/sysimage/rpm/Packages.db\nCOPY db /var/lib/rpm/rpmdb.sqlite\n"}
    )
    world.write({"db": "none of those"})
    world.build(*context, "-t", "odd")
    said = world.run("diff", "before", "odd")
    assert "  - rpm hello  2:1.2-3\n" in said.stdout
    assert "Packages.db: the packages of rpm are in the form ndb, which is not read" in said.stderr
    assert "rpmdb.sqlite: it is damaged or no database of rpm: file is not a database" in said.stderr
    assert len(json.loads(world.run("diff", "--json", "before", "odd").stdout)["unread"]) == 2


def test_step_by_step(world: World, base_layout: Path) -> None:
    context = ("--build-context", f"busybox=oci-layout://{base_layout}")
    first = "FROM busybox\nRUN echo same > /same\nRUN echo 1 > /number && echo x > /kept\nRUN echo z > /gone\n"
    world.write({"Dockerfile": first})
    world.build(*context, "-t", "before")
    world.write({"Dockerfile": first.replace("echo 1", "echo 22").replace("RUN echo z > /gone", "COPY new /new")})
    world.write({"new": "new"})
    world.build(*context, "-t", "after")
    found = json.loads(world.run("diff", "--by=step", "--json", "before", "after").stdout)["steps"]
    number, last = found
    assert "echo 1 >" in number["before"]
    assert "echo 22 >" in number["after"]
    assert number["packed_before"] > 0 < number["packed_after"]
    assert [(one["path"], one["before"], one["after"]) for one in number["files"]] == [("number", 2, 3)]
    assert ("/gone" in last["before"], last["after"].startswith("COPY")) == (True, True)
    assert {one["path"]: one["after"] for one in last["files"]} == {"gone": -1, "new": 3}
    said = world.run("diff", "--by=step", "before", "after").stdout
    assert "STEP  ~ RUN /bin/sh -c echo 22 > /number" in said
    assert "  ~ number  2B became 3B  content\n" in said
    assert "steps" not in json.loads(world.run("diff", "--json", "before", "after").stdout)
