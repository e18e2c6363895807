"""Bad input of every kind: the exit code, what the message says and where, the hint; and the next build is fine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.behaviour.world import World
from tests.fake_registry import Handler, Request, fake_registry
from tests.images import sample
from tests.needs import need

GOOD = "FROM busybox\nCOPY file /file\nRUN cat /file > /copy\n"


class Bad(NamedTuple):
    """A Buildfile and what comes of it: the exit code, and pieces of the message in their order."""

    text: str | bytes
    code: int
    says: tuple[str, ...]
    argv: tuple[str, ...] = ()


BUILDFILES = {
    "unknown instruction": Bad(
        "FROM busybox\nRUM echo\n", 3, ("Dockerfile:2:1: unknown instruction `RUM`", "RUM echo\n", "^^^", "mean `RUN`?")
    ),
    "unknown flag": Bad(
        "FROM busybox\nCOPY --chwon=1 a b\n",
        3,
        ("Dockerfile:2:6: COPY has no flag `--chwon`", "^^^^^^^", "mean `--chown`?"),
    ),
    "unknown mount": Bad(
        "FROM busybox\nRUN --mount=type=bnid x\n", 3, ("Dockerfile:2:5: unknown mount type", "`bind`?")
    ),
    "unknown stage in COPY": Bad(
        "FROM busybox AS build\nFROM busybox\nCOPY --from=127.0.0.1:1/bulid / /\n",
        4,
        ("Dockerfile:3:6: `127.0.0.1:1/bulid`: the registry cannot be reached", "hint: check the image's name"),
    ),
    "unknown target": Bad(
        "FROM busybox AS build\n", 2, ("Dockerfile: there is no target `bild`", "mean `build`?"), ("--target", "bild")
    ),
    "missing file": Bad(
        "FROM busybox\nCOPY gone.txt /\n",
        4,
        ("Dockerfile:2:1: `gone.txt` not found", "COPY gone.txt", "hint: there is no"),
    ),
    "a copied directory is a file": Bad(
        "FROM busybox\nCOPY file/x /\n", 4, ("Dockerfile:2:1: `file/x` not found", "COPY file/x")
    ),
    "bad JSON form of COPY": Bad('FROM busybox\nCOPY ["file" "/b"]\n', 3, ("Dockerfile:2:1:", "[")),
    "bad JSON form of RUN": Bad(
        'FROM busybox\nRUN ["true",\n', 1, ('Dockerfile:2:1: `[2/2] RUN ["true",` ended with exit code 127',)
    ),
    "JSON with something that is no string": Bad(
        "FROM busybox\nRUN [1]\n", 3, ("Dockerfile:2:5: a JSON array", "hint:")
    ),
    "cycle": Bad(
        "FROM busybox AS a\nCOPY --from=b / /\nFROM a AS b\n",
        3,
        ("Dockerfile:2:6: the stages need each other", "`a` → `b`"),
    ),
    "a stage from itself": Bad(
        "FROM busybox AS a\nCOPY --from=a / /\n", 3, ("Dockerfile:2:6: the stage `a` takes files from itself",)
    ),
    "nothing before FROM": Bad("RUN x\n", 3, ("Dockerfile:1:1: RUN stands before the first FROM", "hint: only ARG")),
    "empty": Bad("", 3, ("Dockerfile:1:1: the file has no instructions", "hint: a Buildfile starts with `FROM`")),
    "open heredoc": Bad("FROM busybox\nRUN <<EOF\nx\n", 3, ("Dockerfile:2:5: the heredoc `EOF` has no end", "hint:")),
    "no such user to run as": Bad(
        "FROM busybox\nUSER nobody-here\nRUN true\n", 6, ("Dockerfile:3:1: unable to find user nobody-here", "RUN true")
    ),
    "no such user to copy for": Bad(
        "FROM busybox\nCOPY --chown=nobody-here file /\n",
        3,
        ("Dockerfile:2:1: unable to find user", "hint: /etc/passwd"),
    ),
    "a file for a working directory": Bad(
        "FROM busybox\nWORKDIR /etc/passwd\n", 3, ("Dockerfile:2:1: `/etc/passwd` is not a directory", "WORKDIR /etc")
    ),
    "NUL": Bad("FROM busybox\nRUN a\0b\n", 3, ("Dockerfile:2:6: there is a NUL character",)),
    "UTF-16": Bad("FROM busybox\n".encode("utf-16"), 3, ("the file is UTF-16", "save it as UTF-8")),
    "secret that was not given": Bad(
        "FROM busybox\nRUN --mount=type=secret,id=x,required cat /run/secrets/x\n",
        3,
        ("Dockerfile:2:1: the secret `x` is required", "hint: give it with --secret"),
    ),
    "secret that is not there": Bad(GOOD, 2, ("`x`", "gone", "is no file"), ("--secret", "id=x,src=gone")),
    "context that is not there": Bad(
        "FROM busybox\nCOPY --from=c / /\n",
        4,
        ("Dockerfile:2:6: the context", "does not exist"),
        ("--build-context", "c=./gone"),
    ),
    "layout that is not there": Bad(
        "FROM c\n",
        4,
        ("Dockerfile:1:1: `oci-layout://gone`", "No such file"),
        ("--build-context", "c=oci-layout://gone"),
    ),
    "registry down": Bad(
        "FROM 127.0.0.1:1/app\n", 4, ("Dockerfile:1:1: `127.0.0.1:1/app`", "Connection refused", "hint:")
    ),
    "not an image name": Bad("FROM a:b:c\n", 4, ("Dockerfile:1:1:", "a:b:c")),
    "not a platform": Bad(
        "FROM --platform=a/b/c/d busybox\n", 3, ("Dockerfile:1:6: `a/b/c/d` is not a platform", "hint:")
    ),
    "a command that fails": Bad(
        "FROM busybox\nRUN echo why; exit 7\n", 1, ("why\n", "Dockerfile:2:1: `[2/2] RUN echo why; exit 7`", "code 7")
    ),
    "a command that is not there": Bad('FROM busybox\nRUN ["/gone"]\n', 1, ("no such file", "Dockerfile:2:1:", "127")),
    "an output of no type": Bad(GOOD, 2, ("there is no output type `nope`", "hint: known are"), ("-o", "type=nope")),
    "an output that cannot be": Bad(GOOD, 7, ("/proc/x/y: the output cannot",), ("-o", "type=oci,dest=/proc/x/y")),
    "a name that is none": Bad(GOOD, 2, ("`Bad:UP/x` is not an image name",), ("-t", "Bad:UP/x")),
    "a name that is none, of what fails": Bad(
        "FROM busybox\nRUN exit 7\n", 2, ("`a:b:c` is not an image name",), ("-t", "a:b:c")
    ),
    "an option that is none": Bad(GOOD, 2, ("unknown option `--bogus`",), ("--bogus",)),
    "jobs that are no number": Bad(GOOD, 2, ("`--jobs x`",), ("-j", "x")),
    "a file that is not there": Bad(GOOD, 4, ("there is no Buildfile `gone`",), ("-f", "gone")),
    "a file that is a directory": Bad(GOOD, 4, ("the Buildfile `.` is a directory",), ("-f", ".")),
}
TOP = "from buildkit_py import *\n@target\ndef app(n: int = 1):\n    return "
PYTHON = {
    "syntax": Bad("def x(:\n", 3, ("Buildfile.py:1:7: invalid syntax", "def x(:")),
    "exception": Bad(TOP + "1 / 0\n", 3, ("Buildfile.py:4 in app(): ZeroDivisionError: division by zero", "1 / 0")),
    "import": Bad("import nothing_like_it\n", 3, ("Buildfile.py:1:1: ModuleNotFoundError", "hint: only installed")),
    "type": Bad(TOP + "scratch().run(5)\n", 3, ("Buildfile.py:4 in app(): the words of run() must be str, got int 5",)),
    "attribute": Bad(TOP + "scratch().rum()\n", 3, ("Buildfile.py:4 in app(): AttributeError", "rum")),
    "result": Bad(TOP + "5\n", 3, ("Buildfile.py:2 in app(): the target app() returned int", "hint: a target returns")),
    "no result": Bad(TOP.removesuffix("return ") + "scratch()\n", 3, ("the target app() returned nothing", "hint:")),
    "itself": Bad(TOP + "app()\n", 3, ("Buildfile.py:4 in app(): the target app() needs itself",)),
    "exit": Bad("import sys\nsys.exit(0)\n", 3, ("Buildfile.py:2:1: the Buildfile.py called exit(0)", "hint:")),
    "context": Bad(TOP + 'context("gone")\n', 3, ("Buildfile.py:4 in app(): the context `gone` is not a directory",)),
    "no targets": Bad("x = 1\n", 3, ("Buildfile.py: the file has no target", "hint: mark a function with @target")),
    "unknown target": Bad(TOP + "scratch()\n", 2, ("there is no target `apo`", "mean `app`?"), ("apo",)),
    "parameter": Bad(
        TOP + "scratch()\n", 2, ("Buildfile.py:2 in app(): `--n` of `app` must be int",), ("app", "--n=x")
    ),
    "unknown parameter": Bad(TOP + "scratch()\n", 2, ("app` has no parameter `--m`", "mean `--n`?"), ("app", "--m=x")),
}


@pytest.fixture
def busybox(base_layout: Path) -> str:
    return f"--build-context=busybox=oci-layout://{base_layout}"


def expect(done: subprocess.CompletedProcess[str], bad: Bad) -> None:
    """The code is right, and the message has its pieces in their order, one error, and nothing of our own innards."""
    assert done.returncode == bad.code, done.stderr
    rest = done.stderr
    for piece in bad.says:
        assert piece in rest, (piece, done.stderr)
        rest = rest[rest.index(piece) + len(piece) :]
    assert done.stderr.count("error: ") == 1
    for innards in ("Traceback", "buildkit_py/", "internal error", "Errno", "object at 0x"):
        assert innards not in done.stderr
    assert done.stdout == ""


def good(world: World, busybox: str) -> None:
    world.write({"Dockerfile": GOOD, "file": "content\n"})
    (world.project / "Buildfile.py").unlink(missing_ok=True)
    assert (world.out(busybox) / "copy").read_text() == "content\n"
    world.run("cache", "verify")


def test_buildfiles_and_command_lines(world: World, busybox: str) -> None:
    for name, bad in BUILDFILES.items():
        world.write({"Dockerfile": bad.text, "file": "content\n"})
        try:
            expect(world.build(busybox, *bad.argv, ok=False), bad)
        except AssertionError as wrong:
            raise AssertionError(name) from wrong
    good(world, busybox)


def test_buildfiles_in_python(world: World, busybox: str) -> None:
    for name, bad in PYTHON.items():
        world.write({"Buildfile.py": bad.text})
        try:
            expect(world.run("Buildfile.py", *(bad.argv or ("app",)), ok=False), bad)
        except AssertionError as wrong:
            raise AssertionError(name) from wrong
    good(world, busybox)


def test_a_mistyped_stage_is_named_in_the_hint(world: World, busybox: str) -> None:
    # The mirror is down, so nothing is asked of a real registry.
    mirror = {"PYBUILD_REGISTRY_MIRRORS": "docker.io=http://127.0.0.1:1"}
    world.write({"Dockerfile": "FROM busybox AS build\nFROM busybox\nCOPY --from=bulid / /\n"})
    done = world.build(busybox, ok=False, **mirror)
    expect(done, Bad("", 4, ("Dockerfile:3:6:", "bulid", "hint: did you mean `build`?")))
    world.write({"Dockerfile": "FROM later AS a\nFROM busybox AS later\nFROM a\n"})
    done = world.build(busybox, ok=False, **mirror)
    expect(done, Bad("", 4, ("Dockerfile:1:1:", "hint: the stage `later` stands further down")))


LEAVING = {
    "FROM scratch\nCOPY ../outside/secret /x\n": "2:1: `../outside/secret` not found",
    "FROM scratch\nCOPY /../../../../etc/passwd /x\n": "2:1: `/../../../../etc/passwd` not found",
    "FROM scratch\nCOPY link /x\n": "2:1: `link` not found",
    "FROM scratch\nADD absolute /x\n": "2:1: `absolute` not found",
    "FROM scratch\nCOPY directory/secret /x\n": "2:1: `directory/secret` not found",
    "FROM scratch\nCOPY --parents ./directory/secret /x/\n": "2:1: `./directory/secret` not found",
    "FROM busybox\nRUN --mount=type=bind,source=../outside,target=/m cat /m/secret\n": "2:5: `outside` not found",
    "FROM busybox\nRUN --mount=type=bind,source=directory,target=/m cat /m/secret\n": "2:5: `directory` not found",
    "INCLUDE ../outside/secret\nFROM scratch\n": "1:9: `../outside/secret` is outside of the build context",
    "INCLUDE link\nFROM scratch\n": "1:9: `link` is outside of the build context",
}


@pytest.mark.attack("C1", "C2", "C3", "C4", "C5", "S5")
def test_a_path_that_leaves_the_context(world: World, busybox: str) -> None:
    outside = world.top / "outside"
    outside.mkdir()
    (outside / "secret").write_text("FROM scratch AS canary\n")
    links = {"link": "../outside/secret", "absolute": str(outside / "secret"), "directory": "../outside"}
    for name, target in links.items():
        (world.project / name).symlink_to(target)
    for text, says in LEAVING.items():
        world.write({"Dockerfile": text})
        done = world.build(busybox, "-o", "out", ok=False)
        assert done.returncode in (3, 4), (text, done.stderr)
        assert f"error: Dockerfile:{says}" in done.stderr, (text, done.stderr)
        assert "canary" not in done.stderr
        assert not (world.project / "out").exists()
    world.write({"Dockerfile": "FROM scratch\nCOPY . /x/\n"})
    copied = world.out() / "x"
    assert {name: os.readlink(copied / name) for name in links} == links, "links are copied, never followed"


@pytest.mark.attack("C8")
def test_a_buildfile_and_an_ignore_file_may_be_links(world: World) -> None:
    """Of a local context, whose owner could name them with `-f` as well."""
    for name, text in {"Shared": "FROM scratch\nCOPY . /x/\n", "ignored": "file\n"}.items():
        (world.top / name).write_text(text)
    world.write({"file": "", "other": ""})
    (world.project / "Dockerfile").symlink_to("../Shared")
    (world.project / ".dockerignore").symlink_to("../ignored")
    copied = set(os.listdir(world.out() / "x"))
    assert "other" in copied
    assert "file" not in copied


def test_what_may_not_be_read(world: World, busybox: str) -> None:
    if world.mode == "root":
        pytest.skip("root may read everything")
    if os.geteuid() != 0:
        pytest.skip("needs root to give files away")
    world.write({"Dockerfile": GOOD, "file": "content\n"})
    # His own he may read in his namespace, whatever its mode.
    os.chown(world.project / "file", 0, 0)
    (world.project / "file").chmod(0o600)
    expect(world.build(busybox, ok=False), Bad("", 4, ("Dockerfile:2:1:", "file", "ermission denied")))
    os.chown(world.project / "Dockerfile", 0, 0)
    (world.project / "Dockerfile").chmod(0o600)
    expect(world.build(busybox, ok=False), Bad("", 3, ("Dockerfile: the file cannot be read: Permission denied",)))
    for name in ("Dockerfile", "file"):
        (world.project / name).unlink()
    good(world, busybox)


@pytest.mark.attack("R1", "H6")
def test_registries_that_misbehave(world: World, busybox: str) -> None:
    with fake_registry() as registry:
        image = sample()
        registry.add(image)
        name = f"{registry.address}/app"
        world.write({"Dockerfile": f"FROM {name}:gone\nCOPY file /\n", "file": ""})
        expect(world.build(ok=False), Bad("", 4, (f"Dockerfile:1:1: `{name}:gone`",)))

        (layer,) = image.layers
        whole = registry.blobs[layer]
        world.write({"Dockerfile": f"FROM {name}\nCOPY file /hello/\n"})
        for place in (len(whole) - 1, 4):  # a check sum of gzip, which it tells first, and a time that nobody looks at
            registry.blobs[layer] = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
            said = (f"Dockerfile:1:1: `{name}`: the bytes received are not {layer}", "Dockerfile:2:1")
            expect(world.build("-o", "out", ok=False), Bad("", 4, said))
        registry.blobs[layer] = whole

        def broken(handler: Handler, request: Request) -> bool:
            return handler.reply(500, b"<html>oops \x1b[2J</html>")

        registry.faults.append(broken)
        world.write({"Dockerfile": f"FROM {name}:new\n"})
        done = world.build(ok=False)
        expect(done, Bad("", 4, ("Dockerfile:1:1:", "500")))
        assert "\x1b" not in done.stderr
        registry.faults.clear()
        world.write({"Dockerfile": f"FROM {name}\nCOPY file /\n"})
        assert (world.out() / "hello").read_bytes() == b"world\n"
    good(world, busybox)


def damaged(path: Path) -> None:
    data = path.read_bytes() or b"\0"
    path.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :])


def made_a_directory(path: Path) -> None:
    owner = path.stat()
    path.unlink()
    path.mkdir()
    os.chown(path, owner.st_uid, owner.st_gid)


def made_a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped bit": damaged,
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "gone": Path.unlink,
    "a directory": made_a_directory,
    "a link": made_a_link,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.attack("K5")
def test_a_damaged_store_heals(world: World, busybox: str, damage: str) -> None:
    world.env["SOURCE_DATE_EPOCH"] = "0"
    world.write({"Dockerfile": GOOD, "file": "content\n"})
    argv = (busybox, "-t", "x", "--iidfile", "iid", "-o", "type=oci,dest=x.tar")
    world.build(*argv)
    wanted, archive = (world.project / "iid").read_text(), (world.project / "x.tar").read_bytes()
    for part in ("blobs", "records", "snapshots", "layers", "images", "memo", "scans"):
        files = [path for path in (world.store / part).rglob("*") if path.is_file() and "/diff/" not in str(path)]
        assert files
        for path in files:
            DAMAGE[damage](path)
        done = world.build(*argv, ok=False)
        if done.returncode != 0:
            # What cannot be made again without being told is named, and set aside by the time of the next try.
            assert (done.returncode, done.stderr.count("error: ")) == (5, 1), done.stderr
            assert "hint: " in done.stderr, done.stderr
            world.run("cache", "verify", ok=False)
            world.build(*argv)
        assert (world.project / "iid").read_text() == wanted, part
        assert (world.project / "x.tar").read_bytes() == archive, part
    world.run("cache", "verify", ok=False)
    world.run("cache", "verify")


def test_a_machine_without_namespaces(world: World, busybox: str) -> None:
    need("unshare")
    good(world, busybox)
    world.write({"Dockerfile": "FROM busybox\nRUN true\n"})
    command = world.command("build", busybox, ".")
    start = command.index("buildkit_py") - 2
    script = 'for kind in user mnt; do echo 0 > /proc/sys/user/max_${kind}_namespaces; done; exec "$@"'
    done = subprocess.run(
        [*command[:start], "unshare", "-Urm", "sh", "-ec", script, "sh", *command[start:]],
        cwd=world.project,
        # Inside other ids are mapped, and a store belongs to those that it was made with.
        env=world.environment(PYBUILD_HOME=str(world.project / "other")),
        capture_output=True,
        text=True,
        check=False,
    )
    expect(done, Bad("", 6, ("error: ", "namespace", "hint: ")))
    good(world, busybox)
