"""Our rule about files that hold secrets and get into an image."""

from __future__ import annotations

import os
import posixpath

from buildkit_py.frontend.buildfile.checks.paths import local_sources
from buildkit_py.frontend.buildfile.checks.rule import Finding
from buildkit_py.frontend.buildfile.expand import expand
from buildkit_py.frontend.buildfile.syntax import Transfer
from buildkit_py.patterns import IgnoreRules, match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.frontend.buildfile.checks.subject import Subject

_NAMES = (
    *(".env", ".env.*", ".netrc", ".npmrc", ".pypirc", ".git-credentials", ".htpasswd", ".vault-token"),
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore"),
    *("kubeconfig", "credentials.json", "service-account*.json"),
)
# Templates of such files, which hold no secrets, and the public halves of keys.
_HARMLESS = ("*.example", "*.sample", "*.template", "*.dist", "*.pub", "*.test")
# How much of a context is looked through for one COPY.
_MOST = 10_000


def secret_copied(subject: Subject) -> Iterator[Finding]:
    """A COPY or ADD of a file whose name says that it holds a secret, by itself or in a directory."""
    rules = IgnoreRules(subject.facts.ignore)
    for applied in subject.facts.applied:
        scope = dict(applied.before.env)
        flags = applied.node.flags if isinstance(applied.node, Transfer) else ()
        left_out = [flag.value or "" for flag in flags if flag.name == "exclude"]
        exclude = IgnoreRules(tuple([expand(text, scope.get, escape=subject.tree.escape) for text in left_out]))
        for word, source in local_sources(applied, subject.tree.escape):
            path = posixpath.normpath("/" + source).lstrip("/")
            if is_secret(path):
                found = "" if exclude.ignored(posixpath.basename(path)) else path
            else:
                found = _below(subject, rules, path, exclude)
            if found:
                verb = "adds" if applied.node.keyword == "ADD" else "copies"
                message = f"this {verb} `{found}`, which is likely to hold a secret, into the image"
                at = applied.line_of.position if applied.trigger else word.position
                yield Finding(applied.line_of, message, at, width=len(word.text))
                break


def is_secret(path: str) -> bool:
    """Whether a file's name is one of those that hold secrets."""
    name = path.rpartition("/")[2]
    return any(match(pattern, name) for pattern in _NAMES) and not any(match(pattern, name) for pattern in _HARMLESS)


def _below(subject: Subject, rules: IgnoreRules, path: str, exclude: IgnoreRules) -> str:
    """The first such file below a directory of the context that is copied, "" for none.

    `rules` are those of the context, `exclude` are of the instruction, for paths below the directory.
    """
    top = subject.facts.context
    if top:
        subject.facts.impure = "a check looked through the context"
    seen = 0
    for directory, names, files in os.walk(os.path.join(top, path)) if top else ():
        inside = os.path.relpath(directory, top)
        prefix = "" if inside == "." else inside + "/"
        names[:] = sorted(name for name in names if not rules.ignored(prefix + name))
        for name in sorted(files):
            seen += 1
            below = os.path.relpath(prefix + name, path or ".")
            if is_secret(name) and not rules.ignored(prefix + name) and not exclude.ignored(below):
                return prefix + name
        if seen > _MOST:
            break
    return ""
