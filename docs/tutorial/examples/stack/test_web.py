"""An order goes from the application through the broker, the worker and the database, and the application shows it."""

import io
import json
import time
from typing import Any

import web


def ask(method: str, body: bytes = b"") -> bytes:
    """What the application answers, without a server between."""
    request = {
        "REQUEST_METHOD": method,
        "PATH_INFO": "/orders",
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    return b"".join(web.bottle.default_app()(request, lambda *_: None))


assert ask("POST", b"item=tea") == b"taken\n"
shown: list[Any] = []
while not shown:
    time.sleep(0.05)
    shown = json.loads(ask("GET"))["orders"]
assert [item for item, done_by in shown] == ["tea"], shown
