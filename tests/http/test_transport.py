"""The connection itself: TLS, plain http where it is allowed, slow peers, proxies, addresses."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildkit_py.errors import RegistryError
from buildkit_py.http import proxy
from buildkit_py.http.retry import pause, retry_after
from buildkit_py.http.timed import TimedReader
from buildkit_py.http.transport import Broken, Transport, Unreachable, is_public
from buildkit_py.registry.client import Client
from buildkit_py.registry.fetch import Fetcher
from buildkit_py.registry.resolve import ImageResolver
from buildkit_py.store.store import Store
from tests.fake_registry import FakeRegistry, Handler, Request, fake_registry, once
from tests.images import sample
from tests.needs import need

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Key and certificate of 127.0.0.1, that no one vouches for, in one file."""
    need("openssl")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(path))
    name = ("-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "30", "-out", f"{path}.crt")
    subprocess.run(["openssl", "req", "-x509", *key, *name], check=True, capture_output=True)
    with path.open("a") as file:
        file.write(Path(f"{path}.crt").read_text())
    return str(path)


@pytest.fixture
def secure(certificate: str) -> Iterator[FakeRegistry]:
    with fake_registry(certificate) as registry:
        yield registry


def get(transport: Transport, registry: FakeRegistry, verify: bool = True) -> int:
    try:
        response = transport.request("GET", f"https://{registry.address}/v2/", verify=verify)
        response.drain()
        return response.status
    finally:
        transport.close()


def test_a_certificate_that_no_one_vouches_for(secure: FakeRegistry) -> None:
    with pytest.raises(RegistryError, match="certificate was refused") as caught:
        get(Transport(env={}), secure)
    assert "ca_bundle" in caught.value.hint
    assert not isinstance(caught.value, Unreachable), "it is not tried again, and not in plain http"
    assert get(Transport(env={}), secure, verify=False) == 200


def test_authorities_of_ones_own(secure: FakeRegistry, certificate: str, tmp_path: Path) -> None:
    assert get(Transport(ca_bundle=certificate, env={}), secure) == 200
    assert get(Transport(env={"SSL_CERT_FILE": certificate}), secure) == 200
    with pytest.raises(RegistryError, match="certificates cannot be read") as caught:
        get(Transport(ca_bundle=str(tmp_path / "missing"), env={}), secure)
    assert caught.value.at == str(tmp_path / "missing")


def test_this_machine_may_speak_either(secure: FakeRegistry, tmp_path: Path) -> None:
    image = sample()
    secure.add(image)
    client = Client(env={"HOME": str(tmp_path)}, sleep=lambda seconds: None)
    found = ImageResolver(Store.open(str(tmp_path / "store")), lambda: client).resolve(f"{secure.address}/app")
    assert found.digest == image.digest
    client.close()


@pytest.mark.attack("R6")
def test_https_does_not_lead_to_http(secure: FakeRegistry) -> None:
    with fake_registry() as plain:
        secure.faults.append(lambda handler, request: handler.reply(307, Location=f"http://{plain.address}/x"))
        with pytest.raises(RegistryError, match="from https to http"):
            get(Transport(env={}), secure, verify=False)
        transport = Transport(env={})
        with pytest.raises(RegistryError, match="from https to http"):
            transport.request("PUT", f"https://{secure.address}/v2/", body=b"mine", verify=False)
        transport.close()
        assert plain.requests == []


def test_connections_are_used_again(tmp_path: Path) -> None:
    peers = []

    def note(handler: Handler, request: Request) -> bool:
        peers.append(handler.client_address)
        return False

    with fake_registry() as registry:
        registry.faults.append(note)
        registry.add(sample(), "latest")
        transport = Transport(env={})
        for path in ("/v2/", "/v2/app/manifests/latest", "/v2/missing/blobs/x", "/v2/"):
            transport.request("GET", f"http://{registry.address}{path}").drain()
        assert len(set(peers)) == 1
        # One that the server closed meanwhile is replaced without anyone noticing.
        registry.faults.append(once(lambda handler, request: setattr(handler, "close_connection", True), times=1))
        assert transport.request("GET", f"http://{registry.address}/v2/").status == 200
        transport.close()


@pytest.mark.parametrize("length", [True, False], ids=["with a length", "to the end"])
def test_a_server_that_closes_after_each_answer(length: bool) -> None:
    data = bytes(300_000)

    def answer(handler: Handler, request: Request) -> bool:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        if length:
            handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)
        return True

    with fake_registry() as registry:
        registry.faults.append(answer)
        transport = Transport(env={})
        for _ in range(2):
            assert transport.request("GET", f"http://{registry.address}/").read_all(1 << 20) == data
        transport.close()


