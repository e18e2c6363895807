"""Our rules about stages that nothing leads to, and bases that may be another image tomorrow."""

from __future__ import annotations

from buildkit_py.errors import UsageError
from buildkit_py.frontend.buildfile.checks.rule import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.frontend.buildfile.checks.subject import Subject
    from buildkit_py.frontend.buildfile.stages import StageNode, StageTable


def unused_stage(subject: Subject) -> Iterator[Finding]:
    """A stage that can be asked for by name, that no other stage needs and that no comment describes as a target."""
    table = subject.facts.table
    if table is None:
        return
    needed = _needed_by_others(table.stages) | {stage.index for stage in _of_services(table)}
    for stage in table.main.stages:
        if (
            stage is not table.last
            and stage.index not in needed
            and table.by_name.get(stage.name) is stage
            and not stage.head.doc
        ):
            yield _finding(stage, f"the stage `{stage.name}` is used by no other and not described as a target")


def unreachable_target(subject: Subject) -> Iterator[Finding]:
    """A stage that nobody can ask for, since it has no name or a later one took it, and that no such stage needs."""
    table = subject.facts.table
    if table is None:
        return
    wanted = [stage for stage in table.stages if table.by_name.get(stage.name) is stage or stage is table.last]
    reached = {stage.index for stage in table.needed_for([*wanted, *_of_services(table)])}
    for stage in table.main.stages:
        if stage.index not in reached:
            why = f"a later stage has the name `{stage.name}`" if stage.name else "it has no name"
            yield _finding(stage, f"no build can reach this stage: {why}, and no other stage uses it")


def unused_service(subject: Subject) -> Iterator[Finding]:
    """A service that no `--with` names and that no comment describes, as one for the files that include this one."""
    table = subject.facts.table
    if table is None:
        return
    asked = {
        name.strip().lower()
        for node in subject.nodes
        for flag in getattr(getattr(node, "trigger", node), "flags", ())
        if flag.name == "with"
        for name in (flag.value or "").split(",")
    }
    if any("$" in name for name in asked):
        return  # of a block's variable, which may be any of them
    for name, service in table.main.services_by_name.items():
        head = service.head
        if service.unit is table.main and name not in asked and not head.doc:
            message = f"the service `{name}` is asked for by no step and not described"
            yield Finding(head, message, head.position, width=len(head.source))


def unpinned_base_image(subject: Subject) -> Iterator[Finding]:
    """An image without a tag, or of the tag `latest`, and without a digest."""
    from buildkit_py.image.reference import parse

    table = subject.facts.table
    for stage in table.main.stages if table is not None else ():
        name = stage.base_name
        if stage.base is not None or name == "scratch" or "://" in name or name.startswith(("./", "../")):
            continue
        try:
            reference = parse(name)
        except UsageError:
            continue  # lowering says so
        if not reference.digest and reference.tag == "latest":
            word = stage.head.image
            message = f"the base image `{name}` is whatever is newest when it is pulled"
            yield Finding(stage.head, message, word.position, width=len(word.text))


def _of_services(table: StageTable) -> list[StageNode]:
    return [service.base for service in table.services() if service.base is not None]


def _needed_by_others(stages: list[StageNode]) -> set[int]:
    needed = {stage.base.index for stage in stages if stage.base is not None}
    return needed | {other.index for stage in stages for other, _ in stage.needs}


def _finding(stage: StageNode, message: str) -> Finding:
    return Finding(stage.head, message, stage.head.position, width=len(stage.head.source))
