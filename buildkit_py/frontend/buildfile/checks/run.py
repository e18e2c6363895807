"""Running rules over a Buildfile."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile.checks.settings import of_comments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildkit_py.frontend.buildfile.checks.rule import Finding, Rule
    from buildkit_py.frontend.buildfile.checks.settings import Settings
    from buildkit_py.frontend.buildfile.checks.subject import Subject


def run(subject: Subject, rules: Iterable[Rule], settings: Settings) -> tuple[Finding, ...]:
    """What the rules that the settings and the file's comments want have found, in the order of the file."""
    # A comment may ask for a rule that nothing else asks for.
    asked = [said for _, comments in subject.tree.comments if (said := of_comments(comments)) is not None]
    found: dict[tuple[object, ...], Finding] = {}
    for rule in rules:
        if not settings.wants(rule) and not any(settings.merged(said).wants(rule) for said in asked):
            continue
        for finding in _found(rule, subject):
            said = of_comments(subject.comments(finding.node))
            if (settings if said is None else settings.merged(said)).wants(rule):
                finding = finding.replace(rule=rule.name)
                # Stages that several targets share may be lowered once for each of them.
                found.setdefault((rule.name, finding.position, finding.message), finding)
    return tuple(sorted(found.values(), key=_place))


def _found(rule: Rule, subject: Subject) -> Iterator[Finding]:
    """What a rule finds, up to a word that does not expand: lowering got no further either, and says what is wrong."""
    try:
        yield from rule.find(subject)
    except BuildfileError:
        return


def _place(finding: Finding) -> tuple[str, int, int, str]:
    at = finding.position
    return at.file, at.line, at.column, finding.rule