@pytest.mark.parametrize("status", [100, 102, 103])
def test_what_comes_before_an_answer_is_passed_over(status: int) -> None:
    def hints(handler: Handler, request: Request) -> bool:
        handler.wfile.write(f"HTTP/1.1 {status} Early\r\nLink: </a>; rel=preload\r\n\r\n".encode() * 2)
        return handler.reply(200, b"whole")

    with fake_registry() as registry:
        registry.faults.append(hints)
        transport = Transport(env={})
        for _ in range(2):
            response = transport.request("GET", f"http://{registry.address}/")
            assert (response.status, response.header("Link"), response.read_all(100)) == (200, "", b"whole")
        transport.close()


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:1080", "https://[::1", "http://a b"])
def test_a_proxy_that_is_none_is_named(address: str) -> None:
    transport = Transport(env={"all_proxy": address.replace("//", "//me:s3cret@")})
    with pytest.raises(RegistryError, match=r"the proxy `.*` cannot be used") as caught:
        transport.request("GET", "https://registry.invalid/")
    assert "all_proxy" in caught.value.hint
    assert "s3cret" not in repr(vars(caught.value))


def test_a_proxy_that_is_down_is_named() -> None:
    with fake_registry() as registry:
        pass
    transport = Transport(env={"https_proxy": f"http://me:s3cret@{registry.address}"})
    with pytest.raises(RegistryError, match="cannot be reached: Connection refused") as caught:
        transport.request("GET", "https://registry.invalid/")
    assert caught.value.notes == (f"it is asked through the proxy http://{registry.address}",)


def test_an_answer_in_chunks() -> None:
    def answer(handler: Handler, request: Request) -> bool:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n")
        return True

    with fake_registry() as registry:
        registry.faults.append(answer)
        transport = Transport(env={})
        for _ in range(2):
            assert transport.request("GET", f"http://{registry.address}/").read_all(1 << 20) == b"hello world"
        registry.faults[:] = [once(lambda handler, request: broken_chunk(handler))]
        with pytest.raises(Broken, match="broke off"):
            transport.request("GET", f"http://{registry.address}/").read_all(1 << 20)
        transport.close()


def broken_chunk(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"5\r\nhel")
    handler.close_connection = True


def trickle(pair: tuple[socket.socket, socket.socket], stop: threading.Event) -> threading.Thread:
    def send() -> None:
        while not stop.wait(0.005):
            try:
                pair[1].send(b"x")
            except OSError:
                return

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.parametrize("in_body", [False, True], ids=["header", "body"])
@pytest.mark.attack("R9", "C14")
def test_a_peer_that_trickles_is_given_up(in_body: bool) -> None:
    pair, stop = socket.socketpair(), threading.Event()
    thread = trickle(pair, stop)
    try:
        reader = TimedReader(pair[0], header_seconds=0.2, idle_seconds=0.2)
        if in_body:
            reader.start_body()
        with pytest.raises(TimeoutError):
            b"".join(iter(lambda: reader.read(100), b""))
    finally:
        stop.set()
        thread.join()
        for end in pair:
            end.close()


def test_a_body_that_comes_along_is_not() -> None:
    pair = socket.socketpair()
    reader = TimedReader(pair[0], header_seconds=0.01, idle_seconds=0.05)
    reader.start_body()
    for _ in range(5):
        pair[1].sendall(bytes(20_000))
        left = 20_000
        while left:
            left -= len(reader.read(left))
        threading.Event().wait(0.06)
    for end in pair:
        end.close()


def test_giving_up_a_stalled_transfer(tmp_path: Path) -> None:
    image = sample({"a": bytes(1000)})
    release = threading.Event()

    def stall(handler: Handler, request: Request) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(image.blobs[image.layers[0]])))
        handler.end_headers()
        handler.wfile.write(image.blobs[image.layers[0]][:10])
        handler.wfile.flush()
        release.wait(30)

    store = Store.open(str(tmp_path / "store"))
    client = Client(env={"HOME": str(tmp_path)})
    with fake_registry() as registry:
        registry.add(image)
        registry.faults.append(once(stall, image.layers[0]))
        layer = ImageResolver(store, lambda: client).resolve(f"{registry.address}/app").layers[0]
        stream = Fetcher(store, lambda: client).open_blob(layer)
        assert stream.read(5) == image.blobs[image.layers[0]][:5]
        stream.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "pybuild-fetch"]
        assert not store.blobs.has(image.layers[0])
        release.set()
        assert Fetcher(store, lambda: client).ensure_blob(layer) == image.layers[0]
    client.close()


@pytest.mark.parametrize(
    ("env", "scheme", "host", "expected"),
    [
        ({}, "https", "h.example", ""),
        ({"https_proxy": "http://p:1"}, "https", "h.example", "http://p:1"),
        ({"HTTPS_PROXY": "p:1"}, "https", "h.example", "http://p:1"),
        ({"https_proxy": "http://p:1"}, "http", "h.example", ""),
        ({"ALL_PROXY": "http://p:1"}, "http", "h.example", "http://p:1"),
        ({"all_proxy": "http://p:1", "no_proxy": "*"}, "http", "h.example", ""),
        ({"all_proxy": "http://p:1", "NO_PROXY": "x,.example"}, "http", "h.example", ""),
        ({"all_proxy": "http://p:1", "no_proxy": "example"}, "http", "h.example", ""),
        ({"all_proxy": "http://p:1", "no_proxy": "ample"}, "http", "h.example", "http://p:1"),
        ({"all_proxy": "http://p:1", "no_proxy": "h.example:81"}, "http", "h.example", "http://p:1"),
        ({"all_proxy": "http://p:1", "no_proxy": "h.example:80"}, "http", "h.example", ""),
        ({"all_proxy": "http://p:1"}, "http", "localhost", ""),
        ({"all_proxy": "http://p:1"}, "http", "127.0.0.1", ""),
        ({"all_proxy": "http://p:1"}, "http", "127.0.0.example", "http://p:1"),
        ({"HTTP_PROXY": "http://evil:1", "REQUEST_METHOD": "GET"}, "http", "h.example", ""),
    ],
)
def test_proxies(env: dict[str, str], scheme: str, host: str, expected: str) -> None:
    assert proxy.choose(env, scheme, host, 80) == expected


