"""`pybuild size` and the limits of an image's size: what the bytes are, and what ends with a code of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.world import World
from tests.image.rpms import written_by_rpm

TOO_LARGE = 8


@pytest.fixture
def context(base_layout: Path) -> tuple[str, str]:
    """What makes `FROM busybox` work."""
    return ("--build-context", f"busybox=oci-layout://{base_layout}")


def shares(world: World, *argv: str) -> dict[str, dict[str, Any]]:
    """The answer as JSON, by name."""
    return {one["name"]: one for one in json.loads(world.run("size", "--json", *argv).stdout)["shares"]}


def test_by_step(world: World, context: tuple[str, str]) -> None:
    world.write(
        {"Dockerfile": "FROM busybox\nRUN head -c 90000 /dev/zero > /a; head -c 500 /dev/zero > /b\nRUN rm /a\n"}
    )
    world.build(*context, "-t", "shop")
    answer = json.loads(world.run("size", "--json", "--by=step", "shop").stdout)
    base, made, removed = answer["shares"]
    assert base["kept"] == base["bytes"] > 100_000
    assert made["name"].startswith("RUN /bin/sh -c head")
    assert (made["bytes"], made["kept"], made["files"]) == (90_500, 500, 2)
    assert (removed["bytes"], removed["files"]) == (0, 0)
    assert answer["bytes"] == base["bytes"] + 500
    assert answer["packed"] == sum(one["packed"] for one in answer["shares"])
    (listed,) = [one for one in json.loads(world.run("images", "--json").stdout) if "shop" in one["name"]]
    assert answer["packed"] == listed["size"]
    said = world.run("size", "shop", "--by=step").stdout.splitlines()
    assert said[0].startswith("shop: ")
    assert said[1].split() == ["PACKED", "BYTES", "KEPT", "FILES", "STEP"]
    assert said[3].split()[1:4] == ["90.5kB", "500B", "2"]
    assert world.run("size", "shop").stdout.endswith(" packed, in 3 layers\n")
    assert json.loads(world.run("size", "--json", "shop").stdout).keys() == {"digest", "packed", "layers"}


def test_by_directory(world: World, context: tuple[str, str]) -> None:
    world.write(
        {"Dockerfile": "FROM busybox\nRUN mkdir -p /x/y/z && head -c 700 /bin/busybox > /x/y/z/f && echo 1 > /x/g\n"}
    )
    world.build(*context, "-t", "shop")
    found = shares(world, "--by=dir", "shop")
    assert {name: (one["bytes"], one["files"]) for name, one in found.items() if name.startswith("/x")} == {
        "/x": (702, 2),
        "/x/y": (700, 1),
    }
    assert found["/"]["bytes"] == max(one["bytes"] for one in found.values())
    assert "/x/y/z" in shares(world, "--by=dir", "--depth=3", "shop")
    assert set(shares(world, "--by=dir", "--depth", "1", "shop")) >= {"/", "/bin", "/x"}


def test_by_package(world: World, context: tuple[str, str], tmp_path: Path) -> None:
    """A file counts for the package that names it, also where its directory is another one's link."""
    site = "/usr/lib/python3/site-packages"
    world.write(
        {
            "Dockerfile": f"""\
FROM busybox
COPY status /var/lib/dpkg/status
COPY libc6.list /var/lib/dpkg/info/libc6:amd64.list
COPY md5 /var/lib/dpkg/status.d/tzdata.md5sums
COPY tzdata /var/lib/dpkg/status.d/tzdata
COPY installed /lib/apk/db/installed
COPY db /var/lib/rpm/rpmdb.sqlite
COPY RECORD {site}/foo-1.0.dist-info/RECORD
COPY p.json /app/node_modules/a/package.json
COPY q.json /app/node_modules/a/node_modules/b/package.json
RUN head -c 100 /bin/busybox > /usr/lib/libc.so && head -c 200 /bin/busybox > /zone
RUN head -c 300 /bin/busybox > /usr/musl
RUN mkdir -p /opt/hello {site}/foo /usr/local/bin && head -c 3000 /bin/busybox > /opt/hello/large
RUN head -c 400 /bin/busybox > {site}/foo/a.py && head -c 50 /bin/busybox > /usr/local/bin/foo
WORKDIR /app/node_modules/a
RUN head -c 500 /bin/busybox > i.js && head -c 600 /bin/busybox > node_modules/b/i.js
""",
            "status": "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.41\n",
            "libc6.list": "/.\n/lib\n/lib/libc.so\n",
            "tzdata": "Package: tzdata\nVersion: 2025\n",
            "md5": "0123  ./zone\n",
            "installed": "P:musl\nV:1.2\nF:usr\nR:musl\n",
            "db": written_by_rpm(tmp_path, {"hello": "1.2"}),
            "RECORD": 'foo/a.py,sha256=x,400\n../../../local/bin/foo,,\n"odd,name",,\n',
            "p.json": '{"name":"a","version":"1"}',
            "q.json": '{"name":"b","version":"2"}',
        }
    )
    world.build(*context, "-t", "shop")
    found = shares(world, "--by=package", "shop")
    sizes = {name: (one["bytes"], one["files"]) for name, one in found.items() if name}
    assert sizes == {
        "rpm hello 2:1.2-3": (3000, 1),
        "npm b 2": (600 + len('{"name":"b","version":"2"}'), 2),
        "npm a 1": (500 + len('{"name":"a","version":"1"}'), 2),
        "python foo 1.0": (450, 2),
        "apk musl 1.2": (300, 1),
        "dpkg tzdata 2025": (200, 1),
        "dpkg libc6 2.41": (100, 2),  # and the link /lib
    }
    assert found[""]["bytes"] > 100_000
    said = world.run("size", "--by=package", "shop").stdout
    assert "  python foo 1.0\n" in said
    assert said.splitlines()[2].endswith("   -")


