"""Targets: functions marked `@target`, whose signature is their command line."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.python.expect import exact, expect
from buildkit_py.frontend.python.image import Image
from buildkit_py.frontend.python.parameters import Parameter, check_value, parameters_of
from buildkit_py.frontend.python.position import here
from buildkit_py.frontend.python.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from buildkit_py.frontend.python.actions import KnownText
    from buildkit_py.source_map import Position


# The targets whose functions are running, outermost first.
_making: list[TargetFunction] = []


class TargetFunction:
    """A target as Python code sees it. Calling it again with the same arguments gives the same value."""

    is_check = False

    def __init__(
        self, function: Callable[..., Any], *, name: str, default: bool, tags: tuple[KnownText, ...], position: Position
    ) -> None:
        self.function = function
        self.name = name
        self.default = default
        self.tags = tags
        self.position = position
        self.description = _first_paragraph(function.__doc__)
        self.__doc__ = function.__doc__
        # The targets whose results it goes on from.
        self.uses: dict[TargetFunction, None] = {}
        # The arguments with which it is wanted, of which a check that calls it without them gets the same image.
        self.asked: dict[str, Any] = {}
        self._made: dict[object, object] = {}
        self._stages: dict[int, object] = {}
        self._running: set[object] = set()
        self._parameters: tuple[Parameter, ...] | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters, in order; looked at late, because annotations may name what stands further down."""
        if self._parameters is None:
            self._parameters = parameters_of(self.function, self.position)
        return self._parameters

    def __call__(self, *args: object, **named: object) -> object:
        """What another target goes on from: its images as what a stage starts from."""
        if _making:
            _making[-1].uses[self] = None
        value = self._value(args, named, self.asked if _making and _making[-1].is_check else {})
        if id(value) not in self._stages:
            self._stages[id(value)] = _as_stage(value)
        return self._stages[id(value)]

    def result(self, *args: object, **named: object) -> object:
        """What the function returns. Raises `BuildfileError` for arguments that do not fit its signature."""
        return self._value(args, named, {})

    def _value(self, args: tuple[object, ...], named: dict[str, object], defaults: dict[str, object]) -> object:
        known = self.parameters
        values = {parameter.name: parameter.default for parameter in known if parameter.has_default} | defaults
        positional = dict(
            zip((parameter.name for parameter in known if not parameter.keyword_only), args, strict=False)
        )
        for name in positional:
            if name in named:
                raise BuildfileError(f"{self.name}() is given `{name}` twice", at=here())
        if len(positional) < len(args):
            raise BuildfileError(f"{self.name}() takes {len(positional)} arguments, got {len(args)}", at=here())
        for name, value in (*positional.items(), *named.items()):
            parameter = next((parameter for parameter in known if parameter.name == name), None)
            if parameter is None:
                raise BuildfileError(f"{self.name}() has no parameter `{name}`", at=here())
            check_value(parameter, value, self.name, here())
            values[name] = value
        for parameter in known:
            if parameter.name not in values:
                raise BuildfileError(f"{self.name}() needs a value for `{parameter.name}`", at=here())
        return self._make(values)

    def forget(self) -> None:
        """Call the function again where its value is wanted: what it calls is asked for otherwise now."""
        self._made.clear()

    def _make(self, values: dict[str, Any]) -> object:
        key = tuple((name, _hashable(value)) for name, value in sorted(values.items()))
        if key in self._running:
            raise BuildfileError(f"the target {self.name}() needs itself", at=here())
        if key not in self._made:
            self._running.add(key)
            _making.append(self)
            try:
                self._made[key] = self.function(**values)
            finally:
                _making.pop()
                self._running.discard(key)
        return self._made[key]

    def __repr__(self) -> str:
        return f"<target {self.name}>"


def target(
    function: Callable[..., Any] | None = None,
    *,
    name: str = "",
    default: bool = False,
    tags: list[KnownText] | tuple[KnownText, ...] = (),
) -> Any:
    """Make a function a target: `@target`, or `@target(default=True, tags=["shop:dev"])`.

    Its name is the function's, with `-` for `_`, unless `name` is given.
    """
    position = here()
    expect(name, str, "`name` of @target")
    if name and not is_name(name):
        raise BuildfileError(
            f"{name!r} cannot be the name of a target",
            at=position,
            hint="its files may land in a directory of that name",
        )
    expect(default, bool, "`default` of @target")
    expect(tags, (list, tuple), "`tags` of @target")
    for tag in tags:
        expect(tag, (str, Text), "each of `tags` of @target")

    def mark(function: Callable[..., Any]) -> TargetFunction:
        code = getattr(function, "__code__", None)
        if code is None or isinstance(function, TargetFunction):
            raise BuildfileError("@target stands above a function", at=position)
        if code.co_flags & 0x280:  # CO_COROUTINE, CO_ASYNC_GENERATOR
            raise BuildfileError("a target is an ordinary function, not an async one", at=position)
        shown: str = exact(name) or function.__name__.replace("_", "-")
        where = position.replace(function=function.__name__)
        return TargetFunction(function, name=shown, default=default, tags=exact(tuple(tags)), position=where)

    return mark if function is None else mark(function)


def is_name(text: str) -> bool:
    """Whether a target, or one of its images, may be called so: its files may land in a directory of that name."""
    return text.isprintable() and "/" not in text and text not in ("", ".", "..")


def _as_stage(value: object) -> object:
    """What another target is given: images to go on from as FROM goes on from a stage."""
    if isinstance(value, Image):
        return value.as_stage()
    if type(value) is dict:
        return {name: _as_stage(item) for name, item in value.items()}
    if type(value) is list or type(value) is tuple:
        return type(value)([_as_stage(item) for item in value])
    return value


def _first_paragraph(doc: str | None) -> str:
    lines = [line.strip() for line in (doc or "").strip().splitlines()]
    end = lines.index("") if "" in lines else len(lines)
    return " ".join(lines[:end])


def _hashable(value: Any) -> object:
    """A stand-in for an argument that tells equal from different; `True` and `1` are not the same."""
    if isinstance(value, list | tuple):
        return (type(value).__name__, *map(_hashable, value))
    if isinstance(value, dict):
        return ("dict", *((_hashable(key), _hashable(item)) for key, item in value.items()))
    if isinstance(value, set | frozenset):
        return (type(value).__name__, frozenset(map(_hashable, value)))
    if isinstance(value, str | bytes | int | float | None):
        return (type(value).__name__, value)
    return (type(value).__name__, id(value), value)
