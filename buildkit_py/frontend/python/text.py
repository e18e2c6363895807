"""Text: a string that is not known yet, because a command of the build will write it.

It can be handed to everything that takes text (`env`, `label`, `write`, the
words of a command, tags) and put together with `fmt`; the command then runs
when the graph is made, from the cache where it can. Turning it into a `str`
by accident would run a build in the middle of Python code, so that raises;
`value()` is the way to ask for it.
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.python import session
from buildkit_py.frontend.python.position import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from buildkit_py.frontend.python.image import Image


def _refusing(how: str) -> Callable[..., NoReturn]:
    def refuse(self: Text, *_: object) -> NoReturn:
        raise BuildfileError(
            f"{how} a text that is not known before its command has run",
            at=here(),
            hint='pass it on as it is, put it together with fmt("{}-x", text), or run it now with .value()',
        )

    return refuse


class Text:
    """Pieces of text, each either known or the standard output of an image's last command."""

    __slots__ = ("_pieces",)

    def __init__(self, pieces: tuple[str | Image, ...]) -> None:
        self._pieces = pieces

    def value(self) -> str:
        """The text itself, run now; trailing newlines are dropped, as a shell's `$(…)` does.

        Raises `BuildfileError` outside of a build, and what the step raises.
        """
        out: list[str] = []
        for piece in self._pieces:
            if isinstance(piece, str):
                out.append(piece)
                continue
            running = session.current()
            if running is None or running.evaluate is None:
                raise BuildfileError(
                    "nothing can be run here, only while a target is made",
                    at=here(),
                    hint="call value() inside a @target function",
                )
            out.append(running.evaluate(piece).rstrip("\n"))
        return "".join(out)

    # Each of these would need the text now, and most are called by accident.
    __str__ = _refusing("str() of")
    __format__ = _refusing("an f-string of")
    __bool__ = _refusing("a condition on")
    __len__ = _refusing("the length of")
    __iter__ = _refusing("a loop over")
    __contains__ = _refusing("a search in")
    __eq__ = _refusing("a comparison with")
    __add__ = _refusing("`+` on")
    __radd__ = _refusing("`+` on")

    def __hash__(self) -> int:
        return hash(self._pieces)

    def __repr__(self) -> str:
        return "<Text of the build>"


def fmt(template: str, *values: object, **named: object) -> str | Text:
    """`template.format(…)` that also takes texts not known yet; a plain `str` where there are none.

    Raises `BuildfileError` for a field that was not given, or a format spec on an unknown text.
    """
    from string import Formatter

    if not isinstance(template, str):
        raise BuildfileError(f"fmt() formats a str, got {type(template).__name__}", at=here())
    pieces: list[str | Image] = []
    number = 0
    try:
        for literal, field, spec, conversion in Formatter().parse(template):
            pieces.append(literal)
            if field is None:
                continue
            if not field:
                field, number = str(number), number + 1
            value = _field(field, values, named)
            if isinstance(value, Text):
                if spec or conversion:
                    raise BuildfileError("a text that is not known yet cannot be formatted further", at=here())
                pieces.extend(value._pieces)
            else:
                template_of_one = "{0" + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "") + "}"
                pieces.append(template_of_one.format(value))
    except (ValueError, LookupError) as problem:
        raise BuildfileError(f"fmt(): {problem}", at=here()) from problem
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(str(piece) for piece in pieces)
    return Text(tuple(pieces))


def _field(field: str, values: tuple[object, ...], named: dict[str, object]) -> object:
    if field.isdigit():
        if int(field) >= len(values):
            raise LookupError(f"there is no value for `{{{field}}}`")
        return values[int(field)]
    if field not in named:
        raise LookupError(f"there is no value named `{field}`")
    return named[field]


def plain(value: str | Text) -> str:
    """A text as a string, run now where it has to be: for the lowering, when every input is known."""
    return value.value() if isinstance(value, Text) else str.__str__(value)
