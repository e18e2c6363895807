"""Addresses of git repositories: which texts are one, and what ref, directory and options they carry.

BuildKit's rules (`dfgitutil`, `gitutil`): `git@host:path`, `ssh://` and
`git://` always are, `http(s)://` only where the path ends in `.git`. Behind
it stand `#ref:subdir`, or a query of which every key is known:
`?ref=…&subdir=…`.

A part of an address reaches git's command line, so one that git could take
for an option, or that holds a space or a control character, is refused here.
"""

from __future__ import annotations

from buildkit_py.graph.op import GitSource
from buildkit_py.record import Record

SCHEMES = ("http", "https", "ssh", "git")
_SHORT = "github.com/"
_KEYS = (
    "ref",
    "tag",
    "branch",
    "subdir",
    "checksum",
    "commit",
    "keep-git-dir",
    "submodules",
    "mtime",
    "fetch-by-commit",
)
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")
_HEX = frozenset("0123456789abcdef")
_MOST = 4096


class GitAddress(Record):
    """`url` is what git is given. `keep_git_dir` and `submodules` are None where the address does not say."""

    url: str
    ref: str = ""
    subdir: str = "/"
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool | None = None


def parse_git(text: str, *, short: bool = False) -> GitAddress | None:
    """The address in a text, None where it is none. `short`: `github.com/owner/name` is one, too.

    Raises `ValueError` for an address of git that cannot be used.
    """
    if short and text.startswith(_SHORT):
        text = "https://" + text
    elif not _is_git(text):
        return None
    if len(text) > _MOST or any(ch.isspace() or not ch.isprintable() for ch in text):
        raise ValueError("an address of git has no spaces, no control characters and no more than 4096 letters")
    rest, _, fragment = text.partition("#")
    rest, _, query = rest.partition("?")
    address = _with_query(_with_fragment(GitAddress(rest), fragment), query)
    _refuse_options(address)
    return address


def git_source(address: GitAddress, *, keep_git_dir: bool | None = None, checksum: str = "") -> GitSource:
    """The op for an address, with what the flags `--keep-git-dir` and `--checksum` say (None and "" for no flag).

    Raises `ValueError` where flag and address contradict each other.
    """
    if keep_git_dir is not None and address.keep_git_dir not in (None, keep_git_dir):
        raise ValueError("`--keep-git-dir` and the address say different things of the `.git` directory")
    if checksum and address.checksum not in ("", checksum):
        raise ValueError(f"`--checksum` is `{checksum}`, and the address says `{address.checksum}`")
    wanted = checksum or address.checksum
    if wanted and not (len(wanted) >= 4 and _HEX.issuperset(wanted)):
        raise ValueError(f"`{wanted}` is not the id of a commit, nor its beginning")
    ref = address.ref or wanted
    keep = bool(address.keep_git_dir if keep_git_dir is None else keep_git_dir)
    return GitSource(
        url=address.url,
        ref=ref,
        subdir=address.subdir,
        keep_git_dir=keep and address.subdir == "/",
        submodules=address.submodules is not False,
        checksum=wanted,
        commit=next((id for id in (wanted, ref) if is_commit(id)), ""),
    )


def is_commit(text: str) -> bool:
    """Whether a text is the whole id of a commit (SHA-1 or SHA-256)."""
    return len(text) in (40, 64) and _HEX.issuperset(text)


def _is_git(text: str) -> bool:
    scheme, separator, rest = text.partition("://")
    if separator and scheme.isascii() and scheme.isalnum():
        if scheme.lower() in ("ssh", "git"):
            return True
        return scheme.lower() in SCHEMES and _path(rest).endswith(".git")
    # user@host:path, as scp has it; a path of a file is none, so the user comes before any slash.
    user, at, rest = text.partition("@")
    host, colon, path = rest.partition(":")
    return bool(at and colon and path) and _is_name(user) and _is_name(host)


def _path(rest: str) -> str:
    return rest.partition("#")[0].partition("?")[0].partition("/")[2]


def _is_name(text: str) -> bool:
    return bool(text) and text.isascii() and all(ch.isalnum() or ch in "-_." for ch in text)


def _with_fragment(address: GitAddress, fragment: str) -> GitAddress:
    if not fragment:
        return address
    ref, _, subdir = fragment.partition(":")
    return address.replace(ref=ref, subdir=_clean(subdir))


def _with_query(address: GitAddress, query: str) -> GitAddress:
    if not query:
        return address
    from urllib.parse import parse_qsl

    given: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _KEYS:
            raise ValueError(f"an address of git knows no `{key}`, it knows {', '.join(_KEYS)}")
        if key in given:
            raise ValueError(f"`{key}` is given twice in the address")
        if not value and key not in ("submodules", "keep-git-dir"):
            raise ValueError(f"`{key}` has no value in the address")
        given[key] = value
    refs = [given[key] for key in ("ref",) if key in given]
    refs += [_prefixed("refs/tags/", given["tag"])] if "tag" in given else []
    refs += [_prefixed("refs/heads/", given["branch"])] if "branch" in given else []
    refs += [address.ref] if address.ref else []
    if len(set(refs)) > 1:
        raise ValueError(f"the address names two refs, `{refs[0]}` and `{refs[1]}`")
    subdir = _clean(given["subdir"]) if "subdir" in given else address.subdir
    if address.subdir not in ("/", subdir):
        raise ValueError(f"the address names two directories, `{address.subdir}` and `{subdir}`")
    if given.get("mtime", "commit") not in ("commit", "checkout"):
        raise ValueError(f"`mtime` is `commit` or `checkout`, not `{given['mtime']}`")
    _flag(given, "fetch-by-commit")
    checksums = {given[key] for key in ("checksum", "commit") if key in given}
    if len(checksums) > 1:
        raise ValueError("the address names two commits")
    return address.replace(
        ref=refs[0] if refs else "",
        subdir=subdir,
        checksum=next(iter(checksums), ""),
        keep_git_dir=_flag(given, "keep-git-dir"),
        submodules=_flag(given, "submodules"),
    )


def _flag(given: dict[str, str], key: str) -> bool | None:
    if key not in given:
        return None
    value = given[key]
    if value in ("", *_TRUE):
        return True
    if value in _FALSE:
        return False
    raise ValueError(f"`{key}` is true or false, not `{value}`")


def _prefixed(prefix: str, name: str) -> str:
    return name if name.startswith(prefix) else prefix + name


def _clean(subdir: str) -> str:
    """The directory as an absolute path of the repository; `..` stops at its root."""
    parts: list[str] = []
    for part in subdir.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def _refuse_options(address: GitAddress) -> None:
    """Refuse what git, or the ssh that it starts, could take for an option. Raises `ValueError`."""
    scheme, separator, rest = address.url.partition("://")
    place = rest.partition("/")[0] if separator else scheme.partition(":")[0]
    user, at, host = place.rpartition("@")
    for what, part in (("ref", address.ref), ("user", user if at else ""), ("host", host)):
        if part.startswith("-"):
            raise ValueError(f"the {what} of an address of git does not begin with `-`")
    if not host.rpartition(":")[0] and not host:
        raise ValueError("the address names no host")
    if any(ch in address.ref for ch in "~^:?*[\\") or ".." in address.ref or "@{" in address.ref:
        raise ValueError(f"`{address.ref}` is no name of a branch, a tag or a commit")
