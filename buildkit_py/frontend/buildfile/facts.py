"""What lowering saw of a Buildfile, written down for the checks: which instructions a build met, in which state.

A rule that needs the scope of a word (is this variable set?) does not work
it out anew: lowering does, and leaves it here.
"""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.assemble import Stage
    from buildkit_py.frontend.buildfile.expand import Expansion
    from buildkit_py.frontend.buildfile.stages import StageNode, StageTable
    from buildkit_py.frontend.buildfile.syntax import From, Instruction
    from buildkit_py.frontend.target import Resolved
    from buildkit_py.source_map import Position


class Applied(Record):
    """An instruction that was applied to a stage, which was in the state `before`.

    `trigger`: it is an ONBUILD of the base, and stands in no line of this file.
    """

    stage: StageNode
    node: Instruction
    before: Stage
    trigger: bool

    @property
    def line_of(self) -> Instruction:
        """The instruction whose line shows it: a trigger is shown at the FROM that ran it."""
        return self.stage.head if self.trigger else self.node


class Unset(Record):
    """A variable that a word of an instruction asked for and that was neither set nor declared.

    `known` are the variables that were set.
    """

    applied: Applied
    name: str
    at: Position
    known: tuple[str, ...]


class Base(Record):
    """A FROM whose words were expanded with the global ARGs; `platform` None: not given."""

    head: From
    image: Expansion
    platform: Expansion | None


class BaseImage(Record):
    """An image that a FROM starts from, by the name that its word came to, resolved for a platform."""

    head: From
    name: str
    platform: str
    image: Resolved


class Facts:
    """All of it, in the order in which it happened.

    `table` None: it could not be made. `globals` are the values of the global ARGs that are set, the predefined ones
    included, and `defaults` what they would be without any build arg, None where that is an error. `ignore` are the
    patterns of the context's ignore file, `context` its directory, "" where nothing was taken from it. `unknown` are
    images that could not be looked at (`*`: any of them), so that what they set is not known. `impure` says what a
    check looked at that cannot be looked at later, "" for nothing.
    """

    def __init__(self) -> None:
        self.table: StageTable | None = None
        self.applied: list[Applied] = []
        self.unset: list[Unset] = []
        self.bases: list[Base] = []
        self.images: list[BaseImage] = []
        self.globals: dict[str, str] = {}
        self.defaults: dict[str, str] | None = None
        self.ignore: tuple[str, ...] = ()
        self.context = ""
        self.unknown: set[str] = set()
        self.impure = ""

    def knows(self, stage: StageNode) -> bool:
        """Whether the image at the bottom of a stage was looked at, so that all of its variables are known."""
        node = stage
        while node.base is not None:
            node = node.base
        return not self.unknown & {node.base_name, "*"}
