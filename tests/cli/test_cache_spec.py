"""The values of `--cache-from` and `--cache-to`."""

from __future__ import annotations

import sys

import pytest

from buildkit_py.api.request import CacheSpec
from buildkit_py.cli.cache_spec import cache_spec
from buildkit_py.errors import UsageError

FROM, TO = "--cache-from", "--cache-to"
S3 = "type=s3,bucket=b"


@pytest.mark.parametrize(
    ("text", "option", "spec"),
    [
        ("host/app:cache", FROM, CacheSpec("registry", "host/app:cache")),
        ("ref=host/app:cache", FROM, CacheSpec("registry", "host/app:cache")),
        ("type=local,src=cache,name=x", FROM, CacheSpec("local", "/here/cache", "x")),
        ("type=local,dest=/c,mode=min,mounts=true", TO, CacheSpec("local", "/c", "main", "min", True)),
        ("type=http,url=https://host/c/", TO, CacheSpec("http", "https://host/c")),
        (S3, TO, CacheSpec("s3", "s3://b?virtual=true")),
        (f"{S3},prefix=/p/q/,region=eu,name=n", FROM, CacheSpec("s3", "s3://b/p/q?region=eu&virtual=true", "n")),
        (f"{S3},endpoint_url=http://h:1/", FROM, CacheSpec("s3", "s3://b?endpoint=http%3A%2F%2Fh%3A1")),
        ("type=gha", FROM, CacheSpec("gha", "gha://main")),
        ("type=gha,scope=app,mode=min", TO, CacheSpec("gha", "gha://app", "app", "min")),
        (f"{S3},use_path_style=true", FROM, CacheSpec("s3", "s3://b")),
    ],
)
def test_what_they_mean(text: str, option: str, spec: CacheSpec) -> None:
    assert cache_spec(text, option, "/here") == spec


@pytest.mark.parametrize(
    ("text", "option", "message"),
    [
        ("type=azblob,name=x", FROM, "has the type `azblob`"),
        ("type=local,dest=/c", FROM, "has no `src`"),
        ("type=local,src=/c", TO, "has no `dest`"),
        ("type=local,src=/c,mode=max", FROM, "takes no `mode`"),
        ("type=local,dest=/c,mode=most", TO, "has the mode `most`"),
        ("type=http,url=host/c", FROM, "is no URL"),
        ("type=http,url=http://me:s3cret@host/c#x", TO, "^the URL of `--cache-to` has a `#`$"),
        ("type=http,url=http:///c", FROM, "^the URL of `--cache-from` names no host$"),
        ("type=http,url=http://me:s3cret@/c", TO, "^the URL of `--cache-to` names no host$"),
        ("type=http,url=http://?x", TO, "^the URL of `--cache-to` names no host$"),
        ("type=s3,region=eu", FROM, "has no `bucket`"),
        ("type=s3,bucket=b/c", FROM, "is no name of a bucket"),
        ("type=gha,scope=a/b", FROM, "is no name"),
        ("type=gha,name=a", FROM, "takes no `name`"),
        (f"{S3},endpoint_url=host", FROM, "is no URL"),
        (f"{S3},use_path_style=yes", FROM, "`use_path_style` is"),
        ("type=local,src=/c,region=eu", FROM, "takes no `region`"),
        ("type=registry,ref=app@sha256:" + "0" * 64, FROM, "names a digest"),
    ],
)
def test_what_is_wrong_is_said(text: str, option: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        cache_spec(text, option, "/here")


def test_a_bucket_without_obstore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match="needs the package obstore") as caught:
        cache_spec(S3, FROM, "/here")
    assert "pip install 'buildkit-py[s3]'" in caught.value.hint


def test_keys_do_not_stand_in_it_and_are_not_repeated() -> None:
    with pytest.raises(UsageError, match="`secret_access_key`") as caught:
        cache_spec(f"{S3},secret_access_key=s3cret", TO, "/here")
    assert "s3cret" not in str(caught.value)
    assert "AWS_SECRET_ACCESS_KEY" in caught.value.hint
