"""Rules about the names of stages."""

from __future__ import annotations

from buildkit_py.frontend.buildfile.checks.rule import Finding
from buildkit_py.frontend.buildfile.checks.subject import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.frontend.buildfile.checks.subject import Subject

_RESERVED = frozenset(("context", "scratch"))


def duplicate_stage_name(subject: Subject) -> Iterator[Finding]:
    """A name that an earlier stage has."""
    seen: set[str] = set()
    for head in subject.heads:
        if head.name in seen:
            message = f"Duplicate stage name {quoted(head.name)}, stage names should be unique"
            yield Finding(head, message, head.position, width=len(head.source))
        if head.name:
            seen.add(head.name)


def reserved_stage_name(subject: Subject) -> Iterator[Finding]:
    """`context` and `scratch` mean something else where a stage can be named."""
    for head in subject.heads:
        if head.name in _RESERVED:
            message = f"Stage name should not use the same name as reserved stage {quoted(head.name)}"
            yield Finding(head, message, head.position, width=len(head.source))
