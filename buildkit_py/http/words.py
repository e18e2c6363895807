"""What a server says about a request that it refuses, for people: the little that errors of several protocols share."""

from __future__ import annotations

from buildkit_py import json_text
from buildkit_py.errors import SourceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildkit_py.http.transport import Response

MAX_ERROR = 64 << 10
_LONGEST = 300


def explanation(response: Response) -> str:
    """` (CODE: message)` from an answer's body, which is read and closed; "" where it says nothing.

    It is that of a registry (OCI distribution-spec, "Error Codes"), of a token server (RFC 6749, section 5.2, or
    Docker's `details`) or of S3 (API reference, "REST Error Responses").
    """
    try:
        body = response.read_all(MAX_ERROR)
    except SourceError:
        return ""  # the status says enough
    finally:
        response.close()
    text = ": ".join(part for part in (_of_json(body) or _of_xml(body)) if part)
    return f" ({''.join(letter for letter in text[:_LONGEST] if letter.isprintable())})" if text else ""


def _of_json(body: bytes) -> list[str]:
    try:
        value = json_text.load(body.decode())
    except (ValueError, RecursionError):
        return []
    if not isinstance(value, dict):
        return []
    errors = value.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    if isinstance(first, dict):
        return [_text(first, "code"), _text(first, "message")]
    return [_text(value, "error"), _text(value, "error_description") or _text(value, "details")]


def _of_xml(body: bytes) -> list[str]:
    text = body.decode("utf-8", "replace")
    return [_between(text, "Code"), _between(text, "Message")] if "<Error>" in text else []


def _between(text: str, tag: str) -> str:
    rest = text.partition(f"<{tag}>")[2]
    found, end, _ = rest.partition(f"</{tag}>")
    return found if end and "<" not in found else ""


def _text(value: dict[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""
