"""A target's parameters: what its signature says, and texts of the command line as values of those types."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError, UsageError
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.python.expect import accepts, shown, type_name
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from buildkit_py.source_map import Position

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


class Parameter(Record):
    """`hint` is the annotation, worked out; without one, the type of the default, else str."""

    name: str
    hint: Any
    has_default: bool = False
    default: Any = None
    keyword_only: bool = False

    @property
    def takes_several(self) -> bool:
        """Whether its option may be repeated."""
        return _item_type(self.hint) is not None

    def described(self) -> tuple[str, str, str, str]:
        """(name, type, default, description) for `--list`."""
        if not self.has_default:
            shown_default = ""
        else:
            shown_default = str.__str__(self.default) if isinstance(self.default, str) else repr(self.default)
        return (self.name, type_name(self.hint), shown_default, "")


def parameters_of(function: Callable[..., Any], at: Position) -> tuple[Parameter, ...]:
    """The parameters of a target function. Raises `BuildfileError` for `*args` and annotations that do not work out.

    Read off the code object, because `inspect` costs as much to import as a no-op build.
    """
    code = function.__code__
    if code.co_flags & 0x0C:  # CO_VARARGS, CO_VARKEYWORDS
        raise BuildfileError(
            "a target cannot take *args or **kwargs", at=at, hint="each parameter is an option of the command line"
        )
    hints = _hints(function, at)
    positional = code.co_varnames[: code.co_argcount]
    keyword_only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    values = function.__defaults__ or ()
    defaults = dict(zip(positional[len(positional) - len(values) :], values, strict=True))
    defaults.update(function.__kwdefaults__ or {})
    return tuple(
        Parameter(
            name,
            hints.get(name, type(defaults[name]) if defaults.get(name) is not None else str),
            name in defaults,
            defaults.get(name),
            name in keyword_only,
        )
        for name in positional + keyword_only
    )


def _hints(function: Callable[..., Any], at: Position) -> dict[str, Any]:
    raw = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    if not any(isinstance(hint, str) for hint in raw.values()):
        return raw
    for name, hint in raw.items():
        if isinstance(hint, str):
            try:
                raw[name] = eval(hint, function.__globals__)
            except (NameError, SyntaxError, TypeError, AttributeError) as problem:
                raise BuildfileError(
                    f"the annotation `{hint}` of `{name}` does not work: {problem}", at=at
                ) from problem
    return raw


def check_value(parameter: Parameter, value: object, function: str, at: Position) -> None:
    """Raise `BuildfileError` for a value of another type than the signature says."""
    if not accepts(value, parameter.hint):
        raise BuildfileError(
            f"`{parameter.name}` of {function}() must be {type_name(parameter.hint)}, got {shown(value)}", at=at
        )


def from_command_line(
    known: Iterable[Parameter], given: Iterable[tuple[str, str]], target: str, at: Position
) -> dict[str, Any]:
    """The values of `--name=text` options; a list parameter takes its option several times.

    Raises `UsageError` that names the parameter, the type wanted and the text
    given, for unknown ones with what was probably meant.
    """
    parameters = {parameter.name.replace("_", "-"): parameter for parameter in known}
    texts: dict[str, list[str]] = {}
    for name, text in given:
        option = name.replace("_", "-")
        if option not in parameters:
            names = ", ".join(f"--{known_name}" for known_name in parameters)
            hint = did_you_mean(option, parameters, prefix="--")
            hint = hint or (f"it takes {names}" if names else "it takes none")
            raise UsageError(f"the target `{target}` has no parameter `--{option}`", at=at, hint=hint)
        texts.setdefault(option, []).append(text)
    out: dict[str, Any] = {}
    for option, several in texts.items():
        parameter = parameters[option]
        item = _item_type(parameter.hint)
        if item is None and len(several) > 1:
            raise UsageError(f"`--{option}` of `{target}` is given {len(several)} times, it takes one value", at=at)
        values = []
        for text in several:
            try:
                values.append(convert(text, parameter.hint if item is None else item))
            except ValueError as problem:
                reason = f" ({problem})" if str(problem) else ""
                raise UsageError(
                    f"`--{option}` of `{target}` must be {type_name(parameter.hint)}, got `{text}`{reason}", at=at
                ) from problem
        container = _origin(parameter.hint) or parameter.hint
        out[parameter.name] = values[0] if item is None else container(values)
    for parameter in parameters.values():
        if parameter.name not in out and not parameter.has_default:
            option = parameter.name.replace("_", "-")
            raise UsageError(
                f"the target `{target}` needs `--{option}`", at=at, hint=f"--{option}=… ({type_name(parameter.hint)})"
            )
    return out


def convert(text: str, hint: Any) -> Any:
    """A text of the command line as a value of a type. Raises `ValueError` where it is none."""
    if hint is str or hint in (object, "") or str(hint) == "typing.Any":
        return text
    if hint is bool:
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise ValueError("true or false")
    if hint is int or hint is float:
        try:
            return hint(text)
        except ValueError:
            raise ValueError from None
    if hint is type(None):
        if text == "":
            return None
        raise ValueError
    choices = getattr(hint, "__args__", ())
    if _is_literal(hint):
        for choice in choices:
            if str(choice) == text:
                return choice
        raise ValueError
    if _is_union(hint):
        if text == "" and type(None) in choices:
            return None
        # `str` takes everything, so it is tried last.
        for member in sorted(choices, key=lambda member: member is str):
            try:
                return convert(text, member)
            except ValueError:
                continue
        raise ValueError
    if isinstance(hint, type) and hasattr(hint, "__fspath__"):
        return hint(text)
    raise ValueError("a type that cannot be given on the command line")


def _origin(hint: Any) -> Any:
    return getattr(hint, "__origin__", None)


def _item_type(hint: Any) -> Any:
    """The type of a list's or tuple's items, None for what is no list."""
    if hint in (list, tuple):
        return str
    return hint.__args__[0] if _origin(hint) in (list, tuple) else None


def _is_literal(hint: Any) -> bool:
    return type(hint).__name__ == "_LiteralGenericAlias"


def _is_union(hint: Any) -> bool:
    return type(hint).__name__ in ("UnionType", "_UnionGenericAlias", "Union")
