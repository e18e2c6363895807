"""Python source as text: literals, calls and chains of them, broken into lines where they are too long."""

from __future__ import annotations

import keyword

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH = 100
_INDENT = "    "
# Deeper chains than this are cut: Python's compiler goes down one level for each call.
_LONGEST_CHAIN = 100


def literal(text: str) -> str:
    """A `str` literal on one line, in double quotes where that needs no escapes."""
    plain = repr(text)
    return f'"{plain[1:-1]}"' if plain[0] == "'" and '"' not in text else plain


def block(text: str) -> str:
    """A text of several lines as a literal of several lines; on one, where it holds what an editor would not show."""
    if _shown(text) != text:
        return literal(text)
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    if escaped.endswith('"'):
        escaped = escaped[:-1] + '\\"'
    return f'"""\\\n{escaped}"""'


def docstring(lines: Iterable[str], indent: str) -> str:
    """The lines as a docstring at this indentation; in it, what is written out by `_shown` is what it was."""
    shown = [_shown(line.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')) for line in lines]
    if len(shown) == 1:
        space = " " if shown[0].endswith('"') else ""
        return f'{indent}"""{shown[0]}{space}"""'
    body = "\n".join([(indent + line).rstrip() for line in shown[1:]])
    return f'{indent}"""{shown[0]}\n{body}\n{indent}"""'


def call(function: str, arguments: Sequence[str], indent: str) -> str:
    """A call at this indentation (which is not put before it): one argument a line where one line is too short."""
    line = f"{function}({', '.join(arguments)})"
    if len(indent) + len(line) <= WIDTH and "\n" not in line:
        return line
    deeper = indent + _INDENT
    rows = "".join([f"{deeper}{_broken(argument, deeper)},\n" for argument in arguments])
    return f"{function}(\n{rows}{indent})"


def _broken(argument: str, indent: str) -> str:
    """An argument that may have to be broken itself: a list, or a long text."""
    if len(indent) + len(argument) < WIDTH:
        return argument
    name, equals, value = argument.partition("=")
    if not (equals and name.isidentifier()):
        name, value = "", argument
    head = name + "=" if name else ""
    if value.startswith(('"', "'")) and _is_literal(value):
        return head + _long_text(value, indent, bracketed=bool(name))
    return argument


def _is_literal(code: str) -> bool:
    import ast

    try:
        return isinstance(ast.literal_eval(code), str)
    except (ValueError, SyntaxError):
        return False


def _long_text(value: str, indent: str, *, bracketed: bool) -> str:
    """A long text as pieces that Python puts together, cut before `&&`, `||` and `;`, or else at spaces."""
    import ast

    text: str = ast.literal_eval(value)
    room = WIDTH - len(indent) - 10
    pieces: list[str] = []
    for part in _parts(text):
        if pieces and len(pieces[-1]) + len(part) <= room and not part.lstrip().startswith(("&&", "||")):
            pieces[-1] += part
        else:
            pieces.append(part)
    if len(pieces) == 1:
        return value
    if bracketed:
        deeper = indent + _INDENT
        return "(\n" + "".join([f"{deeper}{literal(piece)}\n" for piece in pieces]) + f"{indent})"
    return f"\n{indent}".join([literal(piece) for piece in pieces])


def _parts(text: str) -> list[str]:
    """The text cut behind each run of spaces."""
    parts: list[str] = []
    start = 0
    for at in range(1, len(text)):
        if text[at - 1] == " " and text[at] != " ":
            parts.append(text[start:at])
            start = at
    return [*parts, text[start:]]


def mapping(pairs: Iterable[tuple[str, str]]) -> str:
    """A dict of code for keys and values."""
    return "{" + ", ".join([f"{key}: {value}" for key, value in pairs]) + "}"


def chain(start: str, links: Sequence[tuple[Sequence[str], str, Sequence[str]]]) -> list[str]:
    """The statements that return what a chain of calls makes; links are (comments, method, arguments)."""
    if not links:
        return [f"{_INDENT}return {start}"]
    if len(links) == 1 and not links[0][0]:
        _, method, arguments = links[0]
        line = f"{_INDENT}return {start}.{method}({', '.join(arguments)})"
        if len(line) <= WIDTH and "\n" not in line:
            return [line]
    deeper = _INDENT * 2
    lines: list[str] = []
    for first in range(0, len(links), _LONGEST_CHAIN):
        part = links[first : first + _LONGEST_CHAIN]
        last = first + _LONGEST_CHAIN >= len(links)
        lines.append(f"{_INDENT}{'return' if last else 'image ='} (")
        lines.append(deeper + (start if first == 0 else "image"))
        for comments, method, arguments in part:
            lines += comment_lines(comments, deeper)
            lines.append(f"{deeper}.{call(method, arguments, deeper)}")
        lines.append(f"{_INDENT})")
    return lines


def comment_lines(comments: Iterable[str], indent: str = "") -> list[str]:
    """Comments, a line each."""
    return [f"{indent}# {_shown(comment)}".rstrip() for comment in comments]


def _shown(text: str) -> str:
    """The text with what an editor would not show written out as Python does in a literal.

    A carriage return inside a line ends one of Python: what stands behind it in a comment would be code.
    """
    return "".join([ch if ch.isprintable() or ch in "\n\t" else repr(ch)[1:-1] for ch in text])


def identifier(text: str, taken: Iterable[str]) -> str:
    """A name for Python that is like this text and not taken; Python, too, takes a name for its NFKC form."""
    if not text.isascii():
        from unicodedata import normalize

        text = normalize("NFKC", text)
    name = "".join([ch if ch.isalnum() and f"_{ch}".isidentifier() else "_" for ch in text])
    if not name.isidentifier():
        name = "_" + name
    if keyword.iskeyword(name) or name == "__debug__":
        name += "_"
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name}_{number}", number + 1
    return unique
