"""`pybuild cp`: where things go, what they become, and that nothing leads out of a container."""

from __future__ import annotations

import io
import os
import signal
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.behaviour.containers import LOOP, begin, listed, log, sh, supervisors, until
from tests.behaviour.world import World

SETUP = (
    "mkdir -p /d/sub /e; echo one > /d/one; echo two > /d/sub/two; ln -s one /d/link; ln -s /d /to-d; "
    "ln -s /e/new /dangling; ln /d/one /d/hard; mkfifo /d/pipe; chmod 4755 /d/sub/two; chown 7:8 /d/one; echo ready;"
)


@pytest.fixture(params=["running", "stopped"])
def web(svc: World, request: pytest.FixtureRequest) -> World:
    """A world with a container `web` that has files, and runs or does not."""
    sh(svc, "web", f"{SETUP} {LOOP if request.param == 'running' else ''}")
    until(lambda: "ready" in log(svc, "web"))
    if request.param == "stopped":
        svc.run("wait", "web")
    return svc


def inside(world: World, *paths: str) -> dict[str, tarfile.TarInfo]:
    """What is in a container, by path: the one that runs and the other have the same command for it."""
    found = {}
    for path in paths:
        done = subprocess.run(
            world.command("cp", f"web:{path}", "-"),
            cwd=world.project,
            env=world.environment(),
            capture_output=True,
            check=True,
        )
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            found |= {member.name: member for member in archive}
    return found


def text(world: World, path: str) -> str:
    world.run("cp", f"web:{path}", "read-back")
    return (world.project / "read-back").read_text()


def names(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}


TREE = {"one", "hard", "link", "pipe", "sub", "sub/two"}


def test_from_a_container(web: World) -> None:
    here = web.project
    web.run("cp", "web:/d/one", "new")
    assert (here / "new").read_text() == "one\n"
    web.run("cp", "web:d/sub/two", "new")
    assert (here / "new").read_text() == "two\n"
    (here / "dir").mkdir()
    os.chmod(here / "dir", 0o777)
    web.run("cp", "web:/d/one", "dir")
    assert names(here / "dir") == {"one"}
    web.run("cp", "web:/d", "dir")
    assert names(here / "dir") == {"one", "d", *(f"d/{name}" for name in TREE)}
    web.run("cp", "web:/d", "fresh")
    assert names(here / "fresh") == TREE
    web.run("cp", "web:/d/.", "dir/d/sub")
    assert names(here / "dir" / "d" / "sub") == {"two", *TREE}
    web.run("cp", "web:/d/.", "made-for-contents")
    assert names(here / "made-for-contents") == TREE
    fresh = here / "fresh"
    assert os.readlink(fresh / "link") == "one"
    assert (fresh / "one").stat().st_ino == (fresh / "hard").stat().st_ino
    assert stat.S_ISFIFO((fresh / "pipe").stat().st_mode)
    assert stat.S_IMODE((fresh / "sub" / "two").stat().st_mode) == 0o755  # no set-id bit gets out
    assert (fresh / "one").stat().st_uid == here.stat().st_uid
    web.run("cp", "web:/to-d", "as-a-link")
    assert os.readlink(here / "as-a-link") == "/d"
    web.run("cp", "-L", "web:/to-d", "followed")
    assert names(here / "followed") == TREE
    web.run("cp", "web:/to-d/sub/../one", "through")
    assert (here / "through").read_text() == "one\n"


WRONG = [
    ("web:/nothing", "x", "there is no `web:/nothing`"),
    ("web:/d/one/", "x", "cannot be reached"),
    ("web:/d/one", "x/", "there is no directory"),
    ("web:/d/one", "no/such", "there is no `"),
    ("web:/d", "a-file", "is a file"),
    ("web:/d/one", "a-file/", "is a file"),
    ("nowhere", "web:/x", "there is no `"),
    ("a-file", "web:/x/", "there is no directory"),
    ("a-file", "web:/no/such", "there is no `web:/no/`"),
    (".", "web:/d/one", "is a file"),
    ("a-file", "web:/d/pipe", "neither a file nor a directory"),
    ("-", "web:/nowhere", "there is no directory"),
    ("-", "web:/d/one", "is a file"),
    ("a-file", "b", "one of the two sides"),
    ("web:/d", "web:/e", "one of the two sides"),
    ("nobody:/d", "x", "there is no container `nobody`"),
    ("web:/proc/self/root/etc", "x", "`web:/proc/self/root/etc`"),
]


def test_what_cannot_be(web: World) -> None:
    web.write({"a-file": "here\n"})
    for source, dest, words in WRONG:
        done = web.run("cp", source, dest, ok=False)
        assert (done.returncode, words in done.stderr) == (2, True), (source, dest, done.stderr)


