"""Immutable records: classes whose instances are their fields, compared by value.

Like frozen, slotted dataclasses, but made without generating code and without
importing anything: a build that only reruns one step has about 50 ms, and
`dataclasses` or `msgspec` alone would take half of them. Fields come from the
class's annotations, defaults from its class attributes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_: object):
        return lambda cls: cls


@dataclass_transform(frozen_default=True)
class _RecordType(type):
    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _RecordType:
        own = tuple(namespace.get("__annotations__", ()))
        inherited: tuple[str, ...] = ()
        defaults: dict[str, Any] = {}
        for base in bases:
            inherited += getattr(base, "__fields__", ())
            defaults.update(getattr(base, "__defaults__", {}))
        for field in own:
            if field in namespace:
                defaults[field] = namespace.pop(field)
        namespace["__slots__"] = own
        namespace["__fields__"] = inherited + own
        namespace["__match_args__"] = inherited + own
        namespace["__defaults__"] = defaults
        return super().__new__(mcs, name, bases, namespace)


class Record(metaclass=_RecordType):
    """Base of all records. Raises `TypeError` for a missing or unknown field."""

    if TYPE_CHECKING:
        __fields__: ClassVar[tuple[str, ...]]
        __defaults__: ClassVar[dict[str, Any]]
    else:

        def __init__(self, *args, **kwargs):
            fields = self.__fields__
            if len(args) > len(fields):
                raise TypeError(f"{type(self).__name__} takes {len(fields)} fields, got {len(args)}")
            put = object.__setattr__
            for name, value in zip(fields, args, strict=False):
                put(self, name, value)
            defaults = self.__defaults__
            for name in fields[len(args) :]:
                if name in kwargs:
                    put(self, name, kwargs.pop(name))
                elif name in defaults:
                    put(self, name, defaults[name])
                else:
                    raise TypeError(f"{type(self).__name__} needs the field {name!r}")
            if kwargs:
                raise TypeError(f"{type(self).__name__} has no field {next(iter(kwargs))!r}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and self.values() == other.values())

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.values()))

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__fields__)
        return f"{type(self).__name__}({inner})"

    def values(self) -> tuple[Any, ...]:
        """The values of all fields, in the order of `__fields__`."""
        return tuple([getattr(self, name) for name in self.__fields__])

    def replace(self, **changes: object) -> Self:
        """A copy in which the named fields have new values."""
        fields = dict(zip(self.__fields__, self.values(), strict=True))
        fields.update(changes)
        return type(self)(**fields)
