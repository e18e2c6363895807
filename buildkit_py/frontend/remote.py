"""Sources that are addresses: what ADD, contexts and both doors mean by a URL.

Nothing is asked for here: the solver asks the server when it needs to know.
"""

from __future__ import annotations

from buildkit_py.digest import is_sha256
from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.git_url import git_source, parse_git
from buildkit_py.graph.op import GitSource, HttpSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.source_map import Position

WEB = ("http://", "https://")
# The name of a file whose URL has none (BuildKit's, which people see in their images).
_UNNAMED = "__unnamed__"
_LONGEST = 255


def remote_source(
    text: str,
    *,
    checksum: str = "",
    keep_git_dir: bool | None = None,
    name: str = "",
    short: bool = False,
    at: Position | None = None,
) -> HttpSource | GitSource | None:
    """The op that an address stands for; None where the text is none.

    `name` is what the file of a URL is called instead of as its URL has it;
    `short` lets `github.com/owner/name` be an address. Raises
    `BuildfileError` for an address or a checksum that cannot be used.
    """
    try:
        address = parse_git(text, short=short)
        if address is not None:
            return git_source(address, keep_git_dir=keep_git_dir, checksum=checksum)
        if not text.startswith(WEB):
            return None
        if checksum and not is_sha256(checksum):
            raise ValueError(f"`{checksum}` is no checksum of a file: it is `sha256:` and 64 lower-case hex digits")
        path = _path(text)
        return HttpSource(text.partition("#")[0], name or _file_name(text, path), checksum)
    except ValueError as problem:
        raise BuildfileError(str(problem), at=at) from problem


def _path(url: str) -> str:
    """The path of a URL that a server can be asked for. Raises `ValueError` for any other."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 — reading it is the check
    except ValueError as problem:
        raise ValueError(f"`{url}` is no URL: {problem}") from problem
    if not parts.hostname:
        raise ValueError(f"`{url}` names no host")
    return parts.path


def _file_name(url: str, path: str) -> str:
    """What the file of a URL is called: the last part of its path. Raises `ValueError`."""
    from urllib.parse import unquote

    name = unquote(path, errors="surrogateescape").rstrip("/").rpartition("/")[2]
    if name in (".", "..") or "\0" in name or len(name.encode("utf-8", "surrogateescape")) > _LONGEST:
        raise ValueError(f"`{url}` ends in what is no name of a file")
    return name or _UNNAMED
