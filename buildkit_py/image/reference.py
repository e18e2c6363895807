"""The name of an image: registry, repository, tag and digest, written short or in full.

The grammar and the short forms are those of the distribution project's
`reference` package, so that `debian`, `localhost:5000/app` and
`team/app:1.2@sha256:…` mean here what they mean to docker.
"""

from __future__ import annotations

from buildkit_py.digest import is_sha256
from buildkit_py.errors import UsageError
from buildkit_py.record import Record

DEFAULT_REGISTRY = "docker.io"
OFFICIAL = "library"
MAX_NAME = 255

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_ALNUM = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_TAG_REST = _ALNUM | frozenset("_.-")
_SEPARATORS = frozenset("._-")


class Reference(Record):
    """A whole name. `tag` is "" only where a digest is given."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tail = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tail}@{self.digest}" if self.digest else f"{self.name}{tail}"

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def identifier(self) -> str:
        """What a registry is asked for: the digest, else the tag."""
        return self.digest or self.tag

    @property
    def short_name(self) -> str:
        """Registry and repository without docker's defaults, unless that would be the name of another."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        official, slash, rest = self.repository.partition("/")
        short = rest if official == OFFICIAL and slash and "/" not in rest else self.repository
        return short if _split_registry(short) == (self.registry, self.repository) else self.name

    @property
    def familiar(self) -> str:
        """The shortest form that a person would write for it."""
        name = self.short_name
        tail = f":{self.tag}" if self.tag and (self.tag != "latest" or self.digest) else ""
        return f"{name}{tail}@{self.digest}" if self.digest else f"{name}{tail}"


def parse(text: str) -> Reference:
    """The reference that a text stands for, with docker's defaults filled in.

    Raises `UsageError` naming the part that is wrong.
    """
    rest, at, digest = text.partition("@")
    if at and not is_sha256(digest):
        raise _wrong(text, f"`{digest}` is not `sha256:` and 64 lower-case hex digits")
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _is_tag(tag):
        raise _wrong(text, f"`{tag}` is not a tag (at most 128 letters, digits, `_`, `.`, `-`)")
    registry, repository = _split_registry(head + slash + last)
    if not repository:
        raise _wrong(text, "the repository is missing")
    if not _is_host(registry):
        raise _wrong(text, f"`{registry}` is not a registry's host name")
    for part in repository.split("/"):
        if not _is_component(part):
            if part.lower() != part and _is_component(part.lower()):
                raise _wrong(text, "a repository has lower-case letters only", f"write `{text.lower()}`")
            raise _wrong(text, f"`{part}` is not a valid part of a repository's name")
    if len(registry) + 1 + len(repository) > MAX_NAME:
        raise _wrong(text, f"it is longer than {MAX_NAME} characters")
    if not slash and not colon and not at and len(last) == 64 and is_sha256("sha256:" + last):
        raise _wrong(text, "64 hex digits are an image id and no name")
    return Reference(registry, repository, tag if colon else ("" if digest else "latest"), digest)


def familiar(text: str) -> str:
    """The shortest form of a name; what is none (the address of a layout) as it stands."""
    try:
        return parse(text).familiar
    except UsageError:
        return text


def _wrong(text: str, why: str, hint: str = "") -> UsageError:
    return UsageError(f"`{text}` is not an image name: {why}", hint=hint)


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    # A first part is a host where it could be no part of a repository: it has a dot, a port, or capitals.
    if not slash or not ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        first, rest = DEFAULT_REGISTRY, name
    if first == "index.docker.io":
        first = DEFAULT_REGISTRY
    if first == DEFAULT_REGISTRY and rest and "/" not in rest:
        rest = f"{OFFICIAL}/{rest}"
    return first, rest


def _is_host(text: str) -> bool:
    host, colon, port = text, "", ""
    if text.startswith("["):
        inner, closed, tail = text[1:].partition("]")
        if not closed or not inner or not frozenset("0123456789abcdefABCDEF:").issuperset(inner):
            return False
        if not tail:
            return True
        colon, port, host = tail[:1], tail[1:], "v6"
        if colon != ":":
            return False
    elif ":" in text:
        host, colon, port = text.partition(":")
    if colon and not (port.isascii() and port.isdigit() and len(port) <= 5):
        return False
    return all(
        part and _ALNUM.issuperset(part.replace("-", "")) and part[0] != "-" and part[-1] != "-"
        for part in host.split(".")
    )


def _is_component(text: str) -> bool:
    """`[a-z0-9]+` joined by `.`, `_`, `__` or any number of `-`."""
    run = ""
    if not text or text[0] in _SEPARATORS or text[-1] in _SEPARATORS:
        return False
    for letter in text:
        if letter in _SEPARATORS:
            run += letter
        elif letter in _LOWER:
            if run and run not in (".", "_", "__") and run.strip("-"):
                return False
            run = ""
        else:
            return False
    return True


def _is_tag(text: str) -> bool:
    return 0 < len(text) <= 128 and _TAG_REST.issuperset(text) and text[0] not in ".-"
