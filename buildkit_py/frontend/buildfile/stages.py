"""The stages of a Buildfile as a table: names, bases, who needs whom. Nothing is resolved or expanded but FROM."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError, UsageError
from buildkit_py.frontend.buildfile.global_scope import GlobalScope
from buildkit_py.frontend.buildfile.own_words import Service
from buildkit_py.frontend.buildfile.run_mount import mount_origin
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.buildfile.syntax import Arg, From, RunStep, Transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    from buildkit_py.frontend.buildfile.own_words import Function
    from buildkit_py.frontend.buildfile.service_table import ServiceNode, ServiceTable
    from buildkit_py.frontend.buildfile.stage_layout import Layout
    from buildkit_py.frontend.buildfile.syntax import Buildfile, Flag, Instruction
    from buildkit_py.source_map import Position


# Words whose file has to be laid out before it has stages.
_LAID_OUT = frozenset(("INCLUDE", "FUNCTION", "DO", "IF", "FOR"))
# Words in a stage's body that are to be unrolled, and those that tell of blocks around the stage.
UNROLLED = frozenset(("DO", "IF", "FOR", "LET", "END"))


class Unit:
    """One file of a build: its variables outside of stages, its functions, and the stages and services it can name.

    `stages` are its own, in order; of several of one name the last counts.
    """

    def __init__(self, tree: Buildfile, scope: GlobalScope) -> None:
        self.tree = tree
        self.scope = scope
        self.functions: dict[str, Function] = {}
        self.stages: list[StageNode] = []
        self.by_name: dict[str, StageNode] = {}
        self._services: ServiceTable | None = None  # what is for services is loaded where there are some

    @property
    def services(self) -> ServiceTable:
        """The services that can be named in it."""
        if self._services is None:
            from buildkit_py.frontend.buildfile import service_table

            self._services = service_table.ServiceTable()
        return self._services

    @property
    def services_by_name(self) -> dict[str, ServiceNode]:
        """Those that are there."""
        return self._services.by_name if self._services is not None else {}

    def define_service(self, head: Service) -> None:
        """Take in a SERVICE of its own. Raises `BuildfileError` where there is another one of that name."""
        from buildkit_py.frontend.buildfile.service_table import ServiceNode

        self.services.add(head.name, ServiceNode(head, self), head.position)


class StageNode:
    """One stage: its FROM, its instructions, and the stages it stands on.

    `base_name` is the expanded word of FROM, `base` the earlier stage it
    names, None for an image. `name` is how a person asks for it, and `title`
    what people see: the name, or `stage-N`. `names` are all that it has, each
    with the file in which it has it: its own, and those that include that.
    """

    def __init__(self, index: int, head: From, unit: Unit) -> None:
        self.index = index
        self.head = head
        self.unit = unit
        self.name = head.name.lower()
        self.title = self.name or f"stage-{len(unit.stages)}"
        self.names: list[tuple[Unit, str]] = [(unit, self.name)] if self.name else []
        self.body: list[Instruction] = []
        self.base_name = ""
        self.platform = ""
        self.base: StageNode | None = None
        self.needs: list[tuple[StageNode, Position]] = []
        unit.stages.append(self)


class StageTable:
    """All stages in the order of the file; by name the last of that name counts.

    `layout` has them where the file has blocks or includes others (`needs_layout`).
    """

    def __init__(self, tree: Buildfile, scope: GlobalScope | None = None, layout: Layout | None = None) -> None:
        if layout is None:
            scope = scope if scope is not None else GlobalScope((), {}, tree.escape)
            self.units = {tree.path: Unit(tree, scope)}
        else:
            self.units = layout.units
        self.main = self.units[tree.path]
        self.global_args: list[Arg] = layout.global_args if layout is not None else []
        self.stages: list[StageNode] = layout.stages if layout is not None else []
        self.by_name = self.main.by_name
        for node in tree.instructions if layout is None else ():
            if isinstance(node, Service):
                self.main.define_service(node)
            elif isinstance(node, From):
                self.stages.append(StageNode(len(self.stages), node, self.main))
            elif self.stages:
                self.stages[-1].body.append(node)
            elif isinstance(node, Arg):
                self.global_args.append(node)
            else:
                refuse_before_from(node)
        if not self.stages:
            raise BuildfileError(
                "the Buildfile has no FROM, so it has nothing to build",
                at=tree.path,
                hint="begin a stage with `FROM IMAGE`, or with `FROM scratch` for an empty one",
            )

    @property
    def last(self) -> StageNode:
        """The stage that is built where none is asked for: the last of the file itself, if it has any."""
        return (self.main.stages or self.stages)[-1]

    def unit(self, at: Position) -> Unit:
        """The file that a place is in."""
        return self.units.get(at.file, self.main)

    def functions(self, at: Position) -> dict[str, Function]:
        """The functions that can be called in the file of a place."""
        return self.unit(at).functions

    def names(self) -> list[str]:
        """The names a person may ask for, in file order; an unnamed last stage is `default`."""
        names = [stage.name for stage in self.stages if stage.name]
        if not self.last.name:
            names.append("default")
        return list(dict.fromkeys(names))

    def wanted(self, name: str) -> StageNode:
        """The stage a person asks for; "" is the last one."""
        if not name:
            return self.last
        found = self.by_name.get(name.lower())
        if found is None and name == "default" and not self.last.name:
            return self.last
        if found is None:
            hint = did_you_mean(name, self.names()) or f"the targets are {', '.join(self.names())}"
            raise UsageError(f"there is no target `{name}`", at=self.main.tree.path, hint=hint)
        return found

    def services(self) -> list[ServiceNode]:
        """Those of all files, each once."""
        return list(dict.fromkeys(node for unit in self.units.values() for node in unit.services_by_name.values()))

    def link(
        self,
        word_of: Callable[[StageNode], tuple[str, str]],
        service_word: Callable[[ServiceNode], str] = lambda service: service.head.image.text,
    ) -> None:
        """Find each stage's base and needs. `word_of` gives the expanded image and platform of a stage's FROM,
        `service_word` the image of a service's.

        FROM looks only at earlier stages and compares case, as BuildKit does;
        `--from` finds names in any case, and later stages too, so that the
        error can say that they come too late. So does the FROM of a service, which may stand above all stages.
        """
        for stage in self.stages:
            stage.base_name, stage.platform = word_of(stage)
            stage.base = self.unit(stage.head.position).by_name.get(stage.base_name)
            for unit, name in stage.names:
                unit.by_name[name] = stage
        for service in self.services():
            service.base_name = service_word(service)
            service.base = service.unit.by_name.get(service.base_name)
        for stage in self.stages:
            unrolled = any(node.keyword in UNROLLED for node in stage.body)
            for node in stage.body:
                if not (unrolled and takes_from_variable(node)):  # a block's variable: known when it is unrolled
                    stage.needs.extend(self.references(node))
        self._refuse_cycles()

    def references(self, node: Instruction) -> Iterable[tuple[StageNode, Position]]:
        """The stages an instruction takes files from, and those that its services start from."""
        if isinstance(node, Transfer | RunStep):
            for flag in node.flags:
                if flag.name == "with":
                    from buildkit_py.frontend.buildfile.service_table import names_of

                    for name in names_of(flag):
                        base = self.unit(flag.position).services.find(name, flag.position).base
                        if base is not None:
                            yield base, flag.position
                    continue
                origin = _origin(flag)
                found = self.find(origin, flag.position) if origin else None
                if found is not None:
                    yield found, flag.position

    def find(self, name: str, at: Position) -> StageNode | None:
        """The stage that `--from=name` means, by index or name; None where it must be a context or an image.

        Both count in the file of the place: those of an included file are its own.
        """
        unit = self.unit(at)
        if name.lstrip("+-").isdigit() and name.isascii():
            index = int(name)
            if not 0 <= index < len(unit.stages):
                raise BuildfileError(f"there is no stage {name}", at=at, hint=f"there are {len(unit.stages)} stages")
            return unit.stages[index]
        return unit.by_name.get(name.lower())

    def needed_for(self, wanted: Iterable[StageNode]) -> list[StageNode]:
        """The stages without which those wanted cannot be made, themselves included, in file order."""
        seen: set[int] = set()
        todo = list(wanted)
        while todo:
            stage = todo.pop()
            if stage.index not in seen:
                seen.add(stage.index)
                todo.extend(_inputs(stage))
        return [self.stages[index] for index in sorted(seen)]

    def _refuse_cycles(self) -> None:
        # Every cycle holds a reference to the stage itself or to a later one, so only those start a search.
        for stage in self.stages:
            for other, at in stage.needs:
                if other is stage and _asks_for_services(stage, at):
                    raise BuildfileError(
                        f"the stage `{stage.title}` asks for a service that starts from it",
                        at=at,
                        hint=f"ask in a stage of its own: `FROM {stage.title} AS tested`",
                    )
                if other is stage:
                    raise BuildfileError(
                        f"the stage `{stage.title}` takes files from itself",
                        at=at,
                        hint="name another stage, or leave it away for files of the context",
                    )
                if other.index >= stage.index and (chain := _path(other, stage)):
                    names = " → ".join(f"`{node.title}`" for node in (stage, *chain))
                    raise BuildfileError(f"the stages need each other: {names}", at=at)


def needs_layout(tree: Buildfile) -> bool:
    """Whether the stages of a file are known only when its blocks are decided. No Dockerfile has such words."""
    return any(
        node.keyword in _LAID_OUT or (isinstance(node, From | Service) and "$" in node.name)
        for node in tree.instructions
    )


def refuse_before_from(node: Instruction) -> NoReturn:
    """Raise for an instruction that belongs into a stage where there is none yet."""
    raise BuildfileError(
        f"{node.keyword} stands before the first FROM", at=node.position, hint="only ARG may stand there"
    )


def takes_from_variable(node: Instruction) -> bool:
    """Whether there may be a variable in the name of what an instruction takes files from."""
    flags = getattr(node, "flags", ())
    return any("$" in (flag.value or "") for flag in flags if flag.name in ("from", "mount", "with"))


def _origin(flag: Flag) -> str:
    if flag.name == "mount":
        return mount_origin(flag.value or "", flag.position)
    if flag.name != "from" or not flag.value:
        return ""
    if "$" in flag.value:
        raise BuildfileError(
            "variables are not expanded in --from",
            at=flag.position,
            hint="name a stage with FROM …, which expands global ARGs, and use its name",
        )
    return flag.value


def _asks_for_services(stage: StageNode, at: Position) -> bool:
    """Whether it is a `--with` of the stage that stands at a place."""
    flags = [flag for node in stage.body for flag in getattr(node, "flags", ())]
    return any(flag.name == "with" and flag.position == at for flag in flags)


def _inputs(stage: StageNode) -> list[StageNode]:
    bases = [stage.base] if stage.base is not None else []
    return bases + [other for other, _ in stage.needs]


def _path(start: StageNode, goal: StageNode) -> list[StageNode]:
    """A way along the needs from one stage to another, both included; empty where there is none."""
    came: dict[int, StageNode | None] = {start.index: None}
    todo = [start]
    while todo:
        node = todo.pop()
        if node is goal:
            way: list[StageNode] = []
            step: StageNode | None = node
            while step is not None:
                way.append(step)
                step = came[step.index]
            return way[::-1]
        for other in _inputs(node):
            if other.index not in came:
                came[other.index] = node
                todo.append(other)
    return []
