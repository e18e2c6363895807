"""From the values of a Buildfile.py to targets with graphs: find, call, lower."""

from __future__ import annotations

from contextlib import contextmanager

from buildkit_py.errors import BuildfileError, PybuildError, UsageError
from buildkit_py.frontend import results
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.files import Files
from buildkit_py.frontend.other_files import OtherFiles
from buildkit_py.frontend.outline import Outline
from buildkit_py.frontend.python import session
from buildkit_py.frontend.python.image import Image
from buildkit_py.frontend.python.load import guarded, show_line
from buildkit_py.frontend.python.lower_image import ImageLowering
from buildkit_py.frontend.python.parameters import from_command_line
from buildkit_py.frontend.python.target import is_name
from buildkit_py.frontend.python.text import plain
from buildkit_py.frontend.target import Target
from buildkit_py.frontend.unused_args import tell_of_unused_args

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from buildkit_py.frontend.assemble import Stage
    from buildkit_py.frontend.buildfile.lower import Notify
    from buildkit_py.frontend.python.load import Module
    from buildkit_py.frontend.python.target import TargetFunction
    from buildkit_py.frontend.target import Inputs, Options, Resolver
    from buildkit_py.graph.step import Step

    Given = Mapping[str, str] | Iterable[tuple[str, str]]


def targets(module: Module) -> tuple[Outline, ...]:
    """The targets of a loaded file, for `--list` and `--help`; none is called."""
    default = module.default()
    return tuple(
        Outline(
            target.name,
            target.description,
            target is default,
            tuple(parameter.described() for parameter in target.parameters),
        )
        for target in module.targets
    )


def call(
    module: Module,
    wanted: Iterable[tuple[str, Given]],
    options: Options,
    resolver: Resolver,
    inputs: Inputs,
    *,
    runner: Callable[[Step], str] | None = None,
    notice: Notify | None = None,
    testing: bool = False,
) -> tuple[Target, ...]:
    """Call targets and lower what they return. `wanted` are (name, {parameter: text}); "" is the default target.

    `runner` builds a step (a `Run` with `capture`) now and gives its standard
    output; it is asked for each lazy `Text` that the graph needs. Without it,
    such a text is an error. With `testing` the targets have their tests, the
    checks among them, which can be wanted by their names, too; where nothing
    is wanted, all are. A build arg with the name of a parameter is its value,
    unless the call gives one; `notice` hears of those that nothing takes.
    Raises `BuildfileError`, `UsageError` for unknown targets and parameters,
    and what the resolver and the runner raise.
    """
    others = OtherFiles(options, resolver, inputs, Files(inputs), runner=runner, notice=notice, testing=testing)
    lowering = ImageLowering(module.session, options, resolver, inputs, runner=runner, notice=notice, others=others)
    out: list[Target] = []
    with _at_work(module, lowering, inputs):
        if testing:
            from buildkit_py.frontend.python.lower_checks import with_checks

            out.extend(with_checks(module, tuple(wanted), lowering, _call_one))
        else:
            for name, given in wanted:
                out.extend(_call_one(module, find(module, name), given, lowering))
    if notice is not None and out:
        tell_of_unused_args(options, others.declared, out[0].position, notice)
    return tuple(out)


def stage_of(module: Module, name: str, options: Options, others: OtherFiles) -> Stage:
    """The final state of the one image that a target returns, for another file that starts from it.

    Of the build args it gets those that have the names of its parameters, in lower case, too. Raises as `call`.
    """
    target = find(module, name)
    given = _of_build_args(target, options, others)
    values = from_command_line(target.parameters, given, target.name, target.position)
    lowering = ImageLowering(
        module.session,
        options,
        others.resolver,
        others.inputs,
        runner=others.runner,
        notice=others.tell,
        others=others,
    )
    target.asked = values
    with _at_work(module, lowering, others.inputs):
        value = guarded(module.session, module.name, lambda: target.result(**values))
        session.enter(module.session)
        try:
            if not isinstance(value, Image):
                raise _wrong(target, f"returned {_kind(value)}, and another file can start from an Image only")
            stage = lowering.stage(value)
            if others.testing:
                from buildkit_py.frontend.python.lower_checks import tests_for

                stage = results.with_tests(stage, tests_for([target], module, lowering))
            return stage
        except PybuildError as problem:
            show_line(problem, module.name, module.path)
            raise
        finally:
            session.leave()


def _of_build_args(target: TargetFunction, options: Options, others: OtherFiles) -> list[tuple[str, str]]:
    """The build args that are parameters of a target: those of their names, in upper case, too.

    Of several for one that takes one value the last counts, as it does for an ARG.
    """
    names = {parameter.name for parameter in target.parameters}
    others.declared.update(names, [name.upper() for name in names])
    given = []
    for key, value in options.build_args:
        for name in (key, key.lower(), key.lower().replace("-", "_")):
            if name in names:
                given.append((name, value))
                others.declared.add(key)
                break
    several = {parameter.name for parameter in target.parameters if parameter.takes_several}
    last = {name: value for name, value in given if name not in several}
    return [*last.items(), *(pair for pair in given if pair[0] in several)]


