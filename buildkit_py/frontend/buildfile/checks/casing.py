"""Rules about upper and lower case: keywords, stage names."""

from __future__ import annotations

from buildkit_py.frontend.buildfile.checks.rule import Edit, Finding
from buildkit_py.frontend.buildfile.checks.subject import place_of, written_keyword
from buildkit_py.frontend.buildfile.syntax import Arg, From

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.frontend.buildfile.checks.subject import Subject
    from buildkit_py.frontend.buildfile.syntax import Instruction


def stage_name_casing(subject: Subject) -> Iterator[Finding]:
    """`AS Name`: BuildKit lowers it, and a FROM that names it must not have capitals."""
    for head in subject.heads:
        name, offset = _last_word(head)
        if head.name and name != name.lower() and "$" not in name:  # a variable has the case that it has
            yield _word(head, f"Stage name '{name}' should be lowercase", name, offset, name.lower())


def from_as_casing(subject: Subject) -> Iterator[Finding]:
    """`FROM … as`. A FROM of mixed case is the other rule's."""
    for head in subject.heads:
        if not head.name:
            continue
        keyword = written_keyword(head)
        wanted = {keyword.lower(): "as", keyword.upper(): "AS"}.get(keyword)
        _, offset = _last_word(head)
        before = head.source[:offset].rstrip()
        written = before[-2:]
        if wanted is not None and written != wanted:
            message = f"'{written}' and '{keyword}' keywords' casing do not match"
            yield _word(head, message, written, len(before) - 2, wanted)


def consistent_instruction_casing(subject: Subject) -> Iterator[Finding]:
    """All keywords as most of them are; as many of either: upper case. ARGs above the first FROM do not count."""
    nodes = _of_stages(subject)
    written = [written_keyword(node) for node in nodes]
    lower = sum(keyword.islower() for keyword in written)
    upper = sum(keyword.isupper() for keyword in written)
    case = "lowercase" if lower > upper else "uppercase"
    for node, keyword in zip(nodes, written, strict=True):
        wanted = keyword.lower() if lower > upper else keyword.upper()
        if keyword != wanted:
            message = f"Command '{keyword}' should match the case of the command majority ({case})"
            at = node.position
            yield Finding(node, message, at, (Edit(at.line, at.column, keyword, wanted),), width=len(keyword))


def _of_stages(subject: Subject) -> list[Instruction]:
    nodes = list(subject.nodes)
    first = next((at for at, node in enumerate(nodes) if isinstance(node, From)), len(nodes))
    return [node for at, node in enumerate(nodes) if at >= first or not isinstance(node, Arg)]


def _last_word(head: From) -> tuple[str, int]:
    """The last word of a FROM and where in its text it begins."""
    text = head.source.rstrip()
    word = text.split()[-1]
    return word, len(text) - len(word)


def _word(head: From, message: str, old: str, offset: int, new: str) -> Finding:
    at = place_of(head, offset)
    if at is None:
        return Finding(head, message, head.position)
    return Finding(head, message, at, (Edit(at.line, at.column, old, new),), width=len(old))
