"""What expansion leaves in the body of a stage beside instructions: where the variables of a block begin and end.

The parser makes none of these; `stage_layout.py` and `unroll.py` put them there, and
`lower_stage.py` reads them.
"""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from buildkit_py.source_map import Position


class Enter(Record):
    """A block begins. `function` is the name of the one that DO called with these `arguments`, "" for a FOR."""

    function: str
    arguments: tuple[tuple[str, str], ...]
    position: Position
    line_end: int
    keyword: str = "DO"
    source: str = ""


class Bound(Record):
    """An ARG whose value is settled: the variable of a FOR, an argument of a FUNCTION."""

    name: str
    value: str
    position: Position
    line_end: int
    keyword: str = "ARG"
    source: str = ""


class Leave(Record):
    """A block ends, and with it the variables `names`."""

    names: tuple[str, ...]
    position: Position
    line_end: int
    keyword: str = "END"
    source: str = ""


if TYPE_CHECKING:
    Marker: TypeAlias = Enter | Bound | Leave