def test_limits_of_an_image(world: World, context: tuple[str, str]) -> None:
    world.write({"Dockerfile": "FROM busybox\n"})
    world.build(*context, "-t", "a")
    world.write({"Dockerfile": "FROM busybox\nRUN head -c 60000 /dev/urandom > /new\n"})
    world.build(*context, "-t", "b")
    size = json.loads(world.run("size", "--json", "a").stdout)["packed"]
    assert world.run("size", "a", f"--max-size={size}").returncode == 0
    done = world.run("size", "a", f"--max-size={size - 1}", ok=False)
    assert done.returncode == TOO_LARGE
    assert f"error: the image takes {size:,} bytes, and `--max-size` allows {size - 1:,}\n" in done.stderr
    assert "--by=step" in done.stderr
    for growth, code in (("59k", 0), ("58k", TOO_LARGE), ("0", TOO_LARGE), ("100%", 0), ("0.1%", TOO_LARGE)):
        done = world.run("size", "b", "--against=a", f"--max-growth={growth}", ok=False)
        assert done.returncode == code, (growth, done.stderr)
    assert world.run("size", "a", "--against=b", "--max-growth=0").returncode == 0
    for wrong in (
        ("--max-growth=5%",),
        ("--against=a",),
        ("--max-growth=x%", "--against=a"),
        ("--max-growth=-1", "--against=a"),
        ("--max-size=many",),
        ("--depth=2",),
        ("--by=colour",),
    ):
        assert world.run("size", "a", *wrong, ok=False).returncode == 2, wrong
    assert world.run("size", "b", "--max-growth=1%", "--against=nowhere.invalid/x", ok=False).returncode == 4


def test_limits_of_a_build(world: World, context: tuple[str, str]) -> None:
    """An image that is too large is not named, so the next build is compared with the one before it."""
    world.write({"Dockerfile": "FROM busybox\n"})
    first = world.build(*context, "-t", "shop", "--max-growth=0")
    assert "there is no image `docker.io/library/shop:latest` yet" in first.stderr
    before = world.run("images", "--json").stdout
    world.write({"Dockerfile": "FROM busybox\nRUN head -c 60000 /dev/urandom > /new\n"})
    for _ in range(2):
        done = world.build(*context, "-t", "shop", "--max-growth=10k", "-o", "type=oci,dest=out.tar", ok=False)
        assert done.returncode == TOO_LARGE
        assert "error: the image grew by 6" in done.stderr
        assert "`--max-growth` allows 10,240\n" in done.stderr
        assert world.run("images", "--json").stdout == before
        assert not (world.project / "out.tar").exists()
    assert world.build(*context, "--max-size=1k", ok=False).returncode == TOO_LARGE
    assert world.build(*context, "--max-size=1g").returncode == 0
    assert world.build(*context, "-t", "shop", "--max-growth=10%").returncode == 0
    again = world.build(*context, "-t", "shop", "--max-growth=0")
    assert again.returncode == 0
    assert world.build(*context, "--max-growth=0", "--against=shop").returncode == 0
    nameless = world.build(*context, "--max-growth=0", ok=False)
    assert nameless.returncode == 2
    assert "no image to compare" in nameless.stderr
