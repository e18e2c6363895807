"""Sources from elsewhere while a build runs: each asked for once, and its files as the entries of a layer.

What a server said at the first question holds for the whole build, so that
two steps that take the same source cannot see two versions of it.
"""

from __future__ import annotations

import os
from _thread import allocate_lock

from buildkit_py.errors import StepFailed
from buildkit_py.graph.op import GitSource, HttpSource
from buildkit_py.image.entry import FILE, Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable
    from typing import TypeAlias

    from buildkit_py.executor.git_command import Git
    from buildkit_py.executor.settings import Given
    from buildkit_py.executor.web_file import Fetched
    from buildkit_py.http.transport import Transport
    from buildkit_py.store.store import Store

    Remote: TypeAlias = HttpSource | GitSource
    # bytes so far, bytes in all (0 where unknown)
    Progress: TypeAlias = Callable[[int, int], None]

_NANO = 1_000_000_000
_FILE_MODE = 0o600
# BuildKit's name for the agent that git sources ask.
_AGENT = "default"
_FORGES = ("github.com", "www.github.com")


class Remotes:
    """`transport` speaks HTTP, made at the first use; `given` has credentials, and the agent that ssh asks.

    `ca_bundle` are certificates to trust besides the system's, b"" for none. `offline`: no git is run.
    """

    def __init__(
        self,
        store: Store,
        transport: Callable[[], Transport],
        given: Given,
        cancelled: Callable[[], bool],
        ca_bundle: bytes,
        *,
        offline: bool = False,
    ) -> None:
        self._offline = offline
        self._store = store
        self._transport = transport
        self._given = given
        self._secret = given.secret
        self._cancelled = cancelled
        self._ca_bundle = ca_bundle
        self._settled: dict[Remote, Remote] = {}
        self._fetched: dict[str, Fetched] = {}  # by digest, until a layer is made of it
        self._locks: dict[Remote, LockType] = {}

    def settled(self, op: Remote, progress: Progress) -> Remote:
        """A source that moves as what it is now. Raises `SourceError`, `DigestMismatch`, `StoreError`."""
        with self._locks.setdefault(op, allocate_lock()):
            known = self._settled.get(op)
            if known is None:
                known = self._settled[op] = self._ask(op, progress)
            return known

    def entries(self, op: Remote, work: str, progress: Progress) -> list[Entry]:
        """The files of a source; their bytes may lie below the directory `work`. Raises as `settled`."""
        op = self.known(op)
        match op:
            case HttpSource():
                return [self._file(op, work, progress)]
            case GitSource():
                from buildkit_py.executor.git_source import checkout

                os.mkdir(f"{work}/tree")
                return checkout(self._git(op, work), op, f"{work}/tree")

    def _ask(self, op: Remote, progress: Progress) -> Remote:
        match op:
            case HttpSource():
                from buildkit_py.executor.web_file import Fetched, ask

                found = ask(
                    self._store,
                    self._transport(),
                    op.url,
                    self._authorization(op.url),
                    progress=self._watched(progress),
                )
                if isinstance(found, Fetched):
                    self.provide(found)
                return op.replace(digest=found.digest)
            case GitSource():
                from buildkit_py.executor.git_source import resolve

                with self._store.work_dir("git") as work:
                    return resolve(self._git(op, work.path), op, work.path)

    def _file(self, op: HttpSource, work: str, progress: Progress) -> Entry:
        got = self._fetched.pop(op.digest, None)
        if got is None:
            from buildkit_py.executor.web_file import fetch

            authorization = self._authorization(op.url)
            got = fetch(
                self._store,
                self._transport(),
                op.url,
                op.digest,
                authorization,
                progress=self._watched(progress),
            )
        path = f"{work}/file"
        os.rename(got.path, path)
        return Entry(op.name, FILE, _FILE_MODE, 0, 0, got.size, got.mtime * _NANO, source=path)

    def known(self, op: Remote) -> Remote:
        """A source as what it is in this build, where somebody asked; else as it stands."""
        return self._settled.get(op, op)

    def provide(self, found: Fetched) -> None:
        """Take over a file that was fetched: the source with its digest is made of it."""
        older = self._fetched.pop(found.digest, None)
        if older is not None:
            os.unlink(older.path)
        self._fetched[found.digest] = found

    def _authorization(self, url: str) -> str:
        """The header by a secret for the host (BuildKit's names), else by user and password of the URL; "" for none."""
        from urllib.parse import urlsplit

        from buildkit_py.http.authorization import basic

        host = urlsplit(url).hostname or ""
        if (header := self._secret(f"HTTP_AUTH_HEADER_{host}")) is not None:
            return header.decode("latin-1").strip()
        if (token := self._secret(f"HTTP_AUTH_TOKEN_{host}")) is not None:
            return "Bearer " + token.decode("latin-1").strip()
        return basic(url)

    def _git(self, op: GitSource, work: str) -> Git:
        """Git with what this source needs; a file of certificates goes below `work`."""
        if self._offline:
            from buildkit_py.http.address import shown_url
            from buildkit_py.http.transport import not_here

            raise not_here(shown_url(op.url))
        from buildkit_py.executor.git_command import Git

        settings: list[tuple[str, str]] = []
        scope, header = self._git_header(op.url)
        if header:
            settings.append((f"http.{scope}.extraheader", f"Authorization: {header}"))
        if certificates := self._certificates(work):
            settings.append(("http.sslCAInfo", certificates))
        over_ssh = not op.url.startswith(("http://", "https://"))
        agent = (self._given.agent(_AGENT) if over_ssh or op.submodules else None) or ""
        return Git(op.url, work, os.environ, self._cancelled, agent=agent, settings=tuple(settings))

    def _git_header(self, url: str) -> tuple[str, str]:
        """The part of the web to which a secret for git is sent, and the header; "" where there is no secret."""
        scheme, _, rest = url.partition("://")
        if scheme not in ("http", "https"):
            return "", ""
        host = rest.partition("/")[0].rpartition("@")[2]
        # One token serves all of a company's repositories there, submodules too (BuildKit, as actions/checkout).
        scope = f"https://{host}/" if host in _FORGES and scheme == "https" else url
        for name in (f".{host}", ""):
            if (header := self._secret(f"GIT_AUTH_HEADER{name}")) is not None:
                return scope, header.decode("latin-1").strip()
            if (token := self._secret(f"GIT_AUTH_TOKEN{name}")) is not None:
                from base64 import b64encode

                return scope, "basic " + b64encode(b"x-access-token:" + token.strip()).decode()
        return "", ""

    def _certificates(self, work: str) -> str:
        """A file of all certificates to trust: git's setting replaces those of the system."""
        own = os.environ.get("GIT_SSL_CAINFO") or os.environ.get("SSL_CERT_FILE", "")
        if not self._ca_bundle:
            return own
        import ssl

        path = f"{work}/certificates"
        with open(path, "wb") as file:
            for place in (own, ssl.get_default_verify_paths().cafile):
                if place and os.path.isfile(place):
                    with open(place, "rb") as known:
                        file.write(known.read() + b"\n")
                    break
            file.write(self._ca_bundle)
        return path

    def _watched(self, progress: Progress) -> Progress:
        def told(done: int, total: int) -> None:
            if self._cancelled():
                raise StepFailed("the build was interrupted", code=130)
            progress(done, total)

        return told
