"""`collections.namedtuple` as far as it is used here: `collections` takes a millisecond to import.

A type checker sees the one of `collections`.
"""

from __future__ import annotations

import sys
from _collections import _tuplegetter  # type: ignore[import-not-found]

__all__ = ("namedtuple",)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import namedtuple
    from collections.abc import Sequence
    from typing import Any
else:

    def namedtuple(name: str, fields: Sequence[str], *, defaults: Sequence[Any] = ()) -> type:
        """A tuple whose items have names, the last ones with defaults; made as fast as a tuple is."""
        names = ", ".join(fields)
        # Its arguments are checked and filled in by the call itself, as `collections` has it.
        new = eval(f"lambda _cls, {names}: _new(_cls, ({names}{',' * (len(fields) == 1)}))", {"_new": tuple.__new__})
        new.__name__, new.__defaults__ = "__new__", tuple(defaults)
        shown = f"{name}({', '.join([f'{field}=%r' for field in fields])})"

        def replace(self: Any, /, **changes: Any) -> Any:
            """A new one in which the named items are others."""
            made = tuple.__new__(type(self), map(changes.pop, fields, self))
            if changes:
                raise TypeError(f"there is no item {sorted(changes)[0]!r}")
            return made

        def plain(self: Any) -> tuple[Any, ...]:
            return tuple(self)

        namespace = {
            "__slots__": (),
            "__new__": new,
            "__repr__": lambda self: shown % tuple(self),
            "__match_args__": tuple(fields),
            "_fields": tuple(fields),
            "__getnewargs__": plain,
            "_replace": replace,
            "__module__": sys._getframe(1).f_globals["__name__"],
        }
        for index, field in enumerate(fields):
            namespace[field] = _tuplegetter(index, f"item {index}")
        return type(name, (tuple,), namespace)
