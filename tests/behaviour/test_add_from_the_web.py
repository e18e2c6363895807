"""ADD of a URL: what lands in the image, what a rebuild asks for, and servers that lie, break off or never end."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from buildkit_py.errors import SourceError
from buildkit_py.executor.web_file import ask, fetch
from buildkit_py.http.transport import Transport
from buildkit_py.store.store import Store
from tests.behaviour.world import World
from tests.fake_registry import fake_registry
from tests.web_server import MODIFIED_SECONDS, Handler, Request, Web, redirect, web_server, with_etag

SOURCE = 4
BUILDFILE = 3


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as made:
        yield made


@pytest.fixture
def project(world: World, base_layout: Path) -> World:
    """The world with a base image in its store, so that a memo could be believed."""
    world.write({"base/Dockerfile": f"FROM oci-layout://{base_layout}\n"})
    world.run("build", "-q", "-t", "docker.io/library/busybox:latest", "base")
    return world


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def test_a_file_of_the_web(project: World, web: Web) -> None:
    web.pages["/d/f%20x.txt"] = b"hello\n"
    web.pages["/"] = b"root\n"
    project.write(
        {
            "Dockerfile": f"FROM scratch\nARG U={web.url}\nADD $U/d/f%20x.txt /in/\nADD $U/d/f%20x.txt /as\n"
            f"ADD --chmod=644 --chown=3:4 $U/d/f%20x.txt /own\nADD $U/ /root/\n"
        }
    )
    out = project.out()
    assert (out / "in/f x.txt").read_bytes() == (out / "as").read_bytes() == b"hello\n"
    for path, mode in (("in/f x.txt", 0o600), ("as", 0o600), ("own", 0o644), ("root/__unnamed__", 0o600)):
        assert (out / path).stat().st_mode & 0o7777 == mode
        assert (out / path).stat().st_mtime == MODIFIED_SECONDS
    assert sorted(map(repr, web.requests)) == ["GET /", "GET /d/f%20x.txt"], "one question a build and URL"


def test_a_rebuild_asks_and_does_not_fetch(project: World, web: Web) -> None:
    web.pages["/f"] = with_etag(b"one\n")
    project.write({"Dockerfile": f"FROM scratch\nADD {web.url}/f /f\nWORKDIR /d\n"})
    assert (project.out() / "f").read_bytes() == b"one\n"
    for _ in range(3):
        time.sleep(0.05)
        web.requests.clear()
        done = project.build("-t", "x:1")
        assert "up to date" not in done.stderr, "only the server knows whether it is"
        assert [request.headers.get("if-none-match") for request in web.requests] == ['"1"']
    assert project.ran(done) == []
    web.pages["/f"] = with_etag(b"two\n", '"2"')
    assert (project.out() / "f").read_bytes() == b"two\n"


def test_a_file_that_came_out_the_same_stops_the_rebuild(project: World, web: Web) -> None:
    web.pages["/f"] = with_etag(b"same\n", '"1"')
    project.write({"Dockerfile": f"FROM busybox\nADD {web.url}/f /f\nRUN cat /f > /g\n"})
    project.build()
    web.pages["/f"] = with_etag(b"same\n", '"2"')
    assert project.ran(project.build()) == []


def test_a_checksum_needs_no_server_again(project: World, web: Web) -> None:
    web.pages["/f"] = b"pinned\n"
    project.write({"Dockerfile": f"FROM scratch\nADD --checksum={sha256(b'pinned' + bytes([10]))} {web.url}/f /f\n"})
    time.sleep(0.05)
    project.build("-t", "x:1")
    web.requests.clear()
    time.sleep(0.05)
    project.build("-t", "x:1")
    assert "up to date" in project.build("-t", "x:1").stderr
    assert web.requests == []


@pytest.mark.attack("C14")
def test_a_wrong_checksum(project: World, web: Web) -> None:
    web.pages["/f"] = b"other\n"
    project.write({"Dockerfile": f"FROM scratch\nADD --checksum={sha256(b'')} {web.url}/f /f\n"})
    for _ in range(2):
        done = project.build(ok=False)
        assert done.returncode == SOURCE
        place = 1 + len(f"ADD --checksum={sha256(b'')} ")
        says = f"the file is {sha256(b'other' + bytes([10]))}, and not {sha256(b'')}"
        assert f"Dockerfile:2:{place}: {says}" in done.stderr
    assert len(list((project.store / "layers").iterdir())) == 1, "the base image's own"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--checksum=md5:0 URL/f", "no checksum of a file"),
        (f"--checksum={sha256(b'')} URL/f URL/g", "for one source"),
        (f"--checksum={sha256(b'')} Dockerfile", "from the web or from git"),
        ("http:///f", "names no host"),
        ("http://h:x/f", "is no URL"),
        ("URL/..", "no name of a file"),
        ("URL/%00", "no name of a file"),
    ],
)
def test_what_cannot_be_added(project: World, web: Web, flags: str, says: str) -> None:
    project.write({"Dockerfile": f"FROM scratch\nADD {flags.replace('URL', web.url)} /x/\n"})
    done = project.build(ok=False)
    assert done.returncode == BUILDFILE
    assert "Dockerfile:2:" in done.stderr
    assert says in done.stderr
    assert web.requests == []


def test_archives_stay_as_they_are_unless_told(project: World, web: Web) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("../../top/f")
        info.size, info.uid = 1, 7
        archive.addfile(info, io.BytesIO(b"f"))
    web.pages["/a.tar.gz"] = gzip.compress(out.getvalue(), mtime=0)
    project.write(
        {
            "local.tar": out.getvalue(),
            "Dockerfile": f"FROM scratch\nARG U={web.url}/a.tar.gz\nADD $U local.tar /both/\nADD --unpack $U /in\n",
        }
    )
    made = project.out()
    assert (made / "both/a.tar.gz").read_bytes() == web.pages["/a.tar.gz"]
    assert (made / "both/top/f").read_bytes() == (made / "in/top/f").read_bytes() == b"f"


def test_a_body_too_long_to_be_fetched(project: World, web: Web) -> None:
    def page(handler: Handler, request: Request) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str((64 << 30) + 1))
        handler.end_headers()
        handler.close_connection = True

    web.pages["/f"] = page
    project.write({"Dockerfile": f"FROM scratch\nADD {web.url}/f /f\n"})
    done = project.build("-t", "x:1", ok=False)
    assert done.returncode == SOURCE
    assert f"error: Dockerfile:2:5: the file is {(64 << 30) + 1} bytes long" in done.stderr
    assert len(list((project.store / "layers").iterdir())) == 1, "the base image's own"
    assert not any(list(path.iterdir()) for path in (project.store / "work").iterdir())


@pytest.mark.attack("C14")
def test_redirects(project: World, web: Web) -> None:
    web.pages["/here"] = redirect("/there/renamed.txt")
    web.pages["/there/renamed.txt"] = b"moved\n"
    project.write({"Dockerfile": f"FROM scratch\nADD {web.url}/here /d/\n"})
    assert (project.out() / "d/here").read_bytes() == b"moved\n", "the name is that of the URL as written"
    for target, says in (
        ("file:///etc/passwd", "only http and https"),
        ("ftp://127.0.0.1/x", "only http and https"),
        ("/here", "redirects more than"),
        ("", "redirects to nowhere"),
    ):
        web.pages["/here"] = redirect(target)
        done = project.build(ok=False)
        assert done.returncode == SOURCE
        assert "Dockerfile:2:5:" in done.stderr
        assert says in done.stderr


@pytest.mark.parametrize("status", [404, 403, 401, 400, 204, 304])
def test_what_servers_refuse(project: World, web: Web, status: int) -> None:
    web.pages["/f"] = lambda handler, request: handler.answer(status)
    project.write({"Dockerfile": f"FROM scratch\nADD {web.url}/f /f\n"})
    done = project.build(ok=False)
    assert done.returncode == SOURCE
    assert f"status {status}" in done.stderr
    assert f"at {web.url}/f" in done.stderr
    assert ("HTTP_AUTH_TOKEN_127.0.0.1" in done.stderr) == (status in (401, 403))


@pytest.mark.parametrize("status", [401, 403])
def test_who_is_led_elsewhere_is_not_told_to_give_a_token(project: World, web: Web, status: int) -> None:
    with web_server() as other:
        other.pages["/f"] = lambda handler, request: handler.answer(status)
        web.pages["/f"] = redirect(f"{other.url}/f")
        project.write({"Dockerfile": f"FROM scratch\nADD {web.url}/f /f\n"})
        done = project.build(ok=False)
    assert done.returncode == SOURCE
    assert f"`127.0.0.1`, to which the server leads, does not give out the file (status {status})" in done.stderr
    assert f"at {web.url}/f" in done.stderr
    assert "HTTP_AUTH_TOKEN" not in done.stderr


@pytest.mark.attack("C14")
def test_credentials_are_secrets_and_stay_with_their_host(project: World, web: Web) -> None:
    with web_server() as other:
        other.pages["/f"] = b"f"
        web.pages["/f"] = redirect(f"{other.url}/f")
        web.pages["/g"] = b"g"
        user = web.url.replace("//", "//me:pass%20word@")
        project.write({"Dockerfile": f"FROM scratch\nADD {web.url}/f /f\nADD {user}/g /g\n"})
        done = project.build("--secret", "id=HTTP_AUTH_TOKEN_127.0.0.1,env=T", T="s3cret")
        assert {request.headers.get("authorization") for request in web.requests} == {"Bearer s3cret"}
        assert [request.headers.get("authorization") for request in other.requests] == [None]
        web.requests.clear()
        done = project.build()
        shown = {request.path: request.headers.get("authorization") for request in web.requests}
        assert shown == {"/f": None, "/g": "Basic bWU6cGFzcyB3b3Jk"}
        assert "word@" not in done.stderr.replace(f"ADD {user}", "")


def test_a_transfer_that_breaks_off_is_tried_again(project: World, web: Web) -> None:
    tries = []

    def page(handler: Handler, request: Request) -> None:
        tries.append(request)
        if len(tries) < 3:
            handler.send_response(200)
            handler.send_header("Content-Length", "10")
            handler.end_headers()
            handler.wfile.write(b"half")
            handler.close_connection = True
        else:
            handler.answer(200, b"0123456789")

    web.pages["/f"] = page
    project.write({"Dockerfile": f"FROM scratch\nADD {web.url}/f /f\n"})
    assert (project.out() / "f").read_bytes() == b"0123456789"
    assert len(tries) == 3


def test_a_proxy_is_gone_through(project: World, web: Web) -> None:
    with web_server() as proxy:
        proxy.pages["http://example.invalid/f"] = b"through\n"
        project.write({"Dockerfile": "FROM scratch\nADD http://example.invalid/f /f\n"})
        project.build("-o", "out", http_proxy=proxy.url)
        assert (project.project / "out/f").read_bytes() == b"through\n"


def test_a_server_that_speaks_no_tls(project: World) -> None:
    with fake_registry() as registry:
        project.write({"Dockerfile": f"FROM scratch\nADD https://{registry.address}/f /f\n"})
        done = project.build(ok=False)
        assert done.returncode == SOURCE
        assert "the server cannot be reached" in done.stderr
        assert "registry" not in done.stderr.replace(registry.address, "")


class Asked:
    """What one store learns of URLs."""

    def __init__(self, top: Path) -> None:
        self.store = Store.open(str(top / "store"))
        self.transport = Transport(env={})

    def __call__(self, url: str, largest: int = 1 << 30) -> str:
        """The digest, with a `+` where the file was fetched."""
        found = ask(self.store, self.transport, url, progress=lambda done, total: None, largest=largest)
        path = getattr(found, "path", "")
        if path:
            os.unlink(path)
        return found.digest + ("+" if path else "")


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    made = Asked(tmp_path)
    yield made
    made.transport.close()


@pytest.mark.attack("C14")
def test_a_body_without_end_is_cut(asked: Asked, web: Web) -> None:
    def endless(handler: Handler, request: Request) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        while True:
            handler.wfile.write(b"10000\r\n" + bytes(1 << 16) + b"\r\n")

    web.pages["/endless"] = endless
    with pytest.raises(SourceError, match="does not end within 1000000 bytes"):
        asked(f"{web.url}/endless", largest=1_000_000)
    web.pages["/long"] = bytes(2000)
    with pytest.raises(SourceError, match="2000 bytes long"):
        asked(f"{web.url}/long", largest=1000)
    assert not [name for name in os.listdir(asked.store.work.dir) for _ in os.listdir(f"{asked.store.work.dir}/{name}")]


# What a server says of a file, and whether that proves later that it is the same.
VALIDATORS = {
    "strong etag": ({"ETag": '"x"'}, True),
    "weak etag": ({"ETag": 'W/"x"', "Last_Modified": ""}, False),
    "etag without quotes": ({"ETag": "x", "Last_Modified": ""}, False),
    "nothing": ({"Last_Modified": ""}, False),
    "an old time": ({}, True),
    "a time of just now": ({"Last_Modified": "now"}, False),
    "a time that is none": ({"Last_Modified": "yesterday"}, False),
}


@pytest.mark.parametrize("name", VALIDATORS)
def test_what_proves_that_a_file_is_the_same(asked: Asked, web: Web, name: str) -> None:
    headers, proves = VALIDATORS[name]
    if headers.get("Last_Modified") == "now":
        headers = {"Last_Modified": formatdate(time.time() - 5, usegmt=True)}

    def page(handler: Handler, request: Request) -> None:
        known = headers.get("ETag", "none")
        handler.answer(304 if request.headers.get("if-none-match") == known else 200, b"body", **headers)

    web.pages["/f"] = page
    assert asked(f"{web.url}/f") == sha256(b"body") + "+"
    assert asked(f"{web.url}/f") == sha256(b"body") + ("" if proves else "+")


def test_a_file_put_back_to_an_older_one(asked: Asked, web: Web) -> None:
    web.pages["/f"] = b"new!"
    asked(f"{web.url}/f")
    older = formatdate(MODIFIED_SECONDS - 100_000, usegmt=True)
    web.pages["/f"] = lambda handler, request: handler.answer(200, b"old!", Last_Modified=older)
    assert asked(f"{web.url}/f") == sha256(b"old!") + "+"


def test_another_length_at_the_same_time(asked: Asked, web: Web) -> None:
    web.pages["/f"] = b"new!"
    asked(f"{web.url}/f")
    web.pages["/f"] = b"newer"
    assert asked(f"{web.url}/f") == sha256(b"newer") + "+"


def test_a_torn_note_is_none(asked: Asked, web: Web) -> None:
    web.pages["/f"] = with_etag(b"body")
    asked(f"{web.url}/f")
    (note,) = Path(asked.store.path("sources")).iterdir()
    for damage in (b"", b"x", note.read_bytes()[:-3]):
        note.write_bytes(damage)
        assert asked(f"{web.url}/f") == sha256(b"body") + "+"
    assert asked(f"{web.url}/f") == sha256(b"body")


def test_a_file_that_changed_since_it_was_asked_for(asked: Asked, web: Web) -> None:
    web.pages["/f"] = with_etag(b"body")
    digest = asked(f"{web.url}/f").rstrip("+")
    web.pages["/f"] = b"other"
    with pytest.raises(SourceError, match=f"and not {digest}"):
        fetch(asked.store, asked.transport, f"{web.url}/f", digest, progress=lambda done, total: None)
