"""A web server of a test: its pages are functions, and it keeps what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODIFIED = "Tue, 15 Nov 1994 12:45:26 GMT"
MODIFIED_SECONDS = 784903526


class Request:
    """What was asked: `headers` in lower case."""

    def __init__(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        self.method = method
        self.path = path
        self.headers = {name.lower(): value for name, value in headers.items()}

    def __repr__(self) -> str:
        return f"{self.method} {self.path}"


class Handler(BaseHTTPRequestHandler):
    """Answers from the server's pages."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        request = Request(self.command, self.path, dict(self.headers))
        self.server.web.requests.append(request)
        web, path = self.server.web, self.path.partition("?")[0]
        page = web.pages.get(path)
        if page is None:
            page = next((page for prefix, page in web.below.items() if path.startswith(prefix)), None)
        if page is None:
            self.answer(404, b"nothing here\n")
        elif isinstance(page, bytes):
            self.answer(200, page)
        else:
            page(self, request)

    do_HEAD = do_POST = do_PUT = do_GET

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole answer; underscores of header names stand for hyphens. `Last_Modified=""` leaves that out."""
        headers.setdefault("Last_Modified", MODIFIED)
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


Page = bytes | Callable[[Handler, Request], None]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    web: Web

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that has heard enough


class Web:
    """A server on this machine. `pages`, and what answers `below` a path, may change while it runs."""

    def __init__(self, server: _Server) -> None:
        self.pages: dict[str, Page] = {}
        self.below: dict[str, Page] = {}
        self.requests: list[Request] = []
        self.port = int(server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def methods(self) -> list[str]:
        """The methods of all requests since this was last called."""
        found = [request.method for request in self.requests]
        self.requests.clear()
        return found


@contextmanager
def web_server(port: int = 0) -> Iterator[Web]:
    """A server that runs as long as the `with` block."""
    server = _Server(("127.0.0.1", port), Handler)
    server.web = Web(server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.web
    finally:
        server.shutdown()
        server.server_close()


def with_etag(body: bytes, etag: str = '"1"') -> Page:
    """A page that answers "not modified" where it is asked for what it has."""

    def page(handler: Handler, request: Request) -> None:
        if request.headers.get("if-none-match") == etag:
            handler.answer(304, ETag=etag)
        else:
            handler.answer(200, body, ETag=etag)

    return page


def redirect(target: str, status: int = 302) -> Page:
    """A page that leads elsewhere."""
    return lambda handler, request: handler.answer(status, Location=target)
