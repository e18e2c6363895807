"""What a rule is, what it finds, and the edit that would mend it."""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from buildkit_py.frontend.buildfile.checks.subject import Subject
    from buildkit_py.frontend.buildfile.syntax import Instruction
    from buildkit_py.source_map import Position

# Whose rule it is, and so when it runs: BuildKit's with every build, its experimental ones where the file asks for
# them, ours with `pybuild check` and where the file asks.
BUILDKIT, EXPERIMENTAL, OWN = "buildkit", "experimental", "own"
KINDS = {BUILDKIT: "BuildKit", EXPERIMENTAL: "BuildKit, experimental", OWN: "pybuild"}


class Edit(Record):
    """Text to put in the place of `old`, which begins at a line and a column (both from 1).

    It is made only where `old` is what stands there. `old` may hold newlines.
    """

    line: int
    column: int
    old: str
    new: str


class Finding(Record):
    """Something that a rule found.

    `node` is the instruction that it is about, whose first line BuildKit
    names; `position` is the exact place. `lines` replaces the node's own
    first and last line. `edits` mend it without changing what the file means;
    none where that takes a person. `width` is how much is underlined.
    """

    node: Instruction
    message: str
    position: Position
    edits: tuple[Edit, ...] = ()
    lines: tuple[int, int] = (0, 0)
    width: int = 0
    rule: str = ""

    @property
    def first_line(self) -> int:
        """The line that BuildKit gives for it."""
        return self.lines[0] or self.node.position.line

    @property
    def last_line(self) -> int:
        """The last line of the instruction."""
        return self.lines[1] or self.node.line_end


class Rule(Record):
    """`summary` says what should be so, `advice` what to do; `fixes`: some of what it finds mends itself."""

    name: str
    kind: str
    summary: str
    advice: str
    find: Callable[[Subject], Iterable[Finding]]
    fixes: bool = False

    @property
    def slug(self) -> str:
        """The name in lower case with dashes, as in the address of BuildKit's page."""
        out = ""
        for at, ch in enumerate(self.name):
            begins = ch.isupper() and at > 0 and (self.name[at - 1].islower() or self.name[at + 1 : at + 2].islower())
            out += ("-" if begins else "") + ch.lower()
        return out

    @property
    def url(self) -> str:
        """BuildKit's page of the rule, "" where it has none."""
        if self.kind == OWN or self.name == "InvalidBaseImagePlatform":
            return ""
        return f"https://docs.docker.com/go/dockerfile/rule/{self.slug}/"

    @property
    def page(self) -> str:
        """Our page of the rule."""
        return f"docs/reference/checks/{self.name}.md"
