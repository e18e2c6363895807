"""Buckets: objects of S3 and of servers that speak as it does, asked for by signed URLs.

An object is named `s3://BUCKET/KEY`, with what the environment does not say
as a query: `region`, `endpoint`, `virtual`. A request to it goes to the http
URL that obstore signs (AWS Signature Version 4, in the query). So transfers
are those of every other server: streamed, resumed, through the same proxies.

Keys come from where obstore finds them: `AWS_ACCESS_KEY_ID` and its like, a
web identity, the machine's own role. They never stand in such a name.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, unquote, urlencode

from buildkit_py.errors import RegistryError, UsageError
from buildkit_py.http.address import shown_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal, TypeAlias

    from obstore.store import S3Store

    Method: TypeAlias = Literal["GET", "HEAD", "PUT"]

SCHEME = "s3://"
INSTALL = "install pybuild with its extra `s3`: pip install 'buildkit-py[s3]'"
_SIGNED_FOR = 3600
# The role of a machine is asked of an address in its own network, which is not there elsewhere.
_ROLE_SECONDS = 5
# By bucket and query. One that was made has its keys, and fetches new ones when they end.
_stores: dict[tuple[str, str], S3Store] = {}


def base(bucket: str, prefix: str = "", *, region: str = "", endpoint: str = "", virtual: bool = False) -> str:
    """The name below which a bucket's objects with this prefix are.

    `endpoint` is the URL of a server that is not AWS's. `virtual`: the bucket is part of the host's name.
    """
    known = {"region": region, "endpoint": endpoint, "virtual": "true" if virtual else ""}
    query = urlencode({key: value for key, value in known.items() if value})
    path = quote("/".join(filter(None, (bucket, prefix.strip("/")))))
    return f"{SCHEME}{path}" + (f"?{query}" if query else "")


def require() -> None:
    """Raises `UsageError` where obstore is not installed."""
    from importlib.util import find_spec

    if find_spec("obstore") is None:
        raise UsageError("a cache of type s3 needs the package obstore", hint=INSTALL)


def below(url: str, path: str) -> str:
    """The name or URL of what lies at a path below another one."""
    place, mark, query = url.partition("?")
    return f"{place}/{path}{mark}{query}"


def signed(method: Method, url: str) -> str:
    """Where a request goes: the signed URL of an object, valid for an hour; another URL as it is.

    Raises `UsageError` where obstore is not installed, `RegistryError` where there are no keys to sign with.
    """
    if not url.startswith(SCHEME):
        return url
    require()
    from datetime import timedelta

    import obstore
    from obstore.exceptions import BaseError

    place, _, query = url.removeprefix(SCHEME).partition("?")
    bucket, _, key = place.partition("/")
    try:
        if (bucket, query) not in _stores:
            _stores[bucket, query] = _store(unquote(bucket), dict(parse_qsl(query)))
        return str(obstore.sign(_stores[bucket, query], method, unquote(key), timedelta(seconds=_SIGNED_FOR)))
    except (BaseError, ValueError) as problem:
        # The first line is for people, what follows shows obstore's own insides.
        raise RegistryError(
            f"requests to the bucket cannot be signed: {str(problem).partition(chr(10))[0]}",
            at=shown_url(url),
            hint="set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
        ) from problem


def _store(bucket: str, given: Mapping[str, str]) -> S3Store:
    from datetime import timedelta

    from obstore.store import S3Store

    options: dict[str, Any] = {name: given[name] for name in ("region", "endpoint") if name in given}
    if "virtual" in given:
        options["virtual_hosted_style_request"] = True
        if "endpoint" in given:  # obstore takes it for the bucket's own then
            scheme, separator, host = given["endpoint"].partition("://")
            options["endpoint"] = f"{scheme}{separator}{bucket}.{host}"
    patience = timedelta(seconds=_ROLE_SECONDS)
    return S3Store(
        bucket,
        retry_config={"max_retries": 1, "retry_timeout": patience},
        client_options={"allow_http": True, "connect_timeout": patience, "timeout": patience},
        **options,
    )
