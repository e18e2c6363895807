"""The parse itself: logical lines through the grammar's tables, and refusals as errors people can act on."""

from __future__ import annotations

from buildkit_py.frontend.buildfile import grammar
from buildkit_py.frontend.buildfile.instructions import build
from buildkit_py.frontend.buildfile.lines import Source
from buildkit_py.frontend.buildfile.suggest import did_you_mean, nearest
from buildkit_py.frontend.buildfile.syntax import Buildfile
from buildkit_py.frontend.buildfile.tables import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lark.exceptions import UnexpectedInput

    from buildkit_py.errors import BuildfileSyntaxError
    from buildkit_py.frontend.buildfile.lines import Line

USAGE = {
    "ADD": "ADD [FLAGS] SOURCE... DESTINATION",
    "ARG": "ARG NAME[=DEFAULT] ...",
    "CMD": 'CMD ["PROGRAM", "ARGUMENT", ...] or CMD COMMAND',
    "COPY": "COPY [FLAGS] SOURCE... DESTINATION",
    "ENTRYPOINT": 'ENTRYPOINT ["PROGRAM", "ARGUMENT", ...] or ENTRYPOINT COMMAND',
    "ENV": "ENV NAME=VALUE ...",
    "EXPOSE": "EXPOSE PORT[/PROTOCOL] ...",
    "FROM": "FROM [--platform=PLATFORM] IMAGE [AS NAME]",
    "HEALTHCHECK": "HEALTHCHECK [FLAGS] CMD COMMAND or HEALTHCHECK NONE",
    "LABEL": "LABEL NAME=VALUE ...",
    "MAINTAINER": "MAINTAINER NAME",
    "ONBUILD": "ONBUILD INSTRUCTION",
    "RUN": 'RUN [FLAGS] COMMAND or RUN [FLAGS] ["PROGRAM", "ARGUMENT", ...]',
    "SHELL": 'SHELL ["PROGRAM", "ARGUMENT", ...]',
    "STOPSIGNAL": "STOPSIGNAL SIGNAL",
    "USER": "USER NAME[:GROUP]",
    "VOLUME": "VOLUME PATH ...",
    "WORKDIR": "WORKDIR PATH",
}
_NOT_TRIGGERS = ("FROM", "MAINTAINER", "ONBUILD")

# What a terminal is called; where that depends on the instruction, `KEYWORD TERMINAL` comes first.
_NAMES = {
    "ADD WORD": "a source and a destination",
    "COPY WORD": "a source and a destination",
    "EXPOSE WORD": "a port",
    "FROM WORD": "an image",
    "VOLUME WORD": "a path",
    "MAINTAINER TEXT": "a name",
    "STOPSIGNAL TEXT": "a signal",
    "USER TEXT": "a user",
    "WORKDIR TEXT": "a path",
    "AS": "`AS`",
    "STAGE": "a stage name",
    "EXEC_FORM": "a JSON array of strings",
    "TEXT": "a command",
    "NAME_OR_PAIR": "a name",
    "PAIR": "`NAME=VALUE`",
    "NONE": "`NONE`",
    "HEALTH_CMD": "`CMD`",
    "_NL": "the end of the line",
}


def read(text: bytes, name: str, cache_dir: str = "") -> Buildfile:
    """The tree of a text. Raises `BuildfileSyntaxError`."""
    source = Source(text, name)
    logical = "".join([line.text + "\n" for line in source.lines])
    tree = grammar.tables(source.escape, cache_dir).parse(logical)
    if tree is None:
        refusal = _refusal(logical, source.escape)
        raise _explain(refusal, source) from refusal
    instructions = tuple([build(child, source) for child in tree.children if isinstance(child, Tree)])
    return Buildfile(name, instructions, source.escape, tuple(source.directives.found.items()), tuple(source.warnings))


def _refusal(logical: str, escape: str) -> UnexpectedInput:
    """What Lark says of a text that the tables refuse."""
    from lark.exceptions import UnexpectedInput

    try:
        grammar.parser(escape).parse(logical)
    except UnexpectedInput as refusal:
        return refusal
    raise AssertionError("the tables refuse what Lark takes")


def _explain(refusal: UnexpectedInput, source: Source) -> BuildfileSyntaxError:
    from lark.exceptions import UnexpectedCharacters, UnexpectedToken

    allowed: set[str] = set()
    if isinstance(refusal, UnexpectedCharacters):
        allowed = set(refusal.allowed or ())
    elif isinstance(refusal, UnexpectedToken):
        allowed = set(refusal.expected)
    line = source.lines[min(refusal.line, len(source.lines)) - 1]
    offset = min(refusal.column - 1, len(line.text))
    found = (line.text[offset:].split(None, 1) or [""])[0]
    explain = _bad_keyword if "RUN" in allowed else _bad_argument
    message, hint = explain(source, line, offset, found, allowed)
    row, column = line.place(offset)
    return source.error(message, row, column, width=len(found) or 1, hint=hint)


def _bad_keyword(source: Source, line: Line, offset: int, found: str, _: set[str]) -> tuple[str, str]:
    """Message and hint where an instruction should begin: the line, or what ONBUILD triggers."""
    if not found:
        return "ONBUILD expects an instruction, but the line ends", _usage("ONBUILD")
    if offset and found.upper() in _NOT_TRIGGERS:
        return f"{found.upper()} cannot be an ONBUILD trigger", ""
    hint = did_you_mean(found, [keyword for keyword in USAGE if not offset or keyword not in _NOT_TRIGGERS])
    if not hint and not offset and line is not source.lines[0]:
        escape = "a backtick" if source.escape == "`" else "`\\`"
        hint = f"if this belongs to the line above, end that line with {escape}"
    return f"unknown instruction `{found}`", hint


def _bad_argument(source: Source, line: Line, offset: int, found: str, allowed: set[str]) -> tuple[str, str]:
    """Message and hint for what follows a keyword."""
    before = line.text[:offset].upper().split()
    keyword = before[1] if before[0] == "ONBUILD" and len(before) > 1 else before[0]
    if "STAGE" in allowed and found:
        hint = "a name begins with a letter and holds letters, digits, `-`, `_` and `.`"
        return f"`{found}` cannot be the name of a stage", hint
    wanted = _names(allowed, keyword)
    if keyword in ("ADD", "COPY") and "EXEC_FORM" not in allowed:
        wanted = "a destination"
    if not found:
        return f"{keyword} expects {wanted}, but the line ends", _usage(keyword)
    hint = _usage(keyword)
    if found.startswith("--"):
        hint = f"flags stand right behind {keyword}"
    elif "AS" in allowed and nearest(found, ("AS",)):
        hint = "did you mean `AS`?"
    elif "PAIR" in allowed:
        hint = "quote a value that holds spaces"
    return f"{keyword} expects {wanted}, not `{found}`", hint


def _names(allowed: set[str], keyword: str) -> str:
    """The terminals that may stand there, in words."""
    names = [
        _NAMES.get(f"{keyword} {terminal}") or _NAMES.get(terminal, "") for terminal in sorted(allowed, key=_order)
    ]
    distinct = list(dict.fromkeys([name for name in names if name]))
    return " or ".join(filter(None, (", ".join(distinct[:-1]), *distinct[-1:])))


def _order(terminal: str) -> tuple[bool, bool, str]:
    """The usual form first, the end of the line last."""
    return terminal == "_NL", terminal == "EXEC_FORM", terminal


def _usage(keyword: str) -> str:
    return f"usage: {USAGE[keyword]}" if keyword in USAGE else ""
