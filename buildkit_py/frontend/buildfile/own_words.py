"""The typed syntax tree of the Buildfile's own words: what BuildKit does not know, one record a word.

As in `syntax.py`, texts are as written and nothing is expanded. A block holds
its instructions in `body`; its `position` is that of its opening keyword, its
`line_end` the line of its END.
"""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from buildkit_py.frontend.buildfile.syntax import Command, Flag, Heredoc, Pair, Word
    from buildkit_py.source_map import Position


class Include(Record):
    """`name` is that of `--as`, "" without one."""

    path: Word
    name: str
    position: Position
    line_end: int
    keyword: str = "INCLUDE"
    source: str = ""


class Function(Record):
    """`doc` is the comment directly above."""

    name: str
    body: tuple[Instruction, ...]
    position: Position
    line_end: int
    doc: str = ""
    keyword: str = "FUNCTION"
    source: str = ""


class Do(Record):
    """`function` is the name, with the `NAME.` of an INCLUDE; every argument has a value, its quotes kept."""

    function: Word
    arguments: tuple[Pair, ...]
    position: Position
    line_end: int
    keyword: str = "DO"
    source: str = ""


class Branch(Record):
    """One way of an IF. `condition` None: ELSE."""

    condition: Condition | None
    body: tuple[Instruction, ...]
    position: Position
    keyword: str
    source: str = ""


class If(Record):
    """The branches in order: IF, every ELIF, and ELSE where there is one."""

    branches: tuple[Branch, ...]
    position: Position
    line_end: int
    keyword: str = "IF"
    source: str = ""


class For(Record):
    """`words` may expand to several values each, or to none."""

    variable: str
    words: tuple[Word, ...]
    body: tuple[Instruction, ...]
    position: Position
    line_end: int
    keyword: str = "FOR"
    source: str = ""


class Let(Record):
    """`command` is what stands between `$(` and `)`, always in the shell form."""

    name: str
    command: Command
    position: Position
    line_end: int
    keyword: str = "LET"
    source: str = ""


class Output(Record):
    """`dest` None: not given."""

    path: Word
    dest: Word | None
    position: Position
    line_end: int
    keyword: str = "OUTPUT"
    source: str = ""


class Service(Record):
    """`name` may hold variables, as that of a FROM. `doc` is the comment directly above.

    `variables` are those of the blocks around it, with their values: the parser leaves none.
    """

    name: str
    image: Word
    flags: tuple[Flag, ...]
    position: Position
    line_end: int
    doc: str = ""
    keyword: str = "SERVICE"
    source: str = ""
    variables: tuple[tuple[str, str], ...] = ()


class Tag(Record):
    names: tuple[Word, ...]
    position: Position
    line_end: int
    keyword: str = "TAG"
    source: str = ""


class Test(Record):
    """As `syntax.RunStep`; `--name` is among the flags."""

    command: Command
    flags: tuple[Flag, ...]
    heredocs: tuple[Heredoc, ...]
    position: Position
    line_end: int
    keyword: str = "TEST"
    source: str = ""


# Conditions


class Compare(Record):
    """`operator` is `==`, `!=`, `in` or `matches`."""

    operator: str
    left: Word
    right: Word
    position: Position


class Defined(Record):
    name: str
    position: Position


class Not(Record):
    part: Condition
    position: Position


class All(Record):
    """`and`: at least two parts."""

    parts: tuple[Condition, ...]
    position: Position


class Some(Record):
    """`or`: at least two parts."""

    parts: tuple[Condition, ...]
    position: Position


if TYPE_CHECKING:
    Condition: TypeAlias = Compare | Defined | Not | All | Some
    OwnWord: TypeAlias = Include | Function | Do | If | For | Let | Output | Service | Tag | Test

    # Below the union that it is made of, for who imports these types when the program runs.
    from buildkit_py.frontend.buildfile.syntax import Instruction
