"""One Buildfile being lowered: the scope of the whole file, and its stages, each made at first use.

What one instruction does to a stage is in `lower_stage.py`, what it means in `assemble.py`.
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError, ContextError, SourceError
from buildkit_py.frontend import assemble, results
from buildkit_py.frontend.buildfile.expand import expansion
from buildkit_py.frontend.buildfile.facts import Base, BaseImage, Facts
from buildkit_py.frontend.buildfile.global_scope import GlobalScope
from buildkit_py.frontend.buildfile.lower_stage import StageLowering, counted
from buildkit_py.frontend.buildfile.own_words import Service
from buildkit_py.frontend.buildfile.stages import UNROLLED, StageTable, needs_layout
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.buildfile.syntax import Arg, From, OnBuild
from buildkit_py.frontend.host import host_step
from buildkit_py.frontend.local_context import context_step
from buildkit_py.frontend.named_context import NamedContexts
from buildkit_py.frontend.other_files import is_other
from buildkit_py.frontend.platform_args import normalise, platform_args, this_platform
from buildkit_py.frontend.target import Target, Test
from buildkit_py.graph.op import LocalSource
from buildkit_py.graph.step import Step
from buildkit_py.http.address import shown_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from buildkit_py.frontend.assemble import Stage
    from buildkit_py.frontend.buildfile.expand import Expansion
    from buildkit_py.frontend.buildfile.service_table import ServiceNode
    from buildkit_py.frontend.buildfile.stages import StageNode
    from buildkit_py.frontend.buildfile.syntax import Buildfile, Instruction
    from buildkit_py.frontend.files import Files
    from buildkit_py.frontend.other_files import OtherFiles
    from buildkit_py.frontend.target import Inputs, Options, Resolved, Resolver
    from buildkit_py.graph import op
    from buildkit_py.graph.op import GitSource, HttpSource
    from buildkit_py.source_map import Position


def table_of(tree: Buildfile, scope: GlobalScope, files: Files | None) -> StageTable:
    """The stages of a file. Its global ARGs are declared on the way where blocks may ask for them."""
    if not needs_layout(tree):
        return StageTable(tree, scope)
    from buildkit_py.frontend.buildfile.stage_layout import Layout

    return StageTable(tree, scope, Layout(tree, scope, files))


def predefined(platform: str, target: str) -> tuple[tuple[str, str], ...]:
    """The global variables that no ARG makes, for a target platform ("" for this machine's)."""
    return platform_args(this_platform(), platform or this_platform(), target or "default")


class Build:
    """One Buildfile being lowered: global ARGs, named contexts, and the stages lowered so far."""

    def __init__(
        self,
        tree: Buildfile,
        options: Options,
        resolver: Resolver,
        inputs: Inputs,
        *,
        target_name: str,
        file: str,
        facts: Facts | None = None,
        others: OtherFiles | None = None,
    ) -> None:
        self.tree = tree
        self.others = others
        self.testing = others is not None and (others.testing or others.surveying)
        self.options = options
        self.resolver = resolver
        self.inputs = inputs
        self.facts = facts if facts is not None else Facts()
        self.file = file
        self.build_args = dict(options.build_args)
        self.named_args: set[str] = set()  # the names of ARGs, expanded
        self.platform = normalise(options.platform) if options.platform else this_platform()
        self.contexts = NamedContexts(options.build_contexts, resolver, inputs, options.normalize)
        self.settings = assemble.settings_of(options)
        given = predefined(self.platform, target_name.lower() or _last_name(tree))
        scope = GlobalScope(given, self.build_args, tree.escape)
        self.table = table_of(tree, scope, others.files if others is not None else None)
        self.facts.defaults = self._defaults(given)
        self.globals = self.facts.globals = scope.values
        if not needs_layout(tree):
            for arg in self.table.global_args:
                scope.declare(arg)
        self.table.link(self._from_words, self._service_word)
        self.facts.table = self.table
        self._lowered: dict[int, Stage] = {}
        self._in_progress: set[int] = set()
        # Tests of the stages that a stage takes files from, by its index.
        self._tests: dict[int, list[Test]] = {}
        self._context: Step | None = None
        self._images: dict[str, Step] = {}
        self._resolved: dict[tuple[str, str], Resolved] = {}
        self._remotes: dict[HttpSource | GitSource, Step] = {}
        # Each service with its filesystem, so that those who ask for it by one name have the same.
        self.services: dict[tuple[ServiceNode, str], tuple[op.Service, Step]] = {}
        # Sealed paths of live directories, so that two mounts of one path are one step.
        self.snapshots: dict[tuple[Step, str], Step] = {}

    def target(self, name: str) -> Target:
        """The target of that name ("" for the last stage)."""
        node = self.table.wanted(name)
        stage = self.wanted_stage(name)
        return Target(
            name=node.name or "default",
            step=stage.step,
            config=stage.config,
            history=stage.history,
            inherited=len(stage.base_history),
            platform=stage.platform,
            description=node.head.doc,
            default=node is self.table.last,
            tags=stage.tags,
            outputs=stage.outputs,
            tests=stage.tests,
            author=stage.author,
            host=stage.host,
            position=node.head.position,
        )

    def wanted_stage(self, name: str) -> Stage:
        """The final state of the stage a person asks for; its needs come first, in file order."""
        node = self.table.wanted(name)
        for other in self.table.needed_for([node]):
            if other.index < node.index:
                self.stage(other)
        return self.stage(node)

    def stage(self, node: StageNode) -> Stage:
        """The final state of a stage, made at first use."""
        done = self._lowered.get(node.index)
        if done is None:
            self._in_progress.add(node.index)
            try:
                lowered = self._lower_stage(node)
            except RecursionError as problem:  # stages that others need inside blocks are made when they are met
                raise BuildfileError(
                    f"the stage `{node.title}` stands at the end of too long a row of stages", at=node.head.position
                ) from problem
            done = results.with_tests(lowered, self._tests.get(node.index, ()))
            self._lowered[node.index] = done
            self._in_progress.discard(node.index)
        return done

    def earlier_stage(self, node: StageNode, user: StageNode, at: Position) -> Stage:
        """A stage that another one takes files from; it must stand above it."""
        if node.index >= user.index or node.index in self._in_progress:
            raise BuildfileError(
                f"the stage `{node.title}` is used before it is defined",
                at=at,
                hint=f"move it above the stage `{user.title}`",
            )
        return self.stage(node)

    def _lower_stage(self, node: StageNode) -> Stage:
        head = node.head
        if node.name and (found := self.contexts.find(node.name, node.platform or self.platform, head.position)):
            # A named context takes the place of the whole stage, as BuildKit has it.
            label = f"[context {node.name}] FROM {dict(self.options.build_contexts).get(node.name, node.name)}"
            return found.base(node.title, node.platform or self.platform, self.settings, label, head.position)
        if any(item.keyword in UNROLLED for item in node.body):
            node.body = self._unrolled(node)
            node.needs = [needed for item in node.body for needed in self.table.references(item)]
        total = counted(node.body) + (node.base is None and node.base_name != "scratch")
        stage, triggers, lowering = self._begun(node, total, self.facts)
        if triggers:
            lowering.total += len(triggers)
            stage = lowering.apply(stage, triggers, at=node.head.position)
        return lowering.apply(stage, node.body)

    def _begun(self, node: StageNode, total: int, facts: Facts) -> tuple[Stage, list[Instruction], StageLowering]:
        """A stage before its first instruction, the triggers that run first, and the walk to go on with."""
        lowering = StageLowering(self, node, total, facts)
        stage = self._base(node, lowering).replace(ignore_cache=self._ignores_cache(node))
        triggers = self._triggers(node, stage)
        if triggers:
            stage = stage.replace(config=stage.config.replace(on_build=()))
        return stage, triggers, lowering

    def _unrolled(self, node: StageNode) -> list[Instruction]:
        """The body of a stage without blocks; what is lowered to find that out is not what is built."""
        from buildkit_py.frontend.buildfile.unroll import unrolled

        stage, triggers, lowering = self._begun(node, 0, Facts())
        return unrolled(lowering, lowering.apply(stage, triggers, at=node.head.position), node.body)

    def _base(self, node: StageNode, lowering: StageLowering) -> Stage:
        at, word = node.head.position, node.base_name
        if node.base is not None:
            return assemble.from_stage(node.title, self.stage(node.base))

        def label() -> str:
            return lowering.label(f"FROM {word}")

        def resolved(platform: str, image: Resolved) -> None:
            if node.unit is self.table.main:
                self.facts.images.append(BaseImage(node.head, word, platform, image))

        return self.base_of(
            word, node.platform or self.platform, node.title, label, at, node.head.image.position, resolved
        )

    def base_of(
        self,
        word: str,
        platform: str,
        title: str,
        label: Callable[[], str],
        at: Position,
        word_at: Position,
        resolved: Callable[[str, Resolved], object] = lambda platform, image: None,
    ) -> Stage:
        """What a FROM starts from that names no stage: the state of a stage called `title`, before its first step.

        `label` makes the name of the step that brings it, if there is one; `resolved` hears of an image.
        """
        if word == "scratch":
            return assemble.scratch(title, self.platform, self.settings)
        shown = label()
        if found := self.contexts.find(word, platform, at):
            return found.base(title, platform, self.settings, shown, at)
        if word in ("host://", "host:///"):
            step = host_step(self.inputs, stage=title, label=shown, position=at)
            return assemble.from_step(title, this_platform(), step, self.settings, host=True)
        if is_other(word):
            other = self._other(word, platform, word_at)
            if self.others is not None and self.others.surveying:
                self.facts.unknown.add(word)  # what a program would set
            stage = assemble.from_stage(title, other)
            # As of an image, its triggers run here.
            return stage.replace(config=stage.config.replace(on_build=other.config.on_build))
        image = self._resolve(word, platform, at)
        resolved(platform, image)
        return assemble.from_image(title, image, self.settings, label=shown, position=at)

    def _other(self, word: str, platform: str, at: Position) -> Stage:
        if self.others is None:
            raise BuildfileError(f"`{word}`: this text has no file that it could be relative to", at=at)
        return self.others.stage(word, platform, at)

    def _resolve(self, word: str, platform: str, at: Position) -> Resolved:
        # A name stands for one image in a whole build, even if it moves meanwhile.
        if (word, platform) in self._resolved:
            return self._resolved[word, platform]
        try:
            found = self._resolved[word, platform] = self.resolver.resolve(word, platform, at)
            return found
        except SourceError as problem:  # also where the registry is down: a mistyped stage is looked for there
            stages = self.table.names()
            if word in stages:
                problem.hint = f"the stage `{word}` stands further down; FROM starts from stages above it only"
            else:
                problem.hint = did_you_mean(word, stages) or problem.hint
            raise

    def _triggers(self, node: StageNode, stage: Stage) -> list[Instruction]:
        """The ONBUILD triggers that run now: those of the base image, or of the stage this one starts from."""
        if node.base is not None:
            return [item.trigger for item in node.base.body if isinstance(item, OnBuild)]
        if not stage.config.on_build:
            return []
        from buildkit_py.frontend.buildfile.parse import parse_text

        found: list[Instruction] = []
        for trigger in stage.config.on_build:
            # The trigger is not in this file: its own text is parsed behind a FROM, and errors point at ours.
            try:
                tree = parse_text("FROM scratch\n" + trigger + "\n", node.head.position.file)
            except BuildfileError as problem:
                raise BuildfileError(
                    f"the base image's ONBUILD trigger `{trigger}` does not parse: {problem.message}",
                    at=node.head.position,
                ) from problem
            if len(tree.instructions) != 2:
                raise BuildfileError(
                    f"the base image's ONBUILD trigger `{trigger}` is more than one instruction",
                    at=node.head.position,
                )
            found.append(tree.instructions[1])
        return found

    # What instructions ask for

    def context(self, at: Position) -> Step:
        """The build context. Raises `ContextError` where the build has none."""
        if self.options.source is not None:
            return self.options.source
        if self._context is None:
            if not self.options.context:
                raise ContextError("this build has no context to copy from", at=at, hint="give a directory as context")
            step = context_step(
                "context",
                self.options.context,
                self.inputs,
                buildfile=self.file,
                normalize=self.options.normalize,
                position=at,
            )
            self._context = step
            self.facts.context = self.options.context
            if isinstance(step.op, LocalSource):
                self.facts.ignore = step.op.ignore
        return self._context

    def source(self, name: str, user: StageNode, at: Position) -> tuple[Step, bool]:
        """What `--from=name` means: its files, and whether they are a live directory of this machine.

        Files taken from `host://` make no host build: copying out of it into a
        real base is how such files get into an image.
        """
        node = self.table.find(name, at)
        if node is not None:
            if node.name and (found := self.contexts.find(node.name, self.platform, at)) and found.directory:
                return found.directory, True
            return self._files_of(self.earlier_stage(node, user, at), user), False
        if name == "scratch":
            return assemble.files_of(assemble.scratch("scratch", self.platform, self.settings)), False
        found = self.contexts.find(name, self.platform, at)
        if found is not None and found.directory is not None:
            return found.directory, True
        step = self._images.get(name)
        if step is None:
            if found is not None:
                step = found.files(f"[context {name}]", at)
            elif name in ("host://", "host:///"):
                step = host_step(self.inputs, position=at)
            elif is_other(name):
                return self._files_of(self._other(name, self.platform, at), user), False
            else:
                step = assemble.image_step(self._resolve(name, self.platform, at), "", f"FROM {name}", at)
            self._images[name] = step
        return step, False

    def _files_of(self, stage: Stage, user: StageNode) -> Step:
        """The files of a stage, whose tests are then tests of the stage that uses them, too."""
        self.take_tests(stage, user)
        return assemble.files_of(stage)

    def take_tests(self, stage: Stage, user: StageNode) -> None:
        """The tests of a stage are those of a stage that uses it, too."""
        self._tests.setdefault(user.index, []).extend(stage.tests)

    def remote(self, op: HttpSource | GitSource, stage: str, at: Position) -> Step:
        """The step of a source elsewhere; one for all who take the same, so that it is asked for once."""
        step = self._remotes.get(op)
        if step is None:
            step = self._remotes[op] = Step(op, name=f"[{stage}] {shown_url(op.url)}", stage=stage, position=at)
        return step

    # Scope

    def declared(self) -> set[str]:
        """The names of all ARGs of the file and of those that it includes, but for the arguments of functions."""
        nodes = [node for unit in self.table.units.values() for node in instructions_of(unit.tree)]
        return self.named_args.union(pair.key for node in nodes if isinstance(node, Arg) for pair in node.pairs)

    def _defaults(self, given: tuple[tuple[str, str], ...]) -> dict[str, str] | None:
        """The global ARGs as they were without any build arg, None where that is an error. For the checks."""
        scope = GlobalScope(given, {}, self.tree.escape)
        try:
            for arg in self.table.global_args:
                scope.declare(arg)
        except BuildfileError:
            return None
        return scope.values

    def _from_words(self, node: StageNode) -> tuple[str, str]:
        head, known = node.head, node.unit.scope.values
        if head.variables:
            known = {**known, **dict(head.variables)}
        image = self.expansion(head.image.text, known.get, head.image.position)
        flags = [flag for flag in head.flags if flag.name == "platform"]
        given = [self.expansion(flag.value or "", known.get, flag.position) for flag in flags]
        if node.unit is self.table.main:
            self.facts.bases.append(Base(head, image, given[0] if given else None))
        if not image.text:
            raise BuildfileError(
                f"FROM {head.image.text} comes to nothing",
                at=head.image.position,
                hint="give the ARG above it a default, or pass --build-arg",
            )
        platform = ""
        for flag, value in zip(flags, given, strict=True):
            if not value.text:
                raise BuildfileError(f"--platform={flag.value} comes to nothing", at=flag.position)
            platform = normalise(value.text, flag.position)
        return image.text, platform

    def _service_word(self, node: ServiceNode) -> str:
        word = node.head.image
        text = node.scope().text(word)
        if not text:
            raise BuildfileError(
                f"SERVICE {node.head.name} FROM {word.text} comes to nothing",
                at=word.position,
                hint="give the ARG above it a default, or pass --build-arg",
            )
        return text

    def expansion(
        self, word: str, lookup: Callable[[str], str | None], at: Position, *, raw: bool = False
    ) -> Expansion:
        """A word expanded, with the names that it asked for."""
        return expansion(word, lookup, escape=self.tree.escape, at=at, raw=raw)

    def _ignores_cache(self, node: StageNode) -> bool:
        if self.options.no_cache:
            return True
        filters = {name.lower() for name in self.options.no_cache_filter}
        return (node.name or ("default" if node is self.table.last else node.title)) in filters


def _last_name(tree: Buildfile) -> str:
    """The name of the last stage as far as the text has it: the target where none is asked for."""
    heads = [node for node in instructions_of(tree) if isinstance(node, From)]
    return heads[-1].name if heads else ""


def instructions_of(tree: Buildfile) -> Iterable[Instruction]:
    """All instructions but those of functions, also where blocks may leave them out."""
    if not needs_layout(tree):
        return tree.instructions
    from buildkit_py.frontend.buildfile.functions import inside

    return inside(tree.instructions)


def is_one_for_all_targets(tree: Buildfile) -> bool:
    """Whether a file means the same whichever target is asked for: TARGETSTAGE is the one global that differs."""
    deciding = (Arg, From, Service)
    asks = [node for node in instructions_of(tree) if isinstance(node, deciding) or node.keyword in UNROLLED]
    if any("TARGETSTAGE" in node.source for node in asks):
        return False
    return not any(node.keyword == "INCLUDE" for node in instructions_of(tree))
