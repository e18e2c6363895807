"""Names of objects in buckets, and the URLs that requests to them go to."""

from __future__ import annotations

import json
import sys
from urllib.parse import urlsplit

import pytest

from buildkit_py.errors import RegistryError, UsageError
from buildkit_py.http import bucket
from tests.web_server import web_server


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr(bucket, "_stores", {})


@pytest.mark.parametrize(
    ("base", "host", "path"),
    [
        (bucket.base("b", "p", region="eu-west-1"), "s3.eu-west-1.amazonaws.com", "/b/p/x/y"),
        (bucket.base("b", region="eu-west-1", virtual=True), "b.s3.eu-west-1.amazonaws.com", "/x/y"),
        (bucket.base("b", "/p/", endpoint="http://host:1"), "host:1", "/b/p/x/y"),
        (bucket.base("b", endpoint="http://host:1", virtual=True), "b.host:1", "/x/y"),
        (bucket.base("b", "a b+ü&?", endpoint="http://host:1"), "host:1", "/b/a%20b%2B%C3%BC%26%3F/x/y"),
    ],
)
def test_where_a_request_goes(base: str, host: str, path: str) -> None:
    parts = urlsplit(bucket.signed("GET", bucket.below(base, "x/y")))
    assert (parts.netloc, parts.path) == (host, path)
    assert "X-Amz-Signature=" in parts.query
    assert "s3cret" not in parts.query


def test_other_urls_stay() -> None:
    assert bucket.signed("GET", "https://host/x?y=1") == "https://host/x?y=1"


def test_without_obstore_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match="needs the package obstore") as caught:
        bucket.signed("GET", bucket.base("b"))
    assert "buildkit-py[s3]" in caught.value.hint


def test_keys_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/x")
    with pytest.raises(RegistryError, match="cannot be signed: ") as caught:
        bucket.signed("GET", bucket.base("b"))
    assert "\n" not in caught.value.message
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint


def test_a_machine_is_asked_for_its_role_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not for each request: its keys are good for hours."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    keys = {"AccessKeyId": "ASIAROLE", "SecretAccessKey": "s", "Token": "t", "Expiration": "2100-01-01T00:00:00Z"}
    role = "/latest/meta-data/iam/security-credentials/"
    with web_server() as web:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", web.url)
        web.pages |= {"/latest/api/token": b"token", role: b"role", role + "role": json.dumps(keys).encode()}
        where = bucket.base("of-a-role", region="eu-west-1")
        first = bucket.signed("HEAD", bucket.below(where, "x"))
        asked = web.methods()
        assert "ASIAROLE" in first
        assert asked
        assert "/of-a-role/y?" in bucket.signed("PUT", bucket.below(where, "y"))
        assert web.methods() == []
        # Another place may have another role.
        bucket.signed("GET", bucket.below(bucket.base("of-a-role", region="us-east-1"), "x"))
        assert web.methods() == asked
