"""Commits of git repositories: what a ref is now, and a commit's files.

The rules are BuildKit's (`source/git`): a ref is a branch before it is a tag,
files have the modes of a checkout under umask 022 and belong to root,
submodules come along, and `.git` is left out unless it is to be kept. A
commit is fetched alone, without its history; from a server that gives out
none by its id, the ref that led to it is fetched, or everything.

Files have the time of their commit, where BuildKit gives them that of the
checkout, so that a commit always makes the same layer.
"""

from __future__ import annotations

import os

from buildkit_py.errors import DigestMismatch, SourceError
from buildkit_py.http.address import shown_url
from buildkit_py.image.entry import DIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.executor.git_command import Git
    from buildkit_py.graph.op import GitSource
    from buildkit_py.image.entry import Entry

_NANO = 1_000_000_000
_HEADS, _TAGS = "refs/heads/", "refs/tags/"


def resolve(git: Git, op: GitSource, cwd: str) -> GitSource:
    """The source with the commit that its ref is now, and the ref in full. Raises `SourceError`, `DigestMismatch`."""
    at = shown_url(op.url)
    patterns = (op.ref, f"{op.ref}^{{}}") if op.ref else ("HEAD",)
    answer = git.run("ls-remote", "origin", *patterns, cwd=cwd, at=at, doing="ask for the refs")
    refs = {name: id for id, _, name in (line.partition("\t") for line in answer.splitlines())}
    full = _full_name(op.ref, refs)
    if not full:
        raise SourceError(
            f"the repository has no branch and no tag `{op.ref}`" if op.ref else "the repository has no default branch",
            at=at,
            hint="a commit is named by its whole id" if op.ref else "name a branch: #BRANCH behind the address",
        )
    commit = refs.get(f"{full}^{{}}", refs[full])  # of an annotated tag the commit that it is on
    if not commit.startswith(op.checksum):
        raise DigestMismatch(f"`{op.ref or 'HEAD'}` is {commit}, and not {op.checksum}", at=at)
    return op.replace(commit=commit, ref=full if op.ref else "")


def checkout(git: Git, op: GitSource, directory: str) -> list[Entry]:
    """The files of a commit, checked out below the empty `directory`. Raises `SourceError`, `DigestMismatch`."""
    at = shown_url(op.url)

    def run(*arguments: str, doing: str = "check the commit out") -> str:
        return git.run(*arguments, cwd=directory, at=at, doing=doing)

    format = "sha256" if len(op.commit) == 64 else "sha1"
    run("init", "-q", f"--object-format={format}")
    _fetch(git, op, directory, run)
    run("checkout", "-q", "--detach", "--force", op.commit)
    if op.submodules and os.path.lexists(f"{directory}/.gitmodules"):
        run("submodule", "-q", "update", "--init", "--recursive", "--depth=1", doing="fetch the submodules")
    seconds = int(run("log", "-1", "--format=%ct", op.commit).strip() or "0")
    if op.keep_git_dir:
        _tidy(run, op, directory)
    else:
        from buildkit_py.store.remove import remove_tree

        remove_tree(f"{directory}/.git")
    return _entries(op, directory, max(0, seconds) * _NANO)


def _full_name(ref: str, refs: dict[str, str]) -> str:
    """What git would take a ref for: a full name, a branch, then a tag; "" for none of them."""
    if not ref:
        return "HEAD" if "HEAD" in refs else ""
    partial = ref if ref.startswith("refs/") else f"refs/{ref}"
    for name in (partial, _HEADS + ref.removeprefix(_HEADS), _TAGS + ref.removeprefix(_TAGS)):
        if name in refs:
            return name
    return ""


def _fetch(git: Git, op: GitSource, directory: str, run: Callable[..., str]) -> None:
    """Get the commit, by its id if the server allows that, else by its ref, else with everything there is."""
    named = op.ref if op.ref.startswith("refs/") else ""
    kept = (f"+{named}:{named}",) if named and op.keep_git_dir else ()
    by_id = ("fetch", "-q", "--depth=1", "--no-tags", "origin", *kept, op.commit)
    if git.try_(*by_id, cwd=directory)[0] == 0:
        return
    if op.ref:
        git.try_("fetch", "-q", "--depth=1", "--no-tags", "origin", *(kept or (op.ref,)), cwd=directory)
    if not _has(git, op.commit, directory):
        everything = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
        unshallow = ("--unshallow",) if os.path.exists(f"{directory}/.git/shallow") else ()
        run("fetch", "-q", *unshallow, "origin", *everything, doing="fetch the repository")
    if not _has(git, op.commit, directory):
        raise SourceError(
            f"the repository has no commit {op.commit}", at=shown_url(op.url), hint="it may have been removed by a push"
        )


def _has(git: Git, commit: str, directory: str) -> bool:
    return git.try_("cat-file", "-e", f"{commit}^{{commit}}", cwd=directory)[0] == 0


def _tidy(run: Callable[..., str], op: GitSource, directory: str) -> None:
    """Leave no credentials and no traces of the fetch in a `.git` that is kept."""
    run("config", "remote.origin.url", shown_url(op.url))
    run("config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")
    run("reflog", "expire", "--all", "--expire=now")
    for name in ("FETCH_HEAD", "ORIG_HEAD"):
        if os.path.lexists(f"{directory}/.git/{name}"):
            os.unlink(f"{directory}/.git/{name}")


def _entries(op: GitSource, directory: str, mtime: int) -> list[Entry]:
    from buildkit_py.executor.context_tree import ContextTree

    for path, directories, names in os.walk(directory):
        for name in (*directories, *names):
            os.utime(f"{path}/{name}", ns=(mtime, mtime), follow_symlinks=False)
    tree = ContextTree(directory)
    root = tree.lookup(op.subdir)
    if root is None or root.kind != DIR:
        raise SourceError(f"the commit has no directory `{op.subdir.lstrip('/')}`", at=shown_url(op.url))
    return tree.walk(op.subdir)
