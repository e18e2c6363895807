"""What is shown of a server's words about a failure."""

from __future__ import annotations

import pytest

from buildkit_py.http.transport import Transport
from buildkit_py.http.words import MAX_ERROR, explanation
from tests.fake_registry import Handler, Request, fake_registry


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"errors":[{"code":"TOOMANYREQUESTS","message":"later"}]}', " (TOOMANYREQUESTS: later)"),
        (b'{"errors":[{"message":"later"}]}', " (later)"),
        (b'{"details":"incorrect username or password"}', " (incorrect username or password)"),
        (b'{"error":"invalid_grant","error_description":"too old"}', " (invalid_grant: too old)"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>gone</Message></Error>", " (NoSuchKey: gone)"),
        (b"<Error><Code>NoSuchKey</Code><Message><b>gone</b></Message></Error>", " (NoSuchKey)"),
        (b"<Error><Code>ExpiredToken", ""),
        (b"<html>no</html>", ""),
        (b'{"errors":"no"}', ""),
        (b'{"errors":[5],"error":["x"]}', ""),
        (b"[" * 5000, ""),
        (b"\xff", ""),
        (b"", ""),
        (b'{"details":"\\u001b[2Jred"}', " ([2Jred)"),
        (b'{"details":"' + b"x" * 400 + b'"}', f" ({'x' * 300})"),
        (b'{"details":"' + b"x" * MAX_ERROR + b'"}', ""),
    ],
)
def test_words(body: bytes, expected: str) -> None:
    with fake_registry() as registry:
        registry.faults.append(lambda handler, request: handler.reply(503, body))
        transport = Transport(env={})
        response = transport.request("GET", f"http://{registry.address}/")
        assert explanation(response) == expected
        transport.close()


def test_words_that_break_off() -> None:
    def half(handler: Handler, request: Request) -> bool:
        handler.send_response(503)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b'{"details":')
        handler.close_connection = True
        return True

    with fake_registry() as registry:
        registry.faults.append(half)
        transport = Transport(env={})
        assert explanation(transport.request("GET", f"http://{registry.address}/")) == ""
        transport.close()