@pytest.mark.parametrize("value", ["secret\n", "secret\r\nX: y", "secret \u2603"])
def test_a_header_that_cannot_be_sent(value: str) -> None:
    with fake_registry() as registry:
        transport = Transport(env={})
        with pytest.raises(RegistryError, match="to be sent as `Authorization` is not one line") as caught:
            transport.request("GET", f"http://{registry.address}/", headers={"Authorization": value})
        assert "secret" not in repr(vars(caught.value))
        assert registry.requests == []
        transport.close()


@pytest.mark.parametrize("host", ["a..example", "b" * 64 + ".example"])
def test_no_host_is_asked_for_behind_a_proxy_by_what_is_no_name(host: str) -> None:
    with fake_registry() as registry:
        transport = Transport(env={"https_proxy": f"http://{registry.address}"})
        with pytest.raises(RegistryError, match="is no name of a host"):
            transport.request("GET", f"https://{host}/")
        assert registry.requests == []
        transport.close()


def test_urls_that_are_no_ascii_are_sent_as_browsers_do() -> None:
    with fake_registry() as registry:
        registry.faults.append(lambda handler, request: handler.reply(200))
        transport = Transport(env={"http_proxy": f"http://{registry.address}"})
        for url in (f"http://{registry.address}/\xe4 b?\u2603%20", "http://b\xfccher.invalid/\xe4"):
            transport.request("GET", url).drain()
        assert [request.path for request in registry.requests] == [
            "/%C3%A4%20b?%E2%98%83%20",
            "http://xn--bcher-kva.invalid/%C3%A4",
        ]
        assert registry.requests[1].headers["Host"] == "xn--bcher-kva.invalid"
        transport.close()


def test_public_addresses() -> None:
    assert is_public("1.1.1.1")
    for private in (
        "10.0.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "",
        "x",
    ):
        assert not is_public(private)


def test_pauses() -> None:
    soon = retry_after(formatdate(time.time() + 1000, usegmt=True))
    assert 900 < soon <= 1000
    assert retry_after("Tue, 15 Nov 1994 12:45:26 GMT") == 0
    assert [retry_after(text) for text in (",", "Tue, 99 Nov 1994 99:99:99 GMT", "Tue, 15 Nov 99999 12:45:26")] == [
        0
    ] * 3
    assert [retry_after(text) for text in ("", "5", "-1", "soon", "9" * 20, "1.5")] == [0, 5, 0, 0, 0, 0]
    assert all(0.1 <= pause(0) <= 0.3 for _ in range(50))
    assert all(pause(n) <= 30 for n in range(40))
    assert 30 <= pause(0, 1e9) <= 30.25


# Runs in a network namespace of its own, whose loopback has an address that is a public one by its number.
BEHIND = """
import http.server, sys, threading
sys.path[:] = sys.argv[1:]
from buildkit_py.errors import RegistryError
from buildkit_py.http.transport import Transport

asked = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        self.send_response(307 if self.path != "/metadata" else 200)
        self.send_header("Location", self.path.removeprefix("/to/"))
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *words):
        pass

def serve(address):
    server = http.server.ThreadingHTTPServer((address, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://{address}:{server.server_port}"

public, other, private = serve("11.22.33.44"), serve("11.22.33.45"), serve("127.0.0.1")
transport = Transport(env={})
print(transport.request("GET", f"{public}/to/{other}/metadata").status, asked.pop(), len(asked))
print(transport.request("GET", f"{private}/to/{private}/metadata").status, asked.pop())
asked.clear()
for chain in (f"{public}/to/{private}/metadata", f"{public}/to/{other}/to/{private}/metadata"):
    try:
        transport.request("GET", chain)
    except RegistryError as problem:
        print(problem.message, "/metadata" in asked)
"""


@pytest.mark.attack("C14", "R6")
def test_no_redirect_leads_from_a_public_address_into_a_private_network() -> None:
    need("unshare", "ip")
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    up = "ip link set lo up && ip address add 11.22.33.44/32 dev lo && ip address add 11.22.33.45/32 dev lo && exec "
    script = up + '"$@"'
    command = ["unshare", *own, "--net", "sh", "-c", script, "sh", sys.executable, "-c", BEHIND, *sys.path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    refused = "the server redirects into a private network False"
    assert done.stdout.splitlines() == ["200 /metadata 1", "200 /metadata", refused, refused], done.stderr
