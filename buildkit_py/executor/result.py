"""What a step came to: a filesystem and, where asked for, a text."""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.graph.op import LocalSource
    from buildkit_py.image.listing import Listings


class Result(Record):
    """`snapshot` names a filesystem in the store; for a local context it is empty and `local` is set.

    `layer` is what the step itself added. `text` is a captured standard output.
    """

    snapshot: str = ""
    layer: str = ""
    text: str = ""
    local: LocalSource | None = None


class Made(Record):
    """A result fresh from the executor, with what it cost.

    `source_digests` are the content digests of what was taken from each
    source, where the executor learnt them while working; `listings` say what
    that was, as `LocalExecutor.listings` does.
    """

    result: Result
    seconds: float
    bytes: int
    source_digests: tuple[str, ...] = ()
    listings: Listings = ()
