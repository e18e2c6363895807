"""A server for tests that speaks as the cache service of GitHub Actions does, version 2, and as the store behind it.

The messages are those of actions/toolkit, `results/api/v1/cache.proto`: a miss
is `{"ok": false}`, and an entry that is there or was begun is a conflict. The
store takes Azure's Put Blob, and refuses requests with a second kind of login.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.web_server import Handler, Request, Web, web_server

TOKEN = "job-token"
_SERVICE = "/twirp/github.actions.results.api.v1.CacheService/"


class ActionsServer:
    """`entries` are finished: data by (key, version), the newest last. `fault(request)` answers in its place."""

    def __init__(self, web: Web) -> None:
        self.entries: dict[tuple[str, str], bytes] = {}
        self.begun: dict[tuple[str, str], str] = {}
        self.stored: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.fault: Callable[[Handler, Request], bool] = lambda handler, request: False
        self.env = {"ACTIONS_RESULTS_URL": f"{web.url}/", "ACTIONS_RUNTIME_TOKEN": TOKEN}
        self._url = web.url
        web.below[_SERVICE] = self._serve
        web.below["/store/"] = self._store

    def _serve(self, handler: Handler, request: Request) -> None:
        method = request.path.removeprefix(_SERVICE)
        message = json.loads(handler.rfile.read(int(request.headers["content-length"])))
        self.asked.append(method)
        if self.fault(handler, request):
            return
        if request.method != "POST" or request.headers.get("authorization") != f"Bearer {TOKEN}":
            handler.answer(401, b'{"code": "unauthenticated", "msg": "no"}')
            return
        assert request.headers["content-type"] == "application/json"
        assert len(message["version"]) == 64
        status, found = getattr(self, f"_{method}")(**message)
        handler.answer(status, json.dumps(found).encode(), Content_Type="application/json")

    def _CreateCacheEntry(self, key: str, version: str) -> tuple[int, dict[str, object]]:
        if (key, version) in self.begun:
            return 409, {"code": "already_exists", "msg": "cache entry with the same key, version, and scope exists"}
        self.begun[key, version] = path = f"/store/{len(self.begun)}"
        return 200, {"ok": True, "signed_upload_url": f"{self._url}{path}?sig=signature"}

    def _FinalizeCacheEntryUpload(self, key: str, version: str, size_bytes: str) -> tuple[int, dict[str, object]]:
        data = self.stored.get(self.begun.get((key, version), ""))
        if data is None or len(data) != int(size_bytes):
            return 200, {"ok": False, "entry_id": "0"}
        self.entries[key, version] = data
        return 200, {"ok": True, "entry_id": str(len(self.entries))}

    def _GetCacheEntryDownloadURL(
        self, key: str, restore_keys: list[str], version: str
    ) -> tuple[int, dict[str, object]]:
        for wanted in [key, *restore_keys]:
            same = [entry for entry in self.entries if entry[1] == version]
            exact = [entry for entry in same if entry[0] == wanted]
            if found := exact or [entry for entry in same if entry[0].startswith(wanted)]:
                url = f"{self._url}{self.begun[found[-1]]}?sig=signature"
                return 200, {"ok": True, "signed_download_url": url, "matched_key": found[-1][0]}
        return 200, {"ok": False, "signed_download_url": "", "matched_key": ""}

    def _store(self, handler: Handler, request: Request) -> None:
        path, _, query = request.path.partition("?")
        body = handler.rfile.read(int(request.headers.get("content-length", "0")))
        self.asked.append(request.method)
        if self.fault(handler, request):
            return
        if query != "sig=signature" or "authorization" in request.headers:
            handler.answer(403)
        elif request.method == "PUT":
            if request.headers.get("x-ms-blob-type") != "BlockBlob":
                handler.answer(400)
                return
            self.stored[path] = body
            handler.answer(201)
        elif path in self.stored:
            handler.answer(200, self.stored[path])
        else:
            handler.answer(404)


@contextmanager
def actions_server() -> Iterator[ActionsServer]:
    """A server that runs as long as the `with` block."""
    with web_server() as web:
        yield ActionsServer(web)
