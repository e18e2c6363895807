"""Rules about variables: those that are not set, defaults that lead nowhere, names of secrets."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError, UsageError
from buildkit_py.frontend.buildfile.checks.rule import Finding
from buildkit_py.frontend.buildfile.checks.subject import quoted
from buildkit_py.frontend.buildfile.expand import expand
from buildkit_py.frontend.buildfile.syntax import Arg, Env

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildkit_py.frontend.buildfile.checks.subject import Subject

# BuildKit never makes these variables of the environment, so it does not miss them either.
_NO_VARIABLES = frozenset(("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"))
_SECRET_WORDS = frozenset(
    ("apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token")
)
_HARMLESS_WORDS = frozenset(("public", "file", "version"))
# More edits than this and a name is not what was meant.
_FAR = 3


def undefined_var(subject: Subject) -> Iterator[Finding]:
    """`$NAME` of a variable that neither ENV nor ARG nor the base image set; `${NAME:-word}` is none the less told."""
    facts = subject.facts
    for unset in facts.unset:
        if unset.name in _NO_VARIABLES or not facts.knows(unset.applied.stage):
            continue
        meant = suggestion(unset.name, unset.known)
        message = f"Usage of undefined variable '${unset.name}'" + (f" (did you mean ${meant}?)" if meant else "")
        yield Finding(unset.applied.line_of, message, unset.at)


def undefined_arg_in_from(subject: Subject) -> Iterator[Finding]:
    """A variable in FROM that no ARG above the first FROM declares."""
    facts = subject.facts
    declared = (*facts.globals, *(pair.key for node in _global_args(subject) for pair in node.pairs))
    for base in facts.bases:
        head = base.head
        words = [(base.image, head.image.position), *((base.platform, flag.position) for flag in head.flags)]
        for expansion, at in words:
            for name in expansion.unset if expansion is not None else ():
                if name in declared:
                    continue
                meant = suggestion(name, declared)
                message = f"FROM argument '{name}' is not declared" + (f" (did you mean {meant}?)" if meant else "")
                yield Finding(head, message, at)


def invalid_default_arg_in_from(subject: Subject) -> Iterator[Finding]:
    """A FROM that is no image's name while only the defaults count, without any build arg."""
    from buildkit_py.image.reference import parse

    facts = subject.facts
    if facts.defaults is None:
        return
    for head in subject.heads:
        try:
            image = expand(head.image.text, facts.defaults.get, escape=subject.tree.escape)
        except BuildfileError:
            return  # the build ends there as well
        if "://" in image or image.startswith(("./", "../")):
            continue  # not a registry's
        try:
            parse(image)
        except UsageError:
            message = f"Default value for ARG {head.image.text} results in empty or invalid base image name"
            yield Finding(head, message, head.image.position, width=len(head.image.text))


def secrets_used_in_arg_or_env(subject: Subject) -> Iterator[Finding]:
    """An ARG or ENV whose name has a word such as `token` in it: anyone who has the image can read it."""
    for applied in subject.facts.applied:
        node = applied.node
        if not isinstance(node, Arg | Env):
            continue
        scope = dict(applied.before.env)
        for pair in node.pairs:
            key = expand(pair.key, scope.get, escape=subject.tree.escape) if isinstance(node, Env) else pair.key
            words = set(key.lower().split("_"))
            if words & _SECRET_WORDS and not words & _HARMLESS_WORDS:
                message = f"Do not use ARG or ENV instructions for sensitive data ({node.keyword} {quoted(key)})"
                at = applied.line_of.position if applied.trigger else pair.position
                yield Finding(applied.line_of, message, at, width=len(pair.key))


def suggestion(name: str, known: Iterable[str]) -> str:
    """What BuildKit takes a name to be meant for: the first of the known ones with the fewest edits, at most two."""
    best, found = _FAR, ""
    for candidate in known:
        if abs(len(candidate) - len(name)) < best and (far := _edits(name, candidate)) < best:
            best, found = far, candidate
    return found


def _edits(one: str, other: str) -> int:
    """Levenshtein's distance, in which a swap counts two."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row = row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b)))
    return row[-1]


def _global_args(subject: Subject) -> list[Arg]:
    # Not from the table of stages, which there is not where a FROM comes to nothing.
    first = subject.heads[0].position.line if subject.heads else 0
    return [node for node in subject.nodes if isinstance(node, Arg) and node.position.line < first]
