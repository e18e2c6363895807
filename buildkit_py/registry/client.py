"""The distribution protocol (OCI distribution-spec 1.1): manifests and blobs, down and up.

One `Client` serves a whole process and all its threads. Reading asks the
mirrors first; writing goes to the registry itself. Every digest is computed
here and compared, whatever the server claims. What a mirror sends instead of
what it was asked for is its failure, and the next one is asked.
"""

from __future__ import annotations

import os
import threading
import time
from urllib.parse import quote, urlencode, urlsplit

from buildkit_py.config import Config
from buildkit_py.digest import digest_of, is_sha256
from buildkit_py.errors import DigestMismatch, ImageNotFound, PybuildError, RegistryError, SourceError
from buildkit_py.http import actions, authorization, bucket
from buildkit_py.http.retry import PASSING, retry_after, retrying
from buildkit_py.http.transport import Broken, Response, Transport, Unreachable
from buildkit_py.http.url import join, origin_of, shown
from buildkit_py.http.words import explanation
from buildkit_py.image import manifest as manifests
from buildkit_py.image.manifest import ACCEPTED, MAX_MANIFEST
from buildkit_py.registry import mirrors
from buildkit_py.registry.auth import LOGIN, Authorizer
from buildkit_py.registry.credentials import Credentials
from buildkit_py.registry.mirrors import Endpoint
from buildkit_py.registry.pull import Fetched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from buildkit_py.http.transport import Body
    from buildkit_py.image.reference import Reference

    T = TypeVar("T")

_TOO_MANY = 429
_UNREACHED = "check the image's name and the network; PYBUILD_REGISTRY_MIRRORS and config.toml can name mirrors"


