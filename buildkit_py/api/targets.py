"""From a file and what is wanted of it to targets: which door the file goes through."""

from __future__ import annotations

import os
import sys

from buildkit_py.api.request import TargetSummary
from buildkit_py.errors import SourceError, UsageError
from buildkit_py.events import Notice
from buildkit_py.frontend.entitlements import HOST_NETWORK
from buildkit_py.frontend.target import Options, Resolved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.ahead import Ahead
    from buildkit_py.api.pins import ImagePins
    from buildkit_py.api.request import BuildRequest
    from buildkit_py.api.session import Session
    from buildkit_py.api.witness import Witness
    from buildkit_py.frontend.buildfile.syntax import Buildfile
    from buildkit_py.frontend.target import Target
    from buildkit_py.registry.resolve import ImageResolver
    from buildkit_py.source_map import Position


class _Resolver:
    """The frontends' `Resolver`: the registry's, made when the first image is named."""

    def __init__(self, session: Session, pull: bool, witness: Witness, pins: ImagePins) -> None:
        self._pins = pins
        self._session = session
        self._pull = pull
        self._witness = witness
        self._images: ImageResolver | None = None

    def resolve(self, reference: str, platform: str, position: Position | None) -> Resolved:
        """What an image name stands for now."""
        if self._images is None:
            self._images = self._session.resolver()
        named, asked = self._pins.image(reference, position)
        found = self._images.resolve(named, platform, position, pull=asked or self._pull)
        self._pins.took(reference, found)
        if "://" in reference:
            # An archive or a layout on disk: it is looked at each time, so the first tier must look, too.
            self._witness.impure(f"{reference} is read anew by each build")
        else:
            self._witness.name(self._session.store.images.path(found.reference), found.digest)
        return Resolved(found.reference, found.digest, found.platform, found.layers, found.document)


def _network(asked: str, configured: str) -> str:
    """The network of each Run that asks for none itself.

    That there is none is part of its key: what a command made without one must not be taken for what it makes with one.
    The isolated one and the machine's reach the same world, and a build is the same on machines that differ in that.
    """
    return "none" if asked == "default" and configured == "none" else asked


def targets(
    request: BuildRequest, session: Session, witness: Witness, ahead: Ahead, pins: ImagePins, *, testing: bool = False
) -> tuple[Target, ...]:
    """The wanted targets of the request's file, lowered to graphs. Raises what the frontends raise.

    What is odd but no error goes to the witness's notices. `ahead` does the
    steps without which there is no graph. With `testing` the targets have
    their tests. `pins` say what names of images stand for.
    """
    options = Options(
        context=request.context,
        build_args=request.build_args,
        build_contexts=request.build_contexts,
        platform=request.platform,
        network=_network(request.network, session.config.network),
        allow=request.allow + (HOST_NETWORK,) * ("host" in (request.network, session.config.network)),
        hosts=request.hosts,
        no_cache=request.no_cache,
        no_cache_filter=request.no_cache_filter,
        normalize=request.normalize or session.config.normalize,
    )
    resolver = _Resolver(session, request.pull, witness, pins)

    def notice(message: str, position: Position | None, hint: str, rule: str) -> None:
        told = Notice("warning", message, position, hint, rule)
        if told not in witness.notices:  # a file may be lowered several times
            witness.notices.append(told)

    if not request.remote and is_python(request.file):
        from buildkit_py.frontend.python.load import load
        from buildkit_py.frontend.python.lower import call, tell_of_options

        witness.file(request.file)
        module = load(request.file, witness, name=os.path.relpath(request.file))
        wanted = [(target.name, target.parameters) for target in request.targets]
        if request.test and not any(name for name, _ in wanted):
            for name, _ in [pair for _, given in wanted for pair in given]:
                raise UsageError(
                    f"`--{name}` is for a target, and none is named",
                    hint=f"name the target that is to be tested, as in `pybuild test TARGET --{name}=…`",
                )
            wanted = []  # all of them
        tell_of_options(module, [name for name, _ in wanted], request.spelled, options, notice)
        return call(module, wanted, options, resolver, witness, runner=ahead.text, notice=notice, testing=testing)
    from buildkit_py.frontend.buildfile.lower import lower

    cache, file, text = session.store.path("memo"), "", b""
    if request.remote:
        from buildkit_py.api.remote_context import open_context
        from buildkit_py.frontend.buildfile.parse import parse_text

        opened = open_context(request, session.store, witness, ahead.take)
        text = opened.text
        tree = parse_text(text, opened.name, cache_dir=cache)
        options = options.replace(source=opened.context)
    else:
        tree = _parse(request.file, cache, witness)
        file = "" if request.file == "-" else request.file
    # A parameter of a stage is an ARG: `pybuild Buildfile web --VERSION=2` is `--build-arg VERSION=2`, for that target.
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for target in request.targets:
        groups.setdefault(target.parameters, []).append(target.name)
    made = {
        parameters: lower(
            tree,
            options.replace(build_args=(*options.build_args, *parameters)) if parameters else options,
            resolver,
            witness,
            targets=() if names == [""] else tuple(names),
            file=file,
            text=text,
            cache_dir="" if request.remote else cache,
            runner=ahead.text,
            notice=notice,
            testing=testing,
            everything=request.test,
        )
        for parameters, names in (groups or {(): [""]}).items()
    }
    if len(made) == 1:
        return next(iter(made.values()))
    left = {parameters: iter(found) for parameters, found in made.items()}
    return tuple(next(left[target.parameters]) for target in request.targets)


def outline(file: str) -> tuple[TargetSummary, ...]:
    """The targets of a file, without resolving or building anything."""
    from buildkit_py.api.witness import Witness

    witness = Witness()
    if is_python(file):
        from buildkit_py.frontend.python.load import load
        from buildkit_py.frontend.python.lower import targets as summaries

        found = summaries(load(file, witness))
    else:
        from buildkit_py.frontend.buildfile.lower import outline as buildfile_outline

        found = buildfile_outline(_parse(file, "", witness), witness, "" if file == "-" else file)
    return tuple(TargetSummary(one.name, one.description, one.default, one.parameters) for one in found)


def is_python(file: str) -> bool:
    """Whether a file goes through the Python door; only its name decides, never what is in it."""
    return file.endswith(".py")


def _parse(file: str, cache_dir: str, witness: Witness) -> Buildfile:
    from buildkit_py.frontend.buildfile.parse import parse_file, parse_text

    if file == "-":
        witness.impure("the Buildfile came from standard input")
        return parse_text(sys.stdin.buffer.read(), "<stdin>", cache_dir=cache_dir)
    witness.file(file)
    if os.path.isdir(file):
        raise SourceError("this is a directory, not a Buildfile", at=file, hint=f"pybuild build {file}")
    return parse_file(file, name=os.path.relpath(file), cache_dir=cache_dir)
