"""URLs of servers as they go over the wire: taken from who writes them and from headers, joined, compared and shown.

What goes out is printable ASCII. A path and a query may come with other
characters, which are percent-encoded (RFC 3987, section 3.1); a host's name is
one that can be looked up, or nobody is asked.
"""

from __future__ import annotations

from urllib.parse import SplitResult, quote, urldefrag, urljoin, urlsplit

from buildkit_py.errors import RegistryError
from buildkit_py.record import Record

_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
_LONGEST_LABEL = 63


class Origin(Record):
    """Where a request goes: what must stay equal for a credential to travel along."""

    scheme: str
    host: str
    port: int


def origin_of(url: str) -> Origin:
    """The origin of a URL. Raises `RegistryError` for a scheme other than http and https, or no host."""
    try:
        parts = urlsplit(written(url))
        port = parts.port
    except ValueError as problem:
        raise _unreadable(url) from problem
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RegistryError("only http and https addresses are followed", at=shown(url))
    if not _is_name(parts.hostname):
        raise _nameless(parts.hostname, url)
    return Origin(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80))


def join(url: str, target: str) -> str:
    """The URL that a header of the answer from `url` means, whose text has a character for each byte (`http.client`).

    Bytes that are no ASCII are sent back as they came, percent-encoded, as Go's `net/http` does. Raises
    `RegistryError` where it cannot be read. It has no fragment, behind which nothing that is added would be sent.
    """
    try:
        found = urljoin(url, target.encode("latin-1").decode("utf-8", "surrogateescape"))
        return written(urldefrag(found).url)
    except ValueError as problem:
        raise _unreadable(url) from problem


def written(url: str) -> str:
    """A URL in printable ASCII. Raises `RegistryError` where it cannot be read, or its host has no such name."""
    if url.isascii() and url.isprintable() and " " not in url:
        return url
    try:
        parts = urlsplit(url)
        user, at, place = parts.netloc.rpartition("@")
        user, *rest = (quote(part, safe=_VISIBLE, errors="surrogateescape") for part in (user, *parts[2:]))
    except ValueError as problem:
        raise _unreadable(url) from problem
    name, colon, port = (place, "", "") if place.isascii() else place.partition(":")
    try:
        place = (name if name.isascii() else name.encode("idna").decode()) + colon + port.encode("ascii").decode()
    except UnicodeError as problem:
        raise _nameless(name, url) from problem
    return SplitResult(parts.scheme, user + at + place, *rest).geturl()


def shown(url: str) -> str:
    """A URL without user, password and query: those carry credentials and signatures."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an unreadable URL"
    return SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "").geturl()


def _is_name(host: str) -> bool:
    """Whether a host's name is one for the codec that sockets and TLS put it through."""
    *labels, last = host.split(".")
    is_text = host.isascii() and host.isprintable() and " " not in host
    return is_text and all(0 < len(label) <= _LONGEST_LABEL for label in labels) and len(last) <= _LONGEST_LABEL


def _nameless(host: str, url: str) -> RegistryError:
    return RegistryError(f"`{_clean(host)[:100]}` is no name of a host", at=_clean(shown(url)))


def _unreadable(url: str) -> RegistryError:
    return RegistryError("the server named an address that cannot be read", at=_clean(shown(url)))


def _clean(text: str) -> str:
    """A text that can be written anywhere: bytes that are no UTF-8 (PEP 383) are written out."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\\udc", "\\x")
