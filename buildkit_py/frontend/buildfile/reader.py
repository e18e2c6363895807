"""The parse itself: logical lines through the grammar's tables, and refusals as errors people can act on."""

from __future__ import annotations

from buildkit_py.frontend.buildfile import flags, grammar
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
    "DO": "DO FUNCTION [--NAME=VALUE ...]",
    "ENTRYPOINT": 'ENTRYPOINT ["PROGRAM", "ARGUMENT", ...] or ENTRYPOINT COMMAND',
    "ENV": "ENV NAME=VALUE ...",
    "EXPOSE": "EXPOSE PORT[/PROTOCOL] ...",
    "FOR": "FOR NAME IN WORD ...",
    "FROM": "FROM [--platform=PLATFORM] IMAGE [AS NAME]",
    "FUNCTION": "FUNCTION NAME",
    "HEALTHCHECK": "HEALTHCHECK [FLAGS] CMD COMMAND or HEALTHCHECK NONE",
    "IF": 'IF CONDITION, such as IF $NAME == "value" and not defined OTHER',
    "INCLUDE": "INCLUDE PATH [--as NAME]",
    "LABEL": "LABEL NAME=VALUE ...",
    "LET": "LET NAME = $(COMMAND)",
    "MAINTAINER": "MAINTAINER NAME",
    "ONBUILD": "ONBUILD INSTRUCTION",
    "OUTPUT": "OUTPUT PATH [DESTINATION]",
    "RUN": 'RUN [FLAGS] COMMAND or RUN [FLAGS] ["PROGRAM", "ARGUMENT", ...]',
    "SERVICE": "SERVICE NAME FROM IMAGE [FLAGS]",
    "SHELL": 'SHELL ["PROGRAM", "ARGUMENT", ...]',
    "STOPSIGNAL": "STOPSIGNAL SIGNAL",
    "TAG": "TAG NAME[:TAG] ...",
    "TEST": 'TEST [--name=NAME] [FLAGS] COMMAND or TEST [FLAGS] ["PROGRAM", "ARGUMENT", ...]',
    "USER": "USER NAME[:GROUP]",
    "VOLUME": "VOLUME PATH ...",
    "WORKDIR": "WORKDIR PATH",
}
_BLOCKS = ("FOR", "FUNCTION", "IF")
_NESTING = frozenset(("for", "function", "if"))
# Each level takes some of Python's own nesting.
_DEEPEST = 50
_NOT_TRIGGERS = (
    *("FROM", "MAINTAINER", "ONBUILD", "INCLUDE", "DO", "LET", "OUTPUT", "SERVICE", "TAG", "TEST"),
    *(*_BLOCKS, "ELIF", "ELSE", "END"),
)

