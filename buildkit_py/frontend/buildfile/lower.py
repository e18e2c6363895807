"""From syntax tree to graph: the targets of a Buildfile that are wanted, with all that they need.

Stages that no wanted target needs are not looked at beyond their FROM line
and their `--from`s; their images are never resolved.
"""

from __future__ import annotations

from buildkit_py.errors import PybuildError
from buildkit_py.frontend.buildfile.facts import Facts
from buildkit_py.frontend.buildfile.global_scope import GlobalScope
from buildkit_py.frontend.buildfile.lower_file import Build, is_one_for_all_targets, predefined, table_of
from buildkit_py.frontend.files import Files
from buildkit_py.frontend.other_files import OtherFiles
from buildkit_py.frontend.outline import Outline
from buildkit_py.frontend.platform_args import normalise
from buildkit_py.frontend.target import Target
from buildkit_py.frontend.unused_args import tell_of_unused_args

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from buildkit_py.frontend.buildfile.stages import StageTable
    from buildkit_py.frontend.buildfile.syntax import Buildfile
    from buildkit_py.frontend.target import Inputs, Options, Resolver
    from buildkit_py.graph.step import Step
    from buildkit_py.source_map import Position

    # message, where, hint, and the rule that found it ("" for none)
    Notify: TypeAlias = Callable[[str, Position | None, str, str], None]


def stages_of(tree: Buildfile, inputs: Inputs, file: str = "", context: str = "") -> StageTable:
    """The stages of a file as they are where nothing is given; nothing is resolved, and no FROM expanded."""
    files = Files(inputs)
    files.add(tree.path, file, context)
    try:
        return table_of(tree, GlobalScope(predefined("", ""), {}, tree.escape), files)
    except PybuildError as problem:
        files.show(problem)
        raise


def outline(tree: Buildfile, inputs: Inputs, file: str = "") -> tuple[Outline, ...]:
    """The targets of a Buildfile, those that it includes first."""
    table = stages_of(tree, inputs, file)
    parameters = tuple(
        (pair.key, "str", pair.value or "", node.doc) for node in table.global_args for pair in node.pairs
    )
    shown = [stage for stage in table.stages if stage.name or stage is table.last]
    return tuple(Outline(stage.name or "default", stage.head.doc, stage is table.last, parameters) for stage in shown)


def lower(
    tree: Buildfile,
    options: Options,
    resolver: Resolver,
    inputs: Inputs,
    *,
    targets: tuple[str, ...] = (),
    file: str = "",
    text: bytes = b"",
    cache_dir: str = "",
    runner: Callable[[Step], str] | None = None,
    notice: Notify | None = None,
    testing: bool = False,
    everything: bool = False,
) -> tuple[Target, ...]:
    """The wanted targets (none named: the last stage, or with `everything` all), with every step they need.

    `file` is the Buildfile's absolute path, by which its own ignore file and
    the other files that it names are found; "" for one that came from
    elsewhere, whose `text` errors then show. `cache_dir` keeps the trees of
    other files. `runner` builds a step now and gives its standard output.
    `notice` hears of what looks wrong and is no error: what BuildKit's checks
    find, also where the file turns out to be wrong, and build args that
    nothing declares. With `testing` the targets have their tests. Raises
    `BuildfileError` (also for findings, where the file says so),
    `ContextError`, `UsageError` and what the resolver raises.
    """
    facts = Facts()
    files = Files(inputs, cache_dir)
    files.add(tree.path, file, options.context, text)
    others = OtherFiles(options, resolver, inputs, files, runner=runner, notice=notice, testing=testing)
    try:
        if everything and not targets:
            platform = normalise(options.platform) if options.platform else ""
            scope = GlobalScope(predefined(platform, ""), dict(options.build_args), tree.escape)
            targets = tuple(table_of(tree, scope, files).names())
        lowered, declared = _lower(tree, options, targets or ("",), file, facts, others)
    except PybuildError as problem:
        files.show(problem)
        if notice is not None:
            _check(tree, options, facts, notice, failing=True)
        raise
    if notice is not None:
        _check(tree, options, facts, notice)
        if facts.impure:
            inputs.impure(facts.impure)
        tell_of_unused_args(options, declared | others.declared, tree.instructions[0].position, notice)
    return lowered


def survey(
    tree: Buildfile,
    options: Options,
    resolver: Resolver,
    inputs: Inputs,
    *,
    target: str = "",
    file: str = "",
    text: bytes = b"",
    facts: Facts,
) -> None:
    """Lower all stages, or those that a target needs, for the sake of the facts alone. Raises as `lower` does."""
    files = Files(inputs)
    files.add(tree.path, file, options.context, text)
    try:
        others = OtherFiles(options, resolver, inputs, files, surveying=True)
        build = Build(tree, options, resolver, inputs, target_name=target, file=file, facts=facts, others=others)
        if target:
            build.wanted_stage(target)
        else:
            for node in build.table.stages:
                build.stage(node)
    except PybuildError as problem:
        files.show(problem)
        raise


def _check(tree: Buildfile, options: Options, facts: Facts, notice: Notify, *, failing: bool = False) -> None:
    from buildkit_py.frontend.buildfile.checks.of_build import check

    check(tree, dict(options.build_args), facts, notice, failing=failing)


def _lower(
    tree: Buildfile, options: Options, wanted: tuple[str, ...], file: str, facts: Facts, others: OtherFiles
) -> tuple[tuple[Target, ...], set[str]]:
    """The targets, and the names of all ARGs."""
    shared: Build | None = None
    out: list[Target] = []
    for name in wanted:
        if shared is None or not is_one_for_all_targets(tree):
            shared = Build(
                tree,
                options,
                others.resolver,
                others.inputs,
                target_name=name,
                file=file,
                facts=facts,
                others=others,
            )
        out.append(shared.target(name))
    assert shared is not None
    return tuple(out), shared.declared()