def test_into_a_container(web: World) -> None:
    web.write({"tree/one": "1\n", "tree/sub/two": "2\n", "file": "f\n"})
    os.symlink("one", web.project / "tree" / "link")
    os.chmod(web.project / "tree" / "sub", 0o750)
    os.chmod(web.project / "tree", 0o700)
    os.chmod(web.project / "file", 0o640)
    web.run("cp", "file", "web:/e/new")
    web.run("cp", "file", "web:/d/one")
    assert text(web, "/d/one") == "f\n"
    assert text(web, "/d/hard") == "one\n"  # what else had been that file is as it was
    web.run("cp", "file", "web:/e")
    web.run("cp", "tree", "web:/e")
    web.run("cp", "tree/.", "web:/e")
    web.run("cp", "tree", "web:/t")
    web.run("cp", "file", "web:/dangling")
    assert text(web, "/e/new") == "f\n"
    web.run("cp", "file", "web:/to-d/sub")
    found = inside(web, "/e", "/t", "/d")
    tree = {"", "/one", "/sub", "/sub/two", "/link"}
    assert {f"e/tree{name}" for name in tree} | {"e/one", "e/sub/two", "e/link", "e/new", "e/file"} <= set(found)
    assert {f"t{name}" for name in tree} <= set(found)
    assert "d/sub/file" in found
    assert found["t/link"].linkname == "one"
    assert (found["e/file"].mode, found["e/file"].uid, found["e/file"].gid) == (0o640, 0, 0)
    assert (found["t/sub"].mode, found["e"].mode & 0o777) == (0o750, 0o755)  # one that was there keeps its mode
    assert abs(found["e/file"].mtime - int((web.project / "file").stat().st_mtime)) == 0
    if web.run("ps", "-q").stdout:
        assert web.run("exec", "web", "cat", "/e/sub/two").stdout == "2\n"
    else:
        web.run("start", "web")
        assert text(web, "/e/sub/two") == "2\n"


def test_owners(web: World) -> None:
    web.write({"file": "f\n"})
    web.run("cp", "-a", "file", "web:/e/kept")
    owner = (web.project / "file").stat()
    found = inside(web, "/e", "/d")
    assert (found["e/kept"].uid, found["e/kept"].gid) == (owner.st_uid, owner.st_gid)
    assert (found["d/one"].uid, found["d/one"].gid) == (7, 8)
    web.run("cp", "-a", "web:/d", "here")
    kept = (web.project / "here" / "one").stat()
    assert (kept.st_uid, kept.st_gid) == ((7, 8) if web.mode == "root" else (owner.st_uid, owner.st_gid))
    assert stat.S_IMODE((web.project / "here" / "sub" / "two").stat().st_mode) == 0o755


