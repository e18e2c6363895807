"""What `--call` asks about a file in the place of a build: its targets, and what one of them asks for."""

from __future__ import annotations

from buildkit_py.api.check import look, read, shown_name
from buildkit_py.api.witness import Witness
from buildkit_py.frontend.buildfile.asked import Asked, BuildArg, asked
from buildkit_py.frontend.buildfile.facts import Facts
from buildkit_py.frontend.buildfile.lower import stages_of
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.check import CheckRequest
    from buildkit_py.api.request import TargetSummary
    from buildkit_py.frontend.buildfile.stages import StageTable
    from buildkit_py.frontend.buildfile.syntax import Buildfile


class Listed(Record):
    """A target, or a stage without a name (`name` is ""). `base` and `platform` are as FROM has them, not expanded.

    `lines` are the first and last of its FROM, (0, 0) for a function of a Buildfile.py.
    """

    name: str
    default: bool
    description: str
    base: str = ""
    platform: str = ""
    lines: tuple[int, int] = (0, 0)


class Answer(Record):
    """`asked` to `--call=outline`, `listed` to `--call=targets`; `source` is the file."""

    source: bytes
    asked: Asked | None = None
    listed: tuple[Listed, ...] = ()


def outline(request: CheckRequest) -> Answer:
    """What the target asks for. Raises what is wrong with the file; `UsageError` for a target that is not there."""
    if request.file.endswith(".py"):
        return Answer(_bytes(request.file), asked=_of_function(request))
    data = read(request.file)
    tree = parse_text(data, shown_name(request.file))
    facts = Facts()
    table = _stages(tree, request.file)
    target = request.target or table.last.name or "default"
    if target == "default" and any(stage.name == target and stage is not table.last for stage in table.stages):
        target = ""  # the last stage has no name that is its own, so the whole file is looked at
    look(request.replace(target=target), tree, data, facts)
    return Answer(data, asked=asked(tree, facts, request.target, dict(request.build_args)))


def targets(file: str) -> Answer:
    """The targets of a file in its order, stages without a name among them."""
    if file.endswith(".py"):
        return Answer(
            _bytes(file), listed=tuple(Listed(one.name, one.default, one.description) for one in _functions(file))
        )
    data = read(file)
    table = _stages(parse_text(data, shown_name(file)), file)
    listed = []
    for stage in table.stages:
        head = stage.head
        platform = next((flag.value or "" for flag in head.flags if flag.name == "platform"), "")
        lines = (head.position.line, head.line_end)
        default = stage is table.last
        listed.append(Listed(stage.name, default, head.doc, head.image.text, platform, lines))
    return Answer(data, listed=tuple(listed))


def _stages(tree: Buildfile, file: str) -> StageTable:
    return stages_of(tree, Witness(), "" if file == "-" else file)


def _bytes(file: str) -> bytes:
    with open(file, "rb") as opened:
        return opened.read()


def _functions(file: str) -> tuple[TargetSummary, ...]:
    from buildkit_py.api.targets import outline as summaries

    return summaries(file)


def _of_function(request: CheckRequest) -> Asked:
    """The parameters of a target of a Buildfile.py; what it mounts is known only once it runs."""
    from buildkit_py.errors import UsageError

    found = _functions(request.file)
    wanted = [one for one in found if (one.name == request.target if request.target else one.default)]
    if not wanted:
        names = ", ".join(one.name for one in found)
        raise UsageError(f"there is no target `{request.target}`", hint=f"the targets are {names}")
    target = wanted[0]
    parameters = tuple(BuildArg(name, default, text, (0, 0)) for name, _, default, text in target.parameters)
    return Asked(target.name, target.description, parameters)
