"""A registry that misbehaves on request, in this process, on 127.0.0.1.

It serves blobs and manifests from dictionaries. `faults` are functions that
see each request first and may answer it; `requests` records what came. The
real protocol is tested against the real registry (`registry_server.py`).
"""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.images import Sample


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


# Answers a request itself and returns True, or leaves it alone.
Fault = Callable[["Handler", Request], bool]


class FakeRegistry:
    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self.address = ""

    def add(self, image: Sample, tag: str = "latest") -> None:
        """Serve an image under a tag and its digest."""
        self.blobs.update(image.blobs)
        data = image.blobs[image.digest]
        self.put(tag, data)

    def put(self, tag: str, data: bytes) -> str:
        """Serve some bytes as a manifest, under a tag and their digest."""
        try:
            value = json.loads(data)
            kind = value.get("mediaType", "") if isinstance(value, dict) else ""
        except (ValueError, RecursionError):
            kind = ""
        kind = kind or "application/vnd.oci.image.manifest.v1+json"
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.manifests[tag] = self.manifests[digest] = (kind, data)
        return digest

    def seen(self, part: str) -> list[Request]:
        """The requests whose path has that part."""
        with self.lock:
            return [request for request in self.requests if part in request.path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: FakeRegistry

    def log_message(self, format: str, *args: object) -> None:
        pass

    def reply(self, status: int, body: bytes = b"", **headers: str) -> bool:
        """Answer; names of headers with `_` for `-`. True, so that a fault can return it."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return True

    def serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(self.command, self.path, dict(self.headers.items()), self.rfile.read(length))
        registry = self.registry
        with registry.lock:
            registry.requests.append(request)
        for fault in registry.faults:
            if fault(self, request):
                return
        kind, _, name = self.path.rpartition("/")
        if self.path == "/v2/":
            self.reply(200)
        elif kind.endswith("/manifests") and name in registry.manifests:
            media_type, data = registry.manifests[name]
            self.reply(200, data, Content_Type=media_type)
        elif kind.endswith("/blobs") and name in registry.blobs:
            self.blob(registry.blobs[name])
        else:
            self.reply(404, b'{"errors":[{"code":"NAME_UNKNOWN","message":"not known"}]}')

    def blob(self, data: bytes) -> None:
        asked = self.headers.get("Range")
        if asked is None:
            self.reply(200, data)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        self.reply(206, data[start:], Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")

    do_GET = do_HEAD = do_POST = do_PUT = serve


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that hangs up is what some tests are about


@contextmanager
def fake_registry(certificate: str = "") -> Iterator[FakeRegistry]:
    """A running fake; `address` is its `127.0.0.1:PORT`. With a PEM file of key and certificate it speaks TLS."""
    registry = FakeRegistry()
    server = _Server(("127.0.0.1", 0), type("Bound", (Handler,), {"registry": registry}))
    registry.address = f"127.0.0.1:{server.server_address[1]}"
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def once(answer: Callable[[Handler, Request], object], part: str = "", times: int = 1) -> Fault:
    """A fault that meets only the first requests whose path has that part."""
    left = [times]

    def fault(handler: Handler, request: Request) -> bool:
        if part not in request.path or left[0] == 0:
            return False
        left[0] -= 1
        answer(handler, request)
        return True

    return fault
