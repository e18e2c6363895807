"""The cache service of GitHub Actions, version 2: entries that never change, by key, each a file behind a signed URL.

Requests are POSTs of JSON to `ACTIONS_RESULTS_URL` (Twirp; the messages are in
actions/toolkit, `results/api/v1/cache.proto`), with `ACTIONS_RUNTIME_TOKEN` as
a bearer. A job has both, but only actions see them. What a job may read and
write, by branch, is in the token. An entry is found by its whole key, or by
the beginning of one, and then the newest is meant; the version must be equal.
"""

from __future__ import annotations

from buildkit_py import json_text
from buildkit_py.digest import digest_of
from buildkit_py.errors import RegistryError, SourceError
from buildkit_py.http.authorization import token
from buildkit_py.http.retry import PASSING, retry_after
from buildkit_py.http.transport import Broken
from buildkit_py.http.url import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from buildkit_py.http.transport import Body, Transport

SCHEME = "gha://"
URL, TOKEN = "ACTIONS_RESULTS_URL", "ACTIONS_RUNTIME_TOKEN"
_SERVICE = "twirp/github.actions.results.api.v1.CacheService"
_LONGEST = 1 << 20
_CONFLICT = 409


def version(text: str) -> str:
    """What tells entries of one kind from others: 64 hex digits, as the service wants it."""
    return digest_of(text.encode()).removeprefix("sha256:")


def name(key: str, version: str) -> str:
    """An entry as an origin remembers it."""
    return f"{SCHEME}{version}/{key}"


class ActionsCache:
    """The service of the job that this process belongs to. Methods raise `SourceError`, `Broken` for what passes."""

    def __init__(self, transport: Transport, env: Mapping[str, str]) -> None:
        self._transport = transport
        self._env = env

    def find(self, key: str, version: str, beginning: str = "") -> str:
        """The signed URL of an entry, "" where there is none. `beginning` finds the newest whose key begins so."""
        asked = {"key": key, "restore_keys": [beginning] if beginning else [], "version": version}
        found = self._call("GetCacheEntryDownloadURL", asked)
        if not found.get("ok") or not (beginning or found.get("matched_key", key) == key):
            return ""
        return _signed(found, "signed_download_url")

    def create(self, key: str, version: str) -> str:
        """Begin an entry: the signed URL that its file goes to, "" where there is one with that key, or was begun.

        The service knows of it from here on: to begin it again, for whatever reason, is a conflict.
        """
        made = self._call("CreateCacheEntry", {"key": key, "version": version})
        return _signed(made, "signed_upload_url") if made.get("ok") else ""

    def send(self, url: str, body: Body) -> None:
        """Send the file of an entry that was begun."""
        # Azure's Put Blob; the store is Azure's, or speaks as it does.
        headers = {"Content-Type": "application/octet-stream", "x-ms-blob-type": "BlockBlob"}
        response = self._transport.request("PUT", url, headers=headers, body=body)
        response.drain()
        if response.status not in (200, 201):
            kind = Broken if response.status in PASSING else RegistryError
            raise kind(f"the server answers {response.status}", at=shown(url))

    def finish(self, key: str, version: str, size: int) -> None:
        """End an entry whose file, of so many bytes, was sent: now it can be found."""
        done = self._call("FinalizeCacheEntryUpload", {"key": key, "version": version, "size_bytes": str(size)})
        if not done.get("ok"):
            raise RegistryError("the cache service does not take what was sent", at=shown(self._url()))

    def _url(self) -> str:
        url, login = self._env.get(URL, "").strip(), token(self._env, TOKEN)
        if not url or not login:
            raise SourceError(
                f"{URL} and {TOKEN} are not set",
                hint="in a job of GitHub Actions only actions see them; hand them on with actions/github-script",
            )
        return url.rstrip("/") + "/" + _SERVICE

    def _call(self, method: str, message: dict[str, Any]) -> dict[str, Any]:
        url = f"{self._url()}/{method}"
        headers = {"Authorization": f"Bearer {token(self._env, TOKEN)}", "Content-Type": "application/json"}
        response = self._transport.request("POST", url, headers=headers, body=json_text.ascii_dump(message))
        data = response.read_all(_LONGEST)
        if response.status == _CONFLICT:
            return {}
        if response.status in PASSING:
            problem = Broken(f"the server answers {response.status}", at=shown(url))
            problem.retry_after = retry_after(response.header("Retry-After"))
            raise problem
        if response.status != 200:
            hint = f"{TOKEN} is that of another job, or too old" if response.status in (401, 403) else ""
            raise RegistryError(f"the server answers {response.status}", at=shown(url), hint=hint)
        try:
            found = json_text.load(data.decode())
        except (ValueError, RecursionError) as problem:
            raise RegistryError("the cache service answers with what is no JSON", at=shown(url)) from problem
        if not isinstance(found, dict):
            raise RegistryError("the cache service answers with what is no message", at=shown(url))
        return found


def download_url(transport: Transport, entry: str, env: Mapping[str, str]) -> str:
    """The signed URL of an entry that an origin remembers, "" where it is gone. Raises as `ActionsCache` does."""
    version, _, key = entry.removeprefix(SCHEME).partition("/")
    return ActionsCache(transport, env).find(key, version)


def _signed(message: Mapping[str, Any], field: str) -> str:
    url = message.get(field)
    if not isinstance(url, str) or not url.lower().startswith(("http://", "https://")):
        raise RegistryError(f"the cache service answers without `{field}`")
    return url