def tell_of_options(
    module: Module, wanted: Iterable[str], spelled: Iterable[str], options: Options, notice: Notify
) -> None:
    """Have `notice` hear of parameters of the wanted targets that probably were meant to be given, and were not.

    `spelled` are the options that the command line has in the form of a parameter. A build arg gives such a one.
    """
    given = {name.lower() for name, _ in options.build_args}
    for name in wanted:
        target = _meant(module, name)
        if target is None:
            continue
        parameters = {parameter.name.replace("_", "-"): parameter.name for parameter in target.parameters}
        for option in spelled:
            if option in parameters and parameters[option].lower() not in given:
                notice(
                    f"`--{option}` is an option of the command and not the parameter of the target `{target.name}`",
                    target.position,
                    f"`--build-arg {parameters[option]}=…` gives that",
                    "",
                )


@contextmanager
def _at_work(module: Module, lowering: ImageLowering, inputs: Inputs) -> Iterator[None]:
    """While targets of a file are called: who runs what has to be run now, the platform and the build args."""
    work = module.session
    before = work.evaluate, work.inputs, work.platform, work.build_args
    work.evaluate = lowering.evaluate if lowering.runner is not None else None
    work.inputs, work.platform, work.build_args = inputs, lowering.platform, dict(lowering.options.build_args)
    try:
        yield
    finally:
        work.evaluate, work.inputs, work.platform, work.build_args = before


def find(module: Module, name: str) -> TargetFunction:
    """The target of that name, or else the one whose function has it, "" for the default one. Raises `UsageError`."""
    found = _meant(module, name)
    if found is not None:
        return found
    if any(check.name == name for check in module.checks):
        hint = f"a check makes nothing; run it with `pybuild test {module.name} {name}`"
        raise UsageError(f"`{name}` is a check", at=module.name, hint=hint)
    names = [target.name for target in module.targets]
    hint = did_you_mean(name, names) or f"the targets are {', '.join(names)}"
    raise UsageError(f"there is no target `{name}`", at=module.name, hint=hint)


def _meant(module: Module, name: str) -> TargetFunction | None:
    if not name:
        return module.default()
    named = [target for target in module.targets if target.name == name]
    of_functions = [target for target in module.targets if target.function.__name__ == name]
    found = named or of_functions
    return found[0] if len(found) == 1 else None


def _call_one(module: Module, target: TargetFunction, given: Given, lowering: ImageLowering) -> list[Target]:
    pairs = list(given.items() if hasattr(given, "items") else given)
    named = {name.replace("-", "_") for name, _ in pairs}
    args = _of_build_args(target, lowering.options, lowering.others)
    pairs += [pair for pair in args if pair[0] not in named]
    values = from_command_line(target.parameters, pairs, target.name, target.position)
    target.asked = values
    value = guarded(module.session, module.name, lambda: target.result(**values))
    default = target is module.default()
    parameters = tuple(parameter.described() for parameter in target.parameters)
    out: list[Target] = []
    # Texts are run while lowering, so the session goes on; the user's code does not, so it is not watched.
    session.enter(module.session)
    try:
        images = images_of(target, value)
        if target.tags and target.name not in [name for name, _ in images]:
            raise BuildfileError(
                f"the tags of {target.name}() name one image, and it returned several by name", at=target.position
            )
        for name, image in images:
            stage = lowering.stage(image)
            out.append(
                Target(
                    name=name,
                    step=stage.step,
                    config=stage.config,
                    history=stage.history,
                    inherited=len(stage.base_history),
                    platform=stage.platform,
                    description=target.description,
                    default=default,
                    tags=results.tags(map(plain, target.tags), target.position) if name == target.name else (),
                    outputs=stage.outputs,
                    tests=stage.tests,
                    author=stage.author,
                    host=stage.host,
                    position=target.position,
                    parameters=parameters,
                )
            )
    except PybuildError as problem:
        show_line(problem, module.name, module.path)
        raise
    finally:
        session.leave()
    return out


def images_of(target: TargetFunction, value: object) -> list[tuple[str, Image]]:
    """The images of a returned value: one, or those of a dict or list as `name.key`."""
    if isinstance(value, Image):
        return [(target.name, value)]
    if isinstance(value, dict):
        named = [(f"{target.name}.{key}", item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        named = [(f"{target.name}.{number}", item) for number, item in enumerate(value)]
    else:
        raise _wrong(target, f"returned {_kind(value)}")
    if not named:
        raise _wrong(target, f"returned an empty {type(value).__name__}")
    out: list[tuple[str, Image]] = []
    for name, item in named:
        if name in [known for known, _ in out]:
            raise _wrong(target, f"returned two images that are named `{name}`")
        if not is_name(name):
            raise _wrong(target, f"returned an image named {name!r}, which cannot be the name of a file")
        if not isinstance(item, Image):
            raise _wrong(target, f"returned {_kind(item)} as `{name}`")
        out.append((name, item))
    return out


def _wrong(target: TargetFunction, what: str) -> BuildfileError:
    return BuildfileError(
        f"the {'check' if target.is_check else 'target'} {target.name}() {what}",
        at=target.position,
        hint=f"a {'check' if target.is_check else 'target'} returns an Image, or a dict or list of them",
    )


def _kind(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__}"
