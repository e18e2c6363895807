"""Addresses as people are shown them."""

from __future__ import annotations


def shown_url(url: str) -> str:
    """A URL without a password and without a query, which may carry a signature; other texts as they are."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    place, slash, path = rest.partition("?")[0].partition("/")
    user, at, host = place.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}{at}{host}{slash}{path}"