# What a terminal is called; where that depends on the instruction, `KEYWORD TERMINAL` comes first.
_NAMES = {
    "ADD WORD": "a source and a destination",
    "COPY WORD": "a source and a destination",
    "EXPOSE WORD": "a port",
    "DO FLAG": "`--NAME=VALUE`",
    "DO STAGE": "the name of a function",
    "FOR NAME_OR_PAIR": "a word",
    "FROM WORD": "an image",
    "FUNCTION STAGE": "a name",
    "INCLUDE STAGE": "a name",
    "INCLUDE WORD": "the path of a Buildfile",
    "LET VARIABLE": "the name of a variable",
    "OUTPUT WORD": "a path",
    "SERVICE FLAG": "a flag",
    "SERVICE FROM": "`FROM`",
    "SERVICE STAGE_OF": "a name",
    "SERVICE WORD": "an image",
    "TAG WORD": "a name",
    "VOLUME WORD": "a path",
    "MAINTAINER TEXT": "a name",
    "STOPSIGNAL TEXT": "a signal",
    "USER TEXT": "a user",
    "WORKDIR TEXT": "a path",
    "AS": "`AS`",
    "AS_FLAG": "`--as NAME`",
    "CAPTURED": "`$(COMMAND)`",
    "COMPARISON": "`==`, `!=`, `in` or `matches`",
    "IN": "`IN`",
    "OPERAND": "a condition",
    "VARIABLE": "a name",
    "_AND": "`and`",
    "_ASSIGN": "`=`",
    "_CLOSE": "`)`",
    "_OR": "`or`",
    "STAGE_OF": "a stage name",
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
    tables = grammar.tables(source.escape, cache_dir)
    tree = tables.parse(logical)
    tables.expressions.keep()
    if tree is None:
        refusal = _refusal(logical, source.escape)
        raise _explain(refusal, source) from refusal
    if any(isinstance(child, Tree) and child.data in _NESTING for child in tree.children):
        _check_depth(source)
    instructions = tuple([build(child, source) for child in tree.children if isinstance(child, Tree)])
    comments = tuple([(line.rows[0], line.comments) for line in source.lines if line.comments])
    directives = tuple(source.directives.found.items())
    return Buildfile(name, instructions, source.escape, directives, tuple(source.empty_lines), comments)


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
        if refusal.token.type == "$END" and "END" in allowed:
            return _open_block(source)
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
    keyword = found.upper()
    if offset and keyword in _NOT_TRIGGERS:
        return f"{keyword} cannot be an ONBUILD trigger", ""
    if keyword in ("ELIF", "ELSE", "END", "FUNCTION"):
        return _misplaced(source, line, keyword)
    hint = did_you_mean(found, [known for known in USAGE if _is_likely(known, trigger=offset > 0)])
    if not hint and not offset and line is not source.lines[0]:
        hint = f"if this belongs to the line above, end that line with {_escape(source)}"
    return f"unknown instruction `{found}`", hint


def _is_likely(keyword: str, *, trigger: bool) -> bool:
    """Whether a mistyped word may have meant this one. A block's three letters are near to too much: `foo`, `fi`."""
    return keyword not in _NOT_TRIGGERS or not (trigger or (len(keyword) <= 3))


def _blocks(source: Source, before: Line | None = None) -> list[tuple[str, Line]]:
    """The blocks that are open at a line (None: at the end), outermost first, each with its last keyword and its line.

    Only for an error: the first word of a line that is an argument of ours is none of these.
    """
    found: list[tuple[str, Line]] = []
    for line in source.lines:
        if line is before:
            break
        keyword = line.text.split(None, 1)[0].upper()
        keyword = "IF" if keyword.startswith("IF(") else keyword
        if keyword in _BLOCKS:
            found.append((keyword, line))
        elif keyword == "END":
            found.pop()
        elif keyword == "ELSE":
            found[-1] = (keyword, found[-1][1])
    return found


def _check_depth(source: Source) -> None:
    """Raise for a block that too many others are around."""
    depth = 0
    for line in source.lines:
        keyword = line.text.split(None, 1)[0].upper()
        if keyword in _BLOCKS or keyword.startswith("IF("):
            depth += 1
        elif keyword == "END":
            depth -= 1
        if depth > _DEEPEST:
            row, column = line.place(0)
            raise source.error(
                f"blocks are nested more than {_DEEPEST} deep", row, column, width=len(keyword), hint="use a FUNCTION"
            )


def _open_block(source: Source) -> BuildfileSyntaxError:
    """The error for a file that ends inside a block: it stands where that began."""
    _, line = _blocks(source)[-1]
    keyword = line.text[:2] if line.text[:3].upper() == "IF(" else line.text.split(None, 1)[0]
    hint = "end it with a line that is `END`"
    if len(line.text) > len(keyword) and line is not source.lines[0] and keyword.islower():
        hint = f"{hint}; if it belongs to the command above, end that line with {_escape(source)}"
    row, column = line.place(0)
    return source.error(f"this {keyword.upper()} has no END", row, column, width=len(keyword), hint=hint)


def _misplaced(source: Source, line: Line, keyword: str) -> tuple[str, str]:
    """Message and hint for a word of a block that stands where none of its kind may."""
    blocks = _blocks(source, line)
    if keyword == "FUNCTION":
        opening, begin = blocks[-1]
        opening = "IF" if opening == "ELSE" else opening
        message = f"a FUNCTION cannot stand inside another block, and line {begin.rows[0]} opens {_article(opening)}"
        return message, f"move it out of there, or end the {opening} above with `END`"
    if not blocks:
        hint = _usage("IF") if keyword != "END" else "remove it, or begin a block above it with IF, FOR or FUNCTION"
        return f"{keyword} stands outside a block", hint
    opening, begin = blocks[-1]
    if opening == "ELSE":
        return f"{keyword} comes after the ELSE of the IF of line {begin.rows[0]}", "ELSE is its last branch"
    return (
        f"{keyword} belongs to an IF, but line {begin.rows[0]} opened {_article(opening)}",
        "end that with `END` first",
    )


def _article(keyword: str) -> str:
    return f"{'an' if keyword == 'IF' else 'a'} {keyword}"


def _escape(source: Source) -> str:
    return "a backtick" if source.escape == "`" else "`\\`"


def _bad_argument(source: Source, line: Line, offset: int, found: str, allowed: set[str]) -> tuple[str, str]:
    """Message and hint for what follows a keyword."""
    before = line.text[:offset].upper().split()
    keyword = before[1] if before[0] == "ONBUILD" and len(before) > 1 else before[0]
    if ("STAGE" in allowed or "STAGE_OF" in allowed) and found:
        hint = "a name begins with a letter and holds letters, digits, `-`, `_` and `.`"
        return f"`{found}` cannot be the name of a {'service' if keyword == 'SERVICE' else 'stage'}", hint
    if line.text[:offset].count("(") <= line.text[:offset].count(")"):
        allowed = allowed - {"_CLOSE"}
    wanted = _names(allowed, keyword)
    keyword = "IF" if keyword.startswith("IF(") else keyword
    if keyword in ("ADD", "COPY") and "EXEC_FORM" not in allowed:
        wanted = "a destination"
    if not found:
        return f"{keyword} expects {wanted}, but the line ends", _usage(keyword)
    hint = _usage(keyword)
    if found.startswith("--") and keyword in flags.FLAGS and keyword != "SERVICE":
        hint = f"flags stand right behind {keyword}"
    elif keyword == "DO" and "=" in found:
        hint = f"write `--{found}`"
    elif "AS" in allowed and nearest(found, ("AS",)):
        hint = "did you mean `AS`?"
    elif "COMPARISON" in allowed and found[0] == "=":
        hint = "did you mean `==`?"
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
    keyword = "IF" if keyword in ("ELIF", "ELSE") else keyword
    return f"usage: {USAGE[keyword]}" if keyword in USAGE else ""
