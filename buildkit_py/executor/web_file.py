"""Files of the web: what a URL holds now, and its bytes where they are not here yet.

A server is asked at each build, and says in a few bytes that nothing changed
where it can (RFC 9110): by a strong ETag; or else by a Last-Modified that was
older than a minute when the file was fetched, so that it could not have
changed again within the same second, and that is the very same now, as is the
length. (If-Modified-Since asks for less: a file put back to an older one would
not show.) Weak ETags promise no equal bytes, so they prove nothing here.
"""

from __future__ import annotations

import os
import time

from buildkit_py.errors import DigestMismatch, RegistryError, SourceError
from buildkit_py.http.retry import PASSING, retry_after, retrying
from buildkit_py.http.transport import Broken
from buildkit_py.http.url import origin_of, shown
from buildkit_py.image.entry import kept_time
from buildkit_py.record import Record
from buildkit_py.store.faults import store_error
from buildkit_py.store.sealed import seal, unseal
from buildkit_py.store.work import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from buildkit_py.http.transport import Response, Transport
    from buildkit_py.store.store import Store

    # bytes so far, bytes in all (0 where unknown)
    Progress: TypeAlias = Callable[[int, int], None]

LARGEST = 64 << 30
_FORMAT = 2
_BLOCK = 256 << 10
_NANO = 10**9
# RFC 9110, 8.8.2.2: a Last-Modified is a strong validator if the file had long been at rest.
_AT_REST = 60


class Fetched(Record):
    """A file that was fetched: `path` holds its bytes and is the caller's to remove; `mtime` in seconds."""

    digest: str
    size: int
    mtime: int
    path: str


class Note(Record):
    """What is kept of a URL between builds."""

    digest: str
    etag: str
    modified: str
    length: str


def ask(
    store: Store,
    transport: Transport,
    url: str,
    authorization: str = "",
    *,
    progress: Progress,
    largest: int = LARGEST,
) -> Note | Fetched:
    """What a URL holds now: a `Note` where it still is what the last build found, else the file, fetched.

    `authorization` is the header of that name. Raises `SourceError` and what writing to the store raises.
    """
    note = _read(store, url)

    def attempt() -> Note | Fetched:
        if note is not None and not note.etag and _is_the_same(transport, url, authorization, note):
            return note
        return _get(store, transport, url, authorization, note, progress, largest)

    return retrying(attempt, time.sleep)


def fetch(
    store: Store,
    transport: Transport,
    url: str,
    digest: str,
    authorization: str = "",
    *,
    progress: Progress,
    largest: int = LARGEST,
) -> Fetched:
    """The file of a URL. Raises `DigestMismatch` where it is not the one with that digest."""
    got = retrying(lambda: _get(store, transport, url, authorization, None, progress, largest), time.sleep)
    assert isinstance(got, Fetched)
    if got.digest != digest:
        os.unlink(got.path)
        raise DigestMismatch(
            f"the file is {got.digest}, and not {digest}",
            at=shown(url),
            hint="a checksum in the Buildfile says so, or pybuild.lock, where `pybuild update` moves it",
        )
    return got


def _get(
    store: Store,
    transport: Transport,
    url: str,
    authorization: str,
    note: Note | None,
    progress: Progress,
    largest: int,
) -> Note | Fetched:
    headers = _headers(authorization)
    if note is not None and note.etag:
        headers["If-None-Match"] = note.etag
    response = transport.request("GET", url, headers=headers)
    try:
        if response.status == 304 and note is not None and note.etag:
            return note
        if response.status not in (200, 203):
            raise _refusal(response, url)
        fetched = _download(store, response, url, progress, largest)
    finally:
        response.close()
    etag, modified = _validators(response)
    if etag or modified:
        _write(store, url, Note(fetched.digest, etag, modified, str(fetched.size)))
    return fetched


