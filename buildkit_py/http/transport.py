"""HTTP/1.1 with pooled connections, proxies, redirects, and time limits that a slow peer cannot stretch.

Built on `http.client`: importing urllib3 takes 58 ms, `http.client` 23, and a
whole pull of a base image from a near registry may take 800. What is left to
do is small: keep connections, go through proxies, follow redirects. A
`Transport` is shared by threads; a `Response` belongs to one.

Redirects (isolation.md R6): at most ten, to http and https only, never from
https to http, never from a public address to a private one, and
`Authorization` stays behind when scheme, host or port change. What sends
something follows 307 and 308 only, which leave the method and the body as they
are (RFC 9110, section 15.4).
"""

from __future__ import annotations

import http.client
import os
import socket
import threading
from urllib.parse import urlsplit

from buildkit_py.errors import RegistryError
from buildkit_py.http import proxy
from buildkit_py.http.timed import IDLE_SECONDS, TimedResponse
from buildkit_py.http.url import Origin, join, origin_of, shown, written

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    class Body(Protocol):
        """A request body that is streamed; opened anew for each attempt."""

        size: int

        def open(self) -> Reader: ...

    class Reader(Protocol):
        def read(self, size: int = ..., /) -> bytes: ...

        def close(self) -> object: ...


CONNECT_SECONDS = 30.0
MAX_REDIRECTS = 10
IDLE_CONNECTIONS = 16
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_REDIRECTS_OF_ALL = frozenset((307, 308))
_USER_AGENT = "pybuild"
_DRAINED = 4
_BLOCK = 256 << 10


class Unreachable(RegistryError):
    """No answer came."""


class Broken(Unreachable):
    """A connection broke off, or the server asked for patience; trying again may help."""

    retry_after: float = 0.0


class Response:
    """Status, headers and the body as a stream. Close it, or read it to its end."""

    def __init__(
        self, raw: TimedResponse, url: str, peer: str, release: Callable[[bool], None], expected: int | None
    ) -> None:
        self.status = raw.status
        self.headers = raw.headers
        self.url = url
        self.peer = peer
        self._raw = raw
        self._release: Callable[[bool], None] | None = release
        self._left = expected
        raw.start_body()
        if expected == 0:
            self._done(True)

    @property
    def length(self) -> int | None:
        """How many bytes of the body are still to come, where the server said so."""
        return self._left

    def header(self, name: str) -> str:
        """A header's value, "" where it is missing."""
        return self.headers.get(name) or ""

    def read(self, size: int = 1 << 18) -> bytes:
        """The next bytes, b"" at the end. Raises `Broken` where the body breaks off or is too slow."""
        if self._release is None:
            return b""
        try:
            data = self._raw.read1(size)
        except (OSError, http.client.HTTPException) as problem:
            self.close()
            raise Broken(f"the transfer broke off: {reason(problem)}", at=shown(self.url)) from problem
        if not data:
            if self._left:
                self.close()
                raise Broken(f"the transfer broke off {self._left} bytes before its end", at=shown(self.url))
            self._done(True)
        elif self._left is not None:
            self._left -= len(data)
            if self._left == 0:
                self._done(True)
        return data

    def read_all(self, limit: int) -> bytes:
        """The whole body. Raises `RegistryError` where it is longer than `limit`."""
        pieces, total = [], 0
        while piece := self.read():
            total += len(piece)
            if total > limit:
                self.close()
                raise RegistryError(f"the answer is longer than {limit >> 10} KiB", at=shown(self.url))
            pieces.append(piece)
        return b"".join(pieces)

    def drain(self) -> None:
        """Drop a short rest of the body, so that the connection can be kept; a long or broken one costs it."""
        try:
            for _ in range(_DRAINED):
                if not self.read(1 << 14):
                    break
        except Broken:
            pass
        self.close()

    def interrupt(self) -> None:
        """Let a read that waits in another thread fail at once."""
        self._raw.timed.interrupt()

    def close(self) -> None:
        """End the response; a body that was not read to its end costs the connection."""
        self._done(False)

    def _done(self, whole: bool) -> None:
        if self._release is not None:
            release, self._release = self._release, None
            release(whole and not self._raw.will_close)
            self._raw.close()


