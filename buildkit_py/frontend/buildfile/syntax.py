"""The typed syntax tree of a Buildfile: one record an instruction, nothing expanded yet.

Texts are as written (quotes, escapes and `$` kept) because expansion needs
the state of the stage; only what the lexer must decide (continuation lines,
heredoc bodies, flags, JSON forms, words) is decided here. Every node has its
`position`; `line_end` is the last physical line it covers.
"""

from __future__ import annotations

from buildkit_py.record import Record
from buildkit_py.source_map import Position

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from buildkit_py.frontend.buildfile.expanded import Marker
    from buildkit_py.frontend.buildfile.own_words import OwnWord


class Word(Record):
    """One word as written: quotes, escapes and `$` still in it."""

    text: str
    position: Position


class Flag(Record):
    """`--name=value`; `value` None where there is no `=`."""

    name: str
    value: str | None
    position: Position


class Heredoc(Record):
    """`body` ends with a newline unless empty; leading tabs are gone already under `<<-`. `written` still has them: a
    command that takes the heredoc itself, in its shell, gets that.

    `expand` is False where any part of the delimiter was quoted.
    """

    name: str
    body: str
    expand: bool
    strip_tabs: bool
    position: Position
    fd: int = 0
    written: str = ""


class Pair(Record):
    """`key=value` of ENV, LABEL or ARG, quotes kept. `value` None: ARG without a default.

    `legacy`: written `ENV key value`.
    """

    key: str
    value: str | None
    position: Position
    legacy: bool = False


class Command(Record):
    """What RUN, CMD, ENTRYPOINT or a health check runs: `argv` (JSON form) or `shell` text, never both.

    For RUN with heredocs, `shell` is the command line without the bodies.
    """

    shell: str | None
    argv: tuple[str, ...] | None
    position: Position


class From(Record):
    """`doc` is the comment directly above (target description).

    `variables` are those of the blocks around it, with their values: the parser leaves none, expansion puts them there.
    """

    image: Word
    name: str
    flags: tuple[Flag, ...]
    position: Position
    line_end: int
    doc: str = ""
    keyword: str = "FROM"
    source: str = ""
    variables: tuple[tuple[str, str], ...] = ()


class Arg(Record):
    pairs: tuple[Pair, ...]
    position: Position
    line_end: int
    doc: str = ""
    keyword: str = "ARG"
    source: str = ""


class Env(Record):
    pairs: tuple[Pair, ...]
    position: Position
    line_end: int
    keyword: str = "ENV"
    source: str = ""


class Label(Record):
    pairs: tuple[Pair, ...]
    position: Position
    line_end: int
    keyword: str = "LABEL"
    source: str = ""


class RunStep(Record):
    command: Command
    flags: tuple[Flag, ...]
    heredocs: tuple[Heredoc, ...]
    position: Position
    line_end: int
    keyword: str = "RUN"
    source: str = ""


class Transfer(Record):
    """COPY or ADD (see `keyword`). A source that names a heredoc is in `heredocs`, and its word is `<<NAME`."""

    sources: tuple[Word, ...]
    dest: Word
    flags: tuple[Flag, ...]
    heredocs: tuple[Heredoc, ...]
    position: Position
    line_end: int
    keyword: str = "COPY"
    source: str = ""


class Cmd(Record):
    command: Command
    position: Position
    line_end: int
    keyword: str = "CMD"
    source: str = ""


class Entrypoint(Record):
    command: Command
    position: Position
    line_end: int
    keyword: str = "ENTRYPOINT"
    source: str = ""


class Shell(Record):
    argv: tuple[str, ...]
    position: Position
    line_end: int
    keyword: str = "SHELL"
    source: str = ""


class Workdir(Record):
    path: Word
    position: Position
    line_end: int
    keyword: str = "WORKDIR"
    source: str = ""


class User(Record):
    user: Word
    position: Position
    line_end: int
    keyword: str = "USER"
    source: str = ""


class Expose(Record):
    ports: tuple[Word, ...]
    position: Position
    line_end: int
    keyword: str = "EXPOSE"
    source: str = ""


class Volume(Record):
    paths: tuple[Word, ...]
    json: bool
    position: Position
    line_end: int
    keyword: str = "VOLUME"
    source: str = ""


class StopSignal(Record):
    signal: Word
    position: Position
    line_end: int
    keyword: str = "STOPSIGNAL"
    source: str = ""


class HealthcheckStep(Record):
    """`command` None: HEALTHCHECK NONE."""

    command: Command | None
    flags: tuple[Flag, ...]
    position: Position
    line_end: int
    keyword: str = "HEALTHCHECK"
    source: str = ""


class OnBuild(Record):
    """`text` is the raw trigger, heredocs included, as the image config stores it."""

    text: str
    trigger: Instruction
    position: Position
    line_end: int
    keyword: str = "ONBUILD"
    source: str = ""


class Maintainer(Record):
    author: str
    position: Position
    line_end: int
    keyword: str = "MAINTAINER"
    source: str = ""


class Buildfile(Record):
    """A whole file, in order. `escape` is `\\` or a backtick; `directives` are (name, value).

    `empty_lines` are those inside instructions: the place of the first, (row, text) of each, the instruction's last
    row without its heredocs. `comments` are the comment lines directly above the instruction of a line.
    """

    path: str
    instructions: tuple[Instruction, ...]
    escape: str = "\\"
    directives: tuple[tuple[str, str], ...] = ()
    empty_lines: tuple[tuple[Position, tuple[tuple[int, str], ...], int], ...] = ()
    comments: tuple[tuple[int, tuple[str, ...]], ...] = ()


if TYPE_CHECKING:
    Instruction: TypeAlias = (
        From
        | Arg
        | Env
        | Label
        | RunStep
        | Transfer
        | Cmd
        | Entrypoint
        | Shell
        | Workdir
        | User
        | Expose
        | Volume
        | StopSignal
        | HealthcheckStep
        | OnBuild
        | Maintainer
        | OwnWord
        | Marker
    )