class Client:
    """`sleep` waits between attempts; a test gives its own. `offline`: whatever would need a registry raises."""

    def __init__(
        self,
        config: Config | None = None,
        *,
        env: Mapping[str, str] | None = None,
        sleep: Callable[[float], object] = time.sleep,
        offline: bool = False,
    ) -> None:
        self.config = config or Config()
        self._env = os.environ if env is None else env
        self._transport = Transport(
            ca_bundle=self.config.ca_bundle, env=env, peer="registry", hint=_UNREACHED, offline=offline
        )
        self._auth = Authorizer(self._transport, Credentials(env))
        self._sleep = sleep
        self._homes: dict[str, Endpoint] = {}
        # Mirrors that were asked for a blob and sent another, or part of it: why, by their address and its digest.
        self._passed_over: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections that are kept for the next request."""
        self._transport.close()

    # Reading

    def manifest(self, reference: Reference) -> Fetched:
        """The manifest or index that a reference names, by its digest where it has one.

        Raises `ImageNotFound`, `RegistryError`, `DigestMismatch`.
        """

        def ask(endpoint: Endpoint) -> Fetched:
            path = f"{reference.repository}/manifests/{reference.identifier}"
            headers = {"Accept": ", ".join(ACCEPTED)}
            response = self._once(endpoint, "GET", path, _scope(reference), headers=headers)
            if response.status != 200:
                raise self._failure(response, f"`{reference.familiar}`", endpoint)
            data = response.read_all(MAX_MANIFEST)
            digest = digest_of(data)
            claimed = response.header("Docker-Content-Digest")
            wanted = reference.digest or (claimed if is_sha256(claimed) else digest)
            if digest != wanted:
                raise DigestMismatch(f"the manifest is {digest}, not {wanted}", at=shown(response.url))
            if self._has_mirrors(reference):
                manifests.read(data)
            return Fetched(data, response.header("Content-Type").partition(";")[0].strip().lower(), digest)

        return self._first(reference.registry, lambda endpoint: self._retrying(lambda: ask(endpoint)))

    def small_blob(self, reference: Reference, digest: str, limit: int, what: str) -> bytes:
        """The whole of a blob that is no larger than `limit` and is called `what`, unchecked where a registry has no
        mirrors. Raises as `blob` does.
        """

        def ask(endpoint: Endpoint) -> bytes:
            data = self._blob(endpoint, reference, digest).read_all(limit)
            if self._has_mirrors(reference) and digest_of(data) != digest:
                raise DigestMismatch(f"the {what} is {digest_of(data)}, not {digest}")
            return data

        return self._first(reference.registry, lambda endpoint: self._retrying(lambda: ask(endpoint)))

    def blob(self, reference: Reference, digest: str, start: int = 0) -> tuple[Response, str]:
        """A blob's bytes from `start` on, unchecked: the reader compares the digest of the whole.

        And the address of the mirror that sends them, "" for the registry itself: if they are wrong, or break off,
        `pass_over` has others asked the next time. Raises `ImageNotFound`, `RegistryError`; reading raises `Broken`
        where the transfer breaks off.
        """

        def ask(endpoint: Endpoint) -> tuple[Response, str]:
            response = self._retrying(lambda: self._blob(endpoint, reference, digest, start))
            return response, endpoint.base if endpoint.mirror else ""

        return self._first(reference.registry, ask, digest)

    def _blob(self, endpoint: Endpoint, reference: Reference, digest: str, start: int = 0) -> Response:
        headers = {"Range": f"bytes={start}-"} if start else {}
        path = f"{reference.repository}/blobs/{digest}"
        response = self._once(endpoint, "GET", path, _scope(reference), headers=headers)
        if start and response.status == 206:
            if not response.header("Content-Range").replace(" ", "").startswith(f"bytes{start}-"):
                response.close()
                raise RegistryError("the registry sends another part than it was asked for", at=shown(response.url))
            return response
        if response.status != 200:
            raise self._failure(response, f"the blob {digest} of `{reference.name}`", endpoint)
        left = start
        while left:  # the server knows no ranges
            piece = response.read(min(left, 1 << 18))
            if not piece:
                raise RegistryError("the blob is shorter than it was before", at=shown(response.url))
            left -= len(piece)
        return response

    def pass_over(self, mirror: str, digest: str, why: str) -> None:
        """Ask a mirror no more for a blob of which it sent wrong bytes, or too few."""
        self._passed_over.setdefault((mirror, digest), why)

    def failures(self, digest: str) -> tuple[str, ...]:
        """A line for each mirror that is asked for a blob no more."""
        passed_over = list(self._passed_over.items())  # other threads go on noting
        return tuple(_note(mirror, why) for (mirror, of), why in passed_over if of == digest)

    def _has_mirrors(self, reference: Reference) -> bool:
        return bool(self.config.registry(reference.registry).mirrors)

    def file(self, url: str, start: int = 0) -> Response:
        """A file of a cache's server from a byte on, unchecked: its URL, or the name that `http.bucket` or
        `http.actions` has for it.

        Raises `ImageNotFound`, `RegistryError`; reading raises `Broken` where the transfer breaks off.
        """

        def ask() -> Response:
            headers = cache_authorization(url, self._env)
            if start:
                headers["Range"] = f"bytes={start}-"
            response = self._transport.request("GET", self._address(url), headers=headers)
            self._check_passing(response)
            if start and response.status == 206:
                return response
            if response.status != 200:
                response.close()
                kind = ImageNotFound if response.status == 404 else RegistryError
                raise kind(f"the server answers {response.status}", at=shown(url))
            left = start
            while left and (piece := response.read(min(left, 1 << 18))):
                left -= len(piece)
            return response

        return self._retrying(ask)

    def _address(self, url: str) -> str:
        """Where a file is now: what is in a bucket, or an entry of GitHub Actions, is behind a signed URL."""
        self._transport.admit(url)
        if url.startswith(actions.SCHEME):
            found = actions.download_url(self._transport, url, self._env)
            if not found:
                raise ImageNotFound("it is not there any more", at=shown(url))
            return found
        return bucket.signed("GET", url)

    # Writing

    def has(self, reference: Reference, digest: str) -> bool:
        """Whether the registry itself has a blob of that digest in that repository."""
        endpoint = self.home(reference.registry)
        path = f"{reference.repository}/blobs/{digest}"
        response = self._call(endpoint, "HEAD", path, _scope(reference, push=True))
        response.close()
        if response.status not in (200, 404):
            raise self._failure(response, f"`{reference.name}`", endpoint)
        return response.status == 200 and response.header("Docker-Content-Digest") in ("", digest)

    def mount(self, reference: Reference, digest: str, other: str) -> bool:
        """Let a repository have a blob of another one of the same registry; False where that is not done."""
        endpoint = self.home(reference.registry)
        query = urlencode({"mount": digest, "from": other})
        scope = _scope(reference, push=True, mount_from=other)
        try:
            response = self._call(endpoint, "POST", f"{reference.repository}/blobs/uploads/?{query}", scope, body=b"")
        except RegistryError:
            return False  # no right to read the other: then it is sent
        response.drain()
        return response.status == 201

    def upload(self, reference: Reference, digest: str, body: Body) -> None:
        """Put a blob in one piece. Raises `RegistryError`, `DigestMismatch`."""
        endpoint = self.home(reference.registry)
        scope = _scope(reference, push=True)

        def transfer() -> None:
            response = self._authorized(endpoint, scope, send)
            if response.status not in (201, 204):
                raise self._failure(response, f"the blob {digest}", endpoint)
            response.drain()
            _compare(response, digest)

        def send() -> tuple[Response, str]:
            # Begun anew where its end is refused: the registry may have dropped what it was sent.
            place = self._begin_upload(endpoint, reference, scope, digest)
            there, here = origin_of(place), origin_of(endpoint.base)
            if here.scheme == "https" and there.scheme == "http":
                raise RegistryError("the registry wants the upload without encryption", at=shown(place))
            sent = self._auth.header(endpoint, scope) if there == here else ""
            headers = {"Content-Type": "application/octet-stream", **({"Authorization": sent} if sent else {})}
            return self._transport.request("PUT", place, headers=headers, body=body, verify=endpoint.verify), sent

        self._retrying(transfer)

    def _begin_upload(self, endpoint: Endpoint, reference: Reference, scope: str, digest: str) -> str:
        """Where a blob is to be put."""
        response = self._once(endpoint, "POST", f"{reference.repository}/blobs/uploads/", scope, body=b"")
        if response.status != 202:
            raise self._failure(response, f"`{reference.name}`", endpoint)
        response.drain()
        place = response.header("Location")
        if not place:
            raise RegistryError("the registry names no place for the upload", at=shown(response.url))
        place = join(response.url, place)
        return place + ("&" if "?" in place else "?") + "digest=" + quote(digest, safe=":")

    def put_manifest(self, reference: Reference, identifier: str, data: bytes, media_type: str) -> None:
        """Put a manifest under a tag or its digest. Raises `RegistryError`, `DigestMismatch`."""
        endpoint = self.home(reference.registry)
        path = f"{reference.repository}/manifests/{identifier}"
        scope = _scope(reference, push=True)
        response = self._call(endpoint, "PUT", path, scope, headers={"Content-Type": media_type}, body=data)
        if response.status not in (200, 201):
            raise self._failure(response, f"`{reference.familiar}`", endpoint)
        response.drain()
        _compare(response, digest_of(data))

    # Reaching

    def home(self, registry: str) -> Endpoint:
        """The address of the registry itself. Raises `RegistryError` where none of its addresses answers."""
        with self._lock:
            found = self._homes.get(registry)
            if found is None:
                found = self._homes[registry] = self._reach(registry)
            return found

    def _reach(self, registry: str) -> Endpoint:
        choices = mirrors.candidates(self.config, registry)
        return choices[0] if len(choices) == 1 else self._retrying(lambda: self._one_that_answers(choices))

    def _one_that_answers(self, choices: tuple[Endpoint, ...]) -> Endpoint:
        problems: list[Unreachable] = []
        for endpoint in choices:
            try:
                response = self._transport.request("GET", endpoint.base + "/v2/", verify=endpoint.verify)
                is_tls = (
                    response.status == 400 and endpoint.base.startswith("http:") and b"HTTPS" in response.read(4096)
                )
                response.drain()
            except Unreachable as problem:
                problems.append(problem)
                continue
            if not is_tls:  # else a TLS server was spoken to in the clear
                return endpoint
        # Of one that hung up it is not known whether it had a bad moment or speaks otherwise: all are tried again.
        broken = [problem for problem in problems if isinstance(problem, Broken)]
        raise (broken or problems or [RegistryError("the registry cannot be reached", at=choices[0].base)])[0]

    def _first(self, registry: str, ask: Callable[[Endpoint], T], digest: str = "") -> T:
        notes = []
        for endpoint in mirrors.mirrors(self.config, registry):
            if (endpoint.base, digest) in self._passed_over:
                continue
            try:
                return ask(endpoint)
            except SourceError as problem:
                notes.append(_note(endpoint.base, problem.message))
        try:
            return ask(self.home(registry))
        except SourceError as problem:
            problem.notes += tuple(notes)
            raise

    def _call(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        scope: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """One request of the protocol, authorized, with passing failures tried again."""
        return self._retrying(lambda: self._once(endpoint, method, path, scope, headers=headers, body=body))

    def _retrying(self, action: Callable[[], T]) -> T:
        return retrying(action, self._sleep)

    def _once(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        scope: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """One request, authorized; raises `Broken` for a status that will pass."""
        url = f"{endpoint.base}/v2/{path}"

        def send() -> tuple[Response, str]:
            sent = self._auth.header(endpoint, scope)
            fields = {**(headers or {}), **({"Authorization": sent} if sent else {})}
            return self._transport.request(method, url, headers=fields, body=body, verify=endpoint.verify), sent

        return self._authorized(endpoint, scope, send)

    def _authorized(self, endpoint: Endpoint, scope: str, send: Callable[[], tuple[Response, str]]) -> Response:
        """The answer to what is sent with an `Authorization`, which comes with it; sent anew where that is refused."""
        # At most two answers to a challenge: a remembered token that ran out, and the one after it.
        for chance in range(3):
            response, sent = send()
            if response.status != 401:
                self._check_passing(response, endpoint)
                return response
            words = explanation(response)
            # Who a redirect leads to is not the registry: it gets no login, and names no server that would get one.
            is_registry = origin_of(response.url) == origin_of(endpoint.base)
            if chance == 2 or not is_registry or not self._auth.answer(endpoint, scope, response, sent):
                break
        raise _denied(response, endpoint, words)

    def _check_passing(self, response: Response, endpoint: Endpoint | None = None) -> None:
        if response.status in PASSING:
            words, hint = explanation(response), ""
            if response.status == _TOO_MANY and endpoint is not None and not self._auth.has_login(endpoint):
                hint = f"some registries allow more to whom they know: `docker login {endpoint.login}` stores a login"
            problem = Broken(f"the registry answers {response.status}{words}", at=shown(response.url), hint=hint)
            problem.retry_after = retry_after(response.header("Retry-After"))
            raise problem

    def _failure(self, response: Response, what: str, endpoint: Endpoint) -> PybuildError:
        """The error for an answer that is not the wanted one; reads and closes it."""
        detail = explanation(response)
        if response.status == 404:
            return ImageNotFound(f"{what} is not in the registry", at=shown(response.url))
        if response.status in (401, 403):
            return _denied(response, endpoint, detail)
        return RegistryError(f"the registry answers {response.status}{detail}", at=shown(response.url))


def _note(mirror: str, why: str) -> str:
    return f"mirror {mirror}: {why}"


def cache_authorization(url: str, env: Mapping[str, str]) -> dict[str, str]:
    """The header for a cache on a plain web server: `PYBUILD_CACHE_TOKEN` as a bearer (RFC 6750), else user and
    password of the URL; else none. Raises `RegistryError` for what is no token.
    """
    if not url.startswith(("http://", "https://")):
        return {}
    token = authorization.token(env, "PYBUILD_CACHE_TOKEN")
    login = f"Bearer {token}" if token else authorization.basic(url)
    return {"Authorization": login} if login else {}


def _denied(response: Response, endpoint: Endpoint, detail: str = "") -> RegistryError:
    if origin_of(response.url) != origin_of(endpoint.base):
        host = urlsplit(shown(response.url)).netloc
        return RegistryError(
            f"`{host}`, to which the registry leads, answers {response.status}{detail}", at=shown(response.url)
        )
    return RegistryError(
        f"the registry denies access{detail}",
        at=shown(response.url),
        hint=LOGIN.format(endpoint.login),
    )


def _compare(response: Response, digest: str) -> None:
    claimed = response.header("Docker-Content-Digest")
    if claimed and claimed != digest:
        raise DigestMismatch(f"the registry stored {claimed[:100]}, not {digest}", at=shown(response.url))


def _scope(reference: Reference, *, push: bool = False, mount_from: str = "") -> str:
    scope = f"repository:{reference.repository}:{'pull,push' if push else 'pull'}"
    if mount_from and mount_from != reference.repository:
        scope += f" repository:{mount_from}:pull"
    return scope