class Transport:
    """Sends requests. `env` gives proxies and SSL_CERT_FILE (the process's own by default).

    `peer` is what the other side is called, and `hint` what to look at where it cannot be reached.
    `offline`: every request raises `RegistryError` at once.
    """

    def __init__(
        self,
        *,
        ca_bundle: str = "",
        env: Mapping[str, str] | None = None,
        peer: str = "server",
        hint: str = "",
        offline: bool = False,
    ) -> None:
        self._offline = offline
        self._peer = peer
        self._hint = hint or "check the address and the network"
        self._ca_bundle = ca_bundle
        self._env = os.environ if env is None else env
        self._idle: dict[tuple[Origin, bool], list[http.client.HTTPConnection]] = {}
        self._lock = threading.Lock()
        self._contexts: dict[bool, ssl.SSLContext] = {}

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Body | None = None,
        verify: bool = True,
        is_login: bool = False,
    ) -> Response:
        """The answer to one request, whatever its status; redirects are followed.

        `is_login`: the body is as secret as an `Authorization` is, and no other server gets it.
        Raises `Unreachable` where no answer comes, `RegistryError` for a redirect that is not followed.
        """
        self.admit(url)
        url = written(url)
        sent = dict(headers or {})
        _check(sent, url)
        origin, peer = origin_of(url), ""
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send(method, url, origin=origin, headers=sent, body=body, verify=verify, after=peer)
            if response.status not in (_REDIRECTS if method in ("GET", "HEAD") else _REDIRECTS_OF_ALL):
                return response
            target = response.header("Location")
            peer = response.peer
            response.close()
            if not target:
                raise RegistryError("the server redirects to nowhere", at=shown(url))
            following = join(url, target)
            there = origin_of(following)
            if origin.scheme == "https" and there.scheme == "http":
                raise RegistryError("the server redirects from https to http", at=shown(following))
            if there != origin:
                if is_login:
                    raise RegistryError("the server redirects a login to another one", at=shown(following))
                sent.pop("Authorization", None)
                verify = True
                origin = there
            url = following
        raise RegistryError(f"the server redirects more than {MAX_REDIRECTS} times", at=shown(url))

    def admit(self, url: str) -> None:
        """Raises `RegistryError` where nobody may be asked for anything."""
        if self._offline:
            raise not_here(shown(url))

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            for connections in self._idle.values():
                for connection in connections:
                    connection.close()
            self._idle.clear()

    def _send(
        self,
        method: str,
        url: str,
        *,
        origin: Origin,
        headers: Mapping[str, str],
        body: bytes | Body | None,
        verify: bool,
        after: str,
    ) -> Response:
        while True:
            connection, reused = self._connection(origin, verify)
            try:
                if connection.sock is None:
                    connection.connect()
                peer = _peer(connection)
                if after and not self._proxy(origin) and is_public(after) and not is_public(peer):
                    raise RegistryError("the server redirects into a private network", at=shown(url))
                raw = self._exchange(connection, method, url, headers=headers, body=body)
            except (OSError, http.client.HTTPException) as problem:
                connection.close()
                if reused and isinstance(problem, (ConnectionError, http.client.BadStatusLine)):
                    continue  # the server had closed the idle connection; a fresh one decides
                raise self._unreachable(problem, url) from problem
            except BaseException:
                connection.close()
                raise
            expected = raw.length
            if method == "HEAD" or raw.status in (204, 304):
                expected = 0

            def release(keep: bool, connection: http.client.HTTPConnection = connection) -> None:
                self._put_back(origin, verify, connection, keep)

            return Response(raw, url, peer, release, expected)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | Body | None,
    ) -> TimedResponse:
        origin, parts = origin_of(url), urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        fields = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **headers}
        if origin.scheme == "http" and (via := self._proxy(origin)):
            path = shown(url) + (f"?{parts.query}" if parts.query else "")
            fields.update(proxy.authorization(via))
        stream: Reader | None = None
        payload: bytes | Reader | None
        if body is None or isinstance(body, bytes):
            payload = body
        else:
            fields["Content-Length"] = str(body.size)
            payload = stream = body.open()
        if connection.sock is not None:
            connection.sock.settimeout(IDLE_SECONDS)
        try:
            connection.request(method, path, body=payload, headers=fields)
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses a long body answers and closes; its answer says more than the broken pipe.
            pass
        finally:
            if stream is not None:
                stream.close()
        response = connection.getresponse()
        assert isinstance(response, TimedResponse)
        return response

    def _connection(self, origin: Origin, verify: bool) -> tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            idle = self._idle.get((origin, verify))
            if idle:
                return idle.pop(), True
        address = self._proxy(origin)
        via = _proxy_of(address) if address else None
        host, port = (via.host, via.port) if via else (origin.host, origin.port)
        connection: http.client.HTTPConnection
        if origin.scheme == "https":
            connection = http.client.HTTPSConnection(
                host, port, timeout=CONNECT_SECONDS, context=self._context(verify), blocksize=_BLOCK
            )
            if via:
                connection.set_tunnel(origin.host, origin.port, headers=proxy.authorization(address))
        else:
            connection = http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS, blocksize=_BLOCK)
        connection.response_class = TimedResponse
        # What `connect` calls (CPython's `http/client.py`). As bytes, a host goes to the resolver as it is; as text,
        # through `encodings.idna`, whose tables take 4 ms to load. (For TLS they are loaded in any case.)
        connection._create_connection = _connect  # type: ignore[attr-defined]
        return connection, False

    def _unreachable(self, problem: BaseException, url: str) -> RegistryError:
        if type(problem).__name__ == "SSLCertVerificationError":
            detail = getattr(problem, "verify_message", "") or "it is not trusted"
            return RegistryError(
                f"the {self._peer}'s certificate was refused: {detail}",
                at=shown(url),
                hint="add its authority with `ca_bundle` in config.toml or SSL_CERT_FILE",
            )
        # Refused, unresolvable and silent servers stay so; one that hangs up may have had a bad moment.
        passing = isinstance(problem, (ConnectionError, http.client.HTTPException))
        kind = Broken if passing and not isinstance(problem, ConnectionRefusedError) else Unreachable
        via = self._proxy(origin_of(url))
        return kind(
            f"the {self._peer} cannot be reached: {reason(problem)}",
            at=shown(url),
            hint=self._hint,
            notes=(f"it is asked through the proxy {shown(via)}",) if via else (),
        )

    def _put_back(self, origin: Origin, verify: bool, connection: http.client.HTTPConnection, keep: bool) -> None:
        if keep:
            with self._lock:
                idle = self._idle.setdefault((origin, verify), [])
                if len(idle) < IDLE_CONNECTIONS:
                    idle.append(connection)
                    return
        connection.close()

    def _proxy(self, origin: Origin) -> str:
        return proxy.choose(self._env, origin.scheme, origin.host, origin.port)

    def _context(self, verify: bool) -> ssl.SSLContext:
        with self._lock:
            found = self._contexts.get(verify)
            if found is None:
                from ssl import CERT_NONE, VERIFY_X509_STRICT, TLSVersion, create_default_context

                found = create_default_context()
                found.minimum_version = TLSVersion.TLSv1_2
                # Python 3.13 refuses authorities without extensions that RFC 5280 wants, and openssl, with which
                # companies make theirs, leaves out: chain and names are checked all the same.
                found.verify_flags &= ~VERIFY_X509_STRICT
                for extra in (self._env.get("SSL_CERT_FILE", ""), self._ca_bundle):
                    if extra:
                        try:
                            found.load_verify_locations(extra)
                        except OSError as problem:
                            raise RegistryError(
                                f"the certificates cannot be read: {reason(problem)}", at=extra
                            ) from problem
                if not verify:
                    found.check_hostname = False
                    found.verify_mode = CERT_NONE
                self._contexts[verify] = found
            return found


