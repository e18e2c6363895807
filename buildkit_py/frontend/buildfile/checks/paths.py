"""Rules about paths: of WORKDIR, and of what COPY and ADD take from the context."""

from __future__ import annotations

import posixpath

from buildkit_py.frontend.buildfile.checks.rule import Finding
from buildkit_py.frontend.buildfile.checks.subject import quoted
from buildkit_py.frontend.buildfile.expand import expand
from buildkit_py.frontend.buildfile.syntax import Transfer, Workdir
from buildkit_py.patterns import IgnoreRules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.frontend.buildfile.checks.subject import Subject
    from buildkit_py.frontend.buildfile.facts import Applied
    from buildkit_py.frontend.buildfile.syntax import Word

_REMOTE = ("http://", "https://", "git@", "git://", "ssh://")


def workdir_relative_path(subject: Subject) -> Iterator[Finding]:
    """A relative WORKDIR with no absolute one before it in this file: what it means, the base image decides."""
    settled: set[int] = set()
    for applied in subject.facts.applied:
        node, stage = applied.node, applied.stage
        if not isinstance(node, Workdir) or stage.index in settled:
            continue
        below = stage.base
        while below is not None and below.index not in settled:
            below = below.base
        path = expand(node.path.text, dict(applied.before.env).get, escape=subject.tree.escape)
        if below is None and not path.startswith("/"):
            message = f"Relative workdir {quoted(path)} can have unexpected results if the base image changes"
            at = applied.line_of.position if applied.trigger else node.path.position
            yield Finding(applied.line_of, message, at, width=len(node.path.text))
        settled.add(stage.index)


def copy_ignored_file(subject: Subject) -> Iterator[Finding]:
    """A source that the ignore file leaves out. Not told where the file takes anything back with `!`."""
    patterns = subject.facts.ignore
    if not patterns or any(pattern.startswith("!") for pattern in patterns):
        return
    rules = IgnoreRules(patterns)
    for applied in subject.facts.applied:
        for word, source in local_sources(applied, subject.tree.escape):
            path = posixpath.normpath(source)
            if not path.startswith("/") and rules.ignored(path):
                verb = "Add" if applied.node.keyword == "ADD" else "Copy"
                message = f"Attempting to {verb} file {quoted(path)} that is excluded by .dockerignore"
                at = applied.line_of.position if applied.trigger else word.position
                yield Finding(applied.line_of, message, at, width=len(word.text))


def local_sources(applied: Applied, escape: str) -> Iterator[tuple[Word, str]]:
    """The words of a COPY or ADD that stand for files of the build context, with what they expand to."""
    node = applied.node
    if not isinstance(node, Transfer) or any(flag.name == "from" and flag.value for flag in node.flags):
        return
    scope = dict(applied.before.env)
    for word in node.sources:
        if node.heredocs and word.text.lstrip("0123456789").startswith("<<"):
            continue
        path = expand(word.text, scope.get, escape=escape)
        if path and not path.startswith(_REMOTE) and not path.partition("#")[0].endswith(".git"):
            yield word, path