@pytest.mark.parametrize("kind", ["w", "w:gz"])
def test_a_tar_from_standard_input(web: World, kind: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=kind) as archive:  # type: ignore[call-overload]
        for name, mode in (("a", 0o755), ("new/deep/b", 0o4711)):
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid, info.gid = 5, mode, 77, 50
            archive.addfile(info, io.BytesIO(b"data\n"))
        for name, flag, target in (("l", tarfile.SYMTYPE, "/e"), ("h", tarfile.LNKTYPE, "a")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = flag, target
            archive.addfile(info)
    done = take(web, out.getvalue(), "web:/e")
    assert (done.returncode, done.stderr) == (0, b"")
    found = inside(web, "/e")
    assert text(web, "/e/new/deep/b") == "data\n"
    assert (found["e/new/deep/b"].mode, found["e/new/deep/b"].uid, found["e/new/deep/b"].gid) == (0o4711, 77, 50)
    assert (found["e/l"].linkname, found["e/h"].type) == ("/e", tarfile.LNKTYPE)


def test_a_link_that_is_in_an_archive_twice(web: World) -> None:
    """Of two names of one file rename(2) takes none away."""
    members = [("a", tarfile.REGTYPE, ""), ("b", tarfile.LNKTYPE, "a"), ("a", tarfile.LNKTYPE, "a")]
    done = take(web, hostile(*members, members[1]), "web:/e")
    assert (done.returncode, done.stderr) == (0, b"")
    found = inside(web, "/e")
    assert set(found) == {"e", "e/a", "e/b"}
    assert {found["e/a"].type, found["e/b"].type} == {tarfile.REGTYPE, tarfile.LNKTYPE}
    assert text(web, "/e/b") == "evil"


def take(world: World, data: bytes, dest: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        world.command("cp", "-", dest),
        cwd=world.project,
        env=world.environment(),
        input=data,
        capture_output=True,
        check=False,
    )


def hostile(*members: tuple[str, bytes, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, flag, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = flag, target, 4 if flag == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(b"evil"))
    return out.getvalue()


def test_hostile_archives(web: World) -> None:
    canary = web.top / "canary"
    canary.mkdir()
    canary.chmod(0o777)
    (canary / "file").write_text("safe")
    (canary / "file").chmod(0o666)
    up = "../" * 40
    for members in (
        [(f"{up}{canary}/new", tarfile.REGTYPE, "")],
        [("l", tarfile.SYMTYPE, str(canary)), ("l/new", tarfile.REGTYPE, "")],
        [("l", tarfile.SYMTYPE, f"{up}{canary}"), ("l/new", tarfile.REGTYPE, "")],
        [("h", tarfile.LNKTYPE, f"{canary}/file"), ("h", tarfile.REGTYPE, "")],
        [("h", tarfile.LNKTYPE, f"{up}{canary}/file"), ("h", tarfile.REGTYPE, "")],
        [("l", tarfile.SYMTYPE, str(canary)), ("h", tarfile.LNKTYPE, "l/file")],
        [("w", tarfile.CHRTYPE, "")],
    ):
        done = take(web, hostile(*members), "web:/e")
        assert done.returncode in (2, 4, 7), (members, done.stderr)
        assert b"Traceback" not in done.stderr
    assert names(canary) == {"file"}
    assert (canary / "file").read_text() == "safe"
    cut = take(web, hostile(("a", tarfile.REGTYPE, ""))[:700], "web:/e")
    assert (cut.returncode, b"truncated" in cut.stderr) == (4, True)


def test_links_lead_nowhere_but_inside(web: World) -> None:
    canary = web.top / "canary"
    canary.mkdir()
    canary.chmod(0o777)
    (canary / "secret").write_text("secret of this machine")
    web.write({"file": "f\n"})
    up = "/.." * 40
    for name, target in (("abs", str(canary)), ("rel", f"{up[1:]}{canary}"), ("proc", f"/proc/self/root{canary}")):
        os.symlink(target, web.project / name)
        web.run("cp", name, f"web:/e/{name}")  # as links
        for path in (f"/e/{name}/secret", f"/e/{name}"):
            for options in ((), ("-L",)):
                done = web.run("cp", *options, f"web:{path}", "out", ok=False)
                assert done.returncode == (0 if path.endswith(name) and not options else 2), done.stderr
                if (web.project / "out").is_symlink():
                    (web.project / "out").unlink()
        for path in (f"/e/{name}/new", f"/e/{name}/secret"):
            done = web.run("cp", "file", f"web:{path}", ok=False)
            assert done.returncode == 2, done.stderr
    assert names(canary) == {"secret"}
    assert (canary / "secret").read_text() == "secret of this machine"


def test_devices_and_what_the_kernel_shows(svc: World) -> None:
    sh(svc, "web", f"mkdir /d; mknod /d/disk b 8 0; mknod /d/null c 1 3; echo x > /d/file; echo ready; {LOOP}")
    until(lambda: "ready" in log(svc, "web"))
    done = svc.run("cp", "web:/d", "here")
    assert names(svc.project / "here") == {"file"}
    assert ("left out" in done.stderr) == (svc.mode == "root")  # others cannot make devices in there either
    for path, dest in (("/proc/version", "out"), ("/proc/version", "-"), ("/dev/null", "out")):
        wrong = svc.run("cp", f"web:{path}", dest, ok=False)
        assert (wrong.returncode, "cannot be copied" in wrong.stderr) == (2, True)
        assert f"`web:{path}` is a device" in wrong.stderr  # and not what it would have become
        assert not (svc.project / "out").exists()
    wrong = svc.run("cp", "/proc/version", "web:/tmp/new", ok=False)
    assert (wrong.returncode, "`/proc/version` is a device" in wrong.stderr) == (2, True)
    svc.run("cp", "web:/", "all")
    assert list((svc.project / "all" / "proc").iterdir()) == []
    assert list((svc.project / "all" / "sys").iterdir()) == []
    assert (svc.project / "all" / "file").read_text() == "of-the-image\n"
    assert all(
        stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
        for mode in (path.lstat().st_mode for path in (svc.project / "all").rglob("*"))
    )


def test_what_is_mounted_in_it(svc: World) -> None:
    svc.write({"shared/a": "a\n", "file": "f\n", "hosts": "127.0.0.1 mine\n"})
    mounts = ("-v", f"{svc.project}/shared:/shared", "-v", "data:/data", "--tmpfs=/mem")
    sh(svc, "web", f"echo m > /mem/m; echo ready; {LOOP}", *mounts)
    until(lambda: "ready" in log(svc, "web"))
    svc.run("cp", "web:/shared/a", "out")
    svc.run("cp", "web:/mem/m", "mem")
    assert ((svc.project / "out").read_text(), (svc.project / "mem").read_text()) == ("a\n", "m\n")
    svc.run("cp", "file", "web:/data/by-cp")
    svc.run("cp", "hosts", "web:/etc/hosts")
    assert svc.run("exec", "web", "cat", "/data/by-cp", "/etc/hosts").stdout == "f\n127.0.0.1 mine\n"
    assert "/etc/hosts" in svc.run("exec", "web", "cat", "/proc/mounts").stdout
    itself = svc.run("cp", "shared", "web:/shared/again", ok=False)
    assert (itself.returncode, "into itself" in itself.stderr) == (2, True)
    svc.run("stop", "-t0", "web")
    svc.run("cp", "web:/data/by-cp", "stopped")
    assert (svc.project / "stopped").read_text() == "f\n"
    svc.run("cp", "file", "web:/shared/new")
    assert (svc.project / "shared" / "new").read_text() == "f\n"


def test_a_read_only_root(svc: World) -> None:
    svc.write({"file": "f\n"})
    sh(svc, "web", LOOP, "--read-only", "--tmpfs=/mem")
    done = svc.run("cp", "file", "web:/new", ok=False)
    assert (done.returncode, "Read-only" in done.stderr) == (7, True)
    svc.run("cp", "file", "web:/mem/new")
    assert svc.run("exec", "web", "cat", "/mem/new").stdout == "f\n"


def test_a_container_that_swaps_what_is_copied(svc: World) -> None:
    canary = svc.top / "canary"
    canary.mkdir()
    canary.chmod(0o777)
    (canary / "secret").write_text("of this machine")
    (canary / "secret").chmod(0o666)
    swap = f"ln -sfn {canary} x/d; rm -rf x/d; mkdir -p x/d; echo mine > x/d/secret"
    sh(svc, "web", f"mkdir x; echo ready; while :; do {swap}; done")
    until(lambda: "ready" in log(svc, "web"))
    svc.write({"evil/d/secret": "evil", "evil/d/new": "evil"})
    for number in range(40):
        svc.run("cp", "web:/x", f"out-{number}")
        svc.run("cp", "evil/.", "web:/x", ok=False)
        svc.run("cp", "evil/d/new", "web:/x/d/new", ok=False)
    assert names(canary) == {"secret"}
    assert (canary / "secret").read_text() == "of this machine"
    for path in svc.project.glob("out-*/d/secret"):
        assert path.is_symlink() or path.read_text() in ("mine\n", "", "evil")


def test_one_that_ends_just_then(svc: World) -> None:
    """In the moment between the look and the copy, or in none: it is copied from as it is afterwards."""
    sh(svc, "web", "echo one > /file")
    for _ in range(20):
        svc.run("wait", "web")
        svc.run("start", "web")
        svc.run("cp", "web:/file", "file")
        assert (svc.project / "file").read_text() == "one\n"


@pytest.mark.parametrize("killed", [False, True])
def test_who_comes_while_a_container_is_copied_from(svc: World, killed: bool) -> None:
    """One that does not run, or not since its supervisor was killed: nobody is told that it does; who waits says so."""
    sh(svc, "web", f"dd if=/dev/zero of=/large bs=1M count=4 2>/dev/null; echo done; {LOOP if killed else ''}")
    until(lambda: "done" in log(svc, "web"))
    if killed:
        os.kill(min(supervisors(svc)), signal.SIGKILL)
        until(lambda: listed(svc, "web")["status"] == "exited")
    svc.run("wait", "web", ok=False)
    copying = subprocess.Popen(
        svc.command("cp", "web:/large", "-"), cwd=svc.project, env=svc.environment(), stdout=subprocess.PIPE
    )
    assert copying.stdout is not None
    with copying:
        assert copying.stdout.read(1)  # more than the pipe takes is still to come
        assert (listed(svc, "web")["status"], listed(svc, "web")["code"]) == ("exited", 137 if killed else 0)
        for argv in (("rm", "web"), ("rm", "-f", "web"), ("start", "web")):
            refused = svc.run(*argv, ok=False)
            assert refused.returncode == 2
            assert "the container `web` is just being started, copied from or committed" in refused.stderr
            assert "running" not in refused.stderr
        assert svc.run("stop", "web").stdout == "web\n"  # it does not run, as was wanted
        with begin(svc, "commit", "web", "mine") as waiting:
            assert waiting.stderr is not None
            said = waiting.stderr.readline()
            assert said == "note: waiting for who starts, copies from or commits the container `web`\n"
            assert waiting.poll() is None
            copying.stdout.read()
            assert waiting.wait() == 0
    assert copying.returncode == 0
    svc.run("rm", "web")