def not_here(at: object) -> RegistryError:
    """What is wanted would have to be asked for elsewhere, and the build is offline."""
    return RegistryError(
        "it is not on this machine, or may be another one by now, and nobody is asked (--offline)",
        at=at,
        hint="build once without --offline; `pybuild update` pins what a URL or a branch is",
    )


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet."""
    import ipaddress

    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_global
    except ValueError:
        return False


def reason(problem: BaseException) -> str:
    """A low-level failure in a few words."""
    if isinstance(problem, TimeoutError):
        return "it takes too long"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    if isinstance(problem, http.client.RemoteDisconnected):
        return "the server closed the connection"
    if isinstance(problem, http.client.HTTPException):
        return f"the server speaks no proper HTTP ({type(problem).__name__})"
    return str(problem) or type(problem).__name__


def _check(headers: Mapping[str, str], url: str) -> None:
    """Raises `RegistryError` for a header that cannot be sent. (`http.client` would show its value.)"""
    for name, value in headers.items():
        if "\n" in value or "\r" in value or max(value, default="") > "\xff":
            raise RegistryError(
                f"what is to be sent as `{name}` is not one line, or has letters that HTTP does not know", at=shown(url)
            )


def _proxy_of(address: str) -> Origin:
    """Where a proxy is. Raises `RegistryError`, which says where it was named, for what is none that can be used."""
    try:
        return origin_of(address)
    except RegistryError as problem:
        raise RegistryError(
            f"the proxy `{shown(address)}` cannot be used: it is no http address",
            hint="it comes from http_proxy, https_proxy or all_proxy; no_proxy names who is asked without one",
        ) from problem


def _connect(address: tuple[str, int], *rest: Any) -> socket.socket:
    return socket.create_connection((address[0].encode("ascii"), address[1]), *rest)  # type: ignore[arg-type]


def _peer(connection: http.client.HTTPConnection) -> str:
    try:
        return str(connection.sock.getpeername()[0]) if connection.sock is not None else ""
    except (OSError, IndexError):
        return ""
