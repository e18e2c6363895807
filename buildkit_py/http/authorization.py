"""Logins that people give with a variable of the environment or in a URL, as `Authorization` headers."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import unquote, urlsplit

from buildkit_py.errors import RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_BLANK = " \t\r\n"


def token(env: Mapping[str, str], name: str) -> str:
    """The token in a variable, "" for none; blanks around it, as the line feed of a file, are no part of one.

    Raises `RegistryError`, which names the variable, for what is none: the value is shown nowhere.
    """
    found = env.get(name, "").strip(_BLANK)
    if not found.isascii() or not found.isprintable():
        raise RegistryError(f"what is in `{name}` is no token: that is one line of plain ASCII")
    return found


def basic(url: str) -> str:
    """The header's value for the user and password of a URL (RFC 7617), "" where it has none or cannot be read."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + b64encode(pair.encode("utf-8", "surrogateescape")).decode()