def _is_the_same(transport: Transport, url: str, authorization: str, note: Note) -> bool:
    """Whether the server shows the time and length that the file had; False where it does not like the question."""
    response = transport.request("HEAD", url, headers=_headers(authorization))
    response.close()
    if response.status != 200 or response.header("ETag") or not note.modified:
        return False
    return response.header("Last-Modified") == note.modified and response.header("Content-Length") == note.length


def _headers(authorization: str) -> dict[str, str]:
    return {"Accept": "*/*", **({"Authorization": authorization} if authorization else {})}


def _download(store: Store, response: Response, url: str, progress: Progress, largest: int) -> Fetched:
    from hashlib import sha256

    total = response.length or 0
    if total > largest:
        raise SourceError(f"the file is {total} bytes long, and more than {largest} are not fetched", at=shown(url))
    hasher, size = sha256(), 0
    mtime = kept_time(_seconds(response.header("Last-Modified")) * _NANO) // _NANO
    fd, path = store.work.temporary()
    try:
        try:
            while piece := response.read(_BLOCK):
                size += len(piece)
                if size > largest:
                    raise SourceError(f"the file does not end within {largest} bytes", at=shown(url))
                hasher.update(piece)
                write_all(fd, piece)
                progress(size, total)
            os.utime(fd, (mtime, mtime))
        finally:
            os.close(fd)
    except OSError as problem:
        os.unlink(path)
        raise store_error(problem, store.root, "fetch a file") from problem
    except BaseException:
        os.unlink(path)
        raise
    return Fetched("sha256:" + hasher.hexdigest(), size, mtime, path)


def _refusal(response: Response, url: str) -> SourceError:
    status, where = response.status, shown(url)
    if status in PASSING:
        problem = Broken(f"the server cannot answer now (status {status})", at=where)
        problem.retry_after = retry_after(response.header("Retry-After"))
        return problem
    if status in (404, 410):
        return SourceError(f"there is no such file (status {status})", at=where)
    if status in (401, 403):
        asked, answered = origin_of(url), origin_of(response.url)
        if answered != asked:  # a token would stay with the first, whose word the other's address is
            return SourceError(
                f"`{answered.host}`, to which the server leads, does not give out the file (status {status})", at=where
            )
        return SourceError(
            f"the server does not give out the file (status {status})",
            at=where,
            hint=f"if it wants a token, give it with --secret id=HTTP_AUTH_TOKEN_{asked.host},env=VARIABLE",
        )
    return RegistryError(f"the server answers with status {status}", at=where)


def _validators(response: Response) -> tuple[str, str]:
    """The ETag and the Last-Modified that prove equal bytes later, "" for each that does not."""
    etag, modified = response.header("ETag"), response.header("Last-Modified")
    if len(etag) < 2 or not etag.startswith('"') or not etag.endswith('"') or "\r" in etag or "\n" in etag:
        etag = ""
    made, told = _seconds(modified), _seconds(response.header("Date"))
    return etag, modified if made and told - made >= _AT_REST else ""


def _seconds(date: str) -> int:
    """The time of a header in seconds since 1970; 0 for none, one that cannot be read, and one before that."""
    if not date:
        return 0
    from email.utils import parsedate_to_datetime

    try:
        return max(0, int(parsedate_to_datetime(date).timestamp()))
    except (ValueError, TypeError, OverflowError):
        return 0


def _path(store: Store, url: str) -> str:
    from buildkit_py.digest import key_of

    return store.path("sources", "web-" + key_of(url)[:32])


def _read(store: Store, url: str) -> Note | None:
    try:
        with open(_path(store, url), "rb") as file:
            form, seen, *fields = unseal(file.read())
    except (OSError, ValueError, TypeError):  # none, or damaged
        return None
    if form != _FORMAT or seen != url or len(fields) != 4 or not all(type(field) is str for field in fields):
        return None
    return Note(*fields)


def _write(store: Store, url: str, note: Note) -> None:
    store.work.write(_path(store, url), seal((_FORMAT, url, *note.values())))
