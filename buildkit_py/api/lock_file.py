"""The lock file: `pybuild.lock` beside a Buildfile, which pins what names elsewhere stand for.

    # made by `pybuild update`
    version = 1

    [[image]]
    name = "docker.io/library/debian:trixie"
    digest = "sha256:…"

    [[git]]
    url = "https://host/repository.git"
    ref = "main"
    full_ref = "refs/heads/main"
    commit = "…"

    [[http]]
    url = "https://host/file"
    digest = "sha256:…"

TOML, sorted, so that it is reviewed and merged line by line.
"""

from __future__ import annotations

import os

from buildkit_py import json_text
from buildkit_py.digest import is_hex, is_sha256
from buildkit_py.errors import SourceError
from buildkit_py.record import Record
from buildkit_py.whole_file import read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "pybuild.lock"
VERSION = 1
_HEAD = "# What names elsewhere stand for in builds of this directory. Made by `pybuild update`; belongs into git.\n"
_HINT = "take it from git again, or make it anew with `pybuild update FILE`"
_FIELDS = {
    "image": ("name", "digest"),
    "git": ("url", "ref", "full_ref", "commit"),
    "http": ("url", "digest"),
}


class GitPin(Record):
    """A commit, and the whole name of the ref that led to it ("" for the default branch)."""

    commit: str
    full_ref: str = ""


class Lock(Record):
    """Pins by what they are asked by: `images` full names with tags to digests, `git` (URL, ref), `http` URLs."""

    images: tuple[tuple[str, str], ...] = ()
    git: tuple[tuple[tuple[str, str], GitPin], ...] = ()
    http: tuple[tuple[str, str], ...] = ()


def path_for(file: str) -> str:
    """Where the lock file of a Buildfile is or would be; "" for a Buildfile without a place."""
    return os.path.join(os.path.dirname(file), NAME) if os.path.isabs(file) else ""


def load(path: str) -> Lock | None:
    """The pins in a file; None where there is none. Raises `SourceError` for one that cannot be read as such."""
    try:
        data = read_whole(path)
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise SourceError(f"the lock file cannot be read: {problem.strerror}", at=path) from problem
    import tomllib

    try:
        table = tomllib.loads(data.decode("utf-8"))
        return _lock(table)
    except ValueError as problem:  # tomllib's and Unicode's errors are of this kind
        raise SourceError(f"the lock file is wrong: {problem}", at=path, hint=_HINT) from problem


def dump(lock: Lock) -> str:
    """The text of a lock file. Raises `ValueError` for a name that TOML cannot say."""
    blocks = [_HEAD + f"version = {VERSION}\n"]
    blocks += [_block("image", (name, digest)) for name, digest in sorted(lock.images)]
    blocks += [_block("git", (*asked, pin.full_ref, pin.commit)) for asked, pin in sorted(lock.git, key=lambda p: p[0])]
    blocks += [_block("http", pair) for pair in sorted(lock.http)]
    return "\n".join(blocks)


def _block(kind: str, values: tuple[str, ...]) -> str:
    lines = [f"{field} = {_quoted(value)}\n" for field, value in zip(_FIELDS[kind], values, strict=True) if value]
    return f"[[{kind}]]\n" + "".join(lines)


def _quoted(text: str) -> str:
    """A basic string of TOML: JSON's escapes are among its own, but for DEL and halves of surrogates."""
    quoted = json_text.dump(text).replace("\x7f", "\\u007f")
    quoted.encode("utf-8")  # raises for what no file of TOML can have
    return quoted


def _lock(table: dict[str, Any]) -> Lock:
    if table.get("version") != VERSION:
        raise ValueError(f"its version is {table.get('version')!r}, and this pybuild reads {VERSION}")
    for key in table:
        if key not in ("version", *_FIELDS):
            raise ValueError(f"`{key}` is not known")
    images = {row[0]: row[1] for row in _rows(table, "image")}
    git = {(url, ref): GitPin(commit, full) for url, ref, full, commit in _rows(table, "git")}
    http = {row[0]: row[1] for row in _rows(table, "http")}
    for digest in (*images.values(), *http.values()):
        if not is_sha256(digest):
            raise ValueError(f"`{digest[:80]}` is no digest")
    for pin in git.values():
        if not (is_hex(pin.commit) or is_hex(pin.commit, 40)):
            raise ValueError(f"`{pin.commit[:80]}` is no id of a commit")
    return Lock(tuple(images.items()), tuple(git.items()), tuple(http.items()))


def _rows(table: dict[str, Any], kind: str) -> list[tuple[str, ...]]:
    fields = _FIELDS[kind]
    rows = table.get(kind, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"`{kind}` is no list of tables")
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    for row in rows:
        for key, value in row.items():
            if key not in fields or not isinstance(value, str):
                raise ValueError(f"`{key}` of a table `{kind}` is not known, or no text")
        values = tuple(row.get(field, "") for field in fields)
        asked = values[:2] if kind == "git" else values[:1]
        if not asked[0]:
            raise ValueError(f"a table `{kind}` has no `{fields[0]}`")
        if asked in found:
            raise ValueError(f"`{asked[0]}` is pinned twice")
        found[asked] = values
    return list(found.values())
