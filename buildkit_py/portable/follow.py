"""What follows from the rest of a cache document, and so is not said in it.

A step that another one stands on or reads mostly comes before that, which names it by how many steps there are between.
Keys are made of what a step says of itself and of its inputs, and so are the names of layers and filesystems that were
built on each other: whoever reads makes them anew. Definition keys are always made so. A content key that does not
follow is said, and taken at its word: whether to believe a step, its signature says.
"""

from __future__ import annotations

from buildkit_py.graph.step_key import content_key, definition_key, read_key
from buildkit_py.image.strict_json import Malformed
from buildkit_py.record import Record
from buildkit_py.store.chain import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildkit_py.portable.document import CachedLayer, CachedStep


class Ground(Record):
    """A filesystem that steps stand on: the definition key of what made it, its snapshot, and its content digest.

    `content` is "" where it is not known, and for the empty filesystem.
    """

    definition: str
    snapshot: str
    content: str

    @property
    def is_known(self) -> bool:
        """Whether its content is."""
        return bool(self.content) or not self.snapshot


def defines(parts: tuple[Any, ...], definition: str) -> bool:
    """Whether the parts of a record are all that there is to its definition key."""
    try:
        (first, op), (second, base, _), (third, sources) = parts
        pairs = tuple([(kind, key) for kind, key in sources])
        return (first, second, third) == ("op", "base", "sources") and definition_key(op, base, pairs) == definition
    except (ValueError, TypeError):
        return False


class Before:
    """The steps of a document before the next one."""

    def __init__(self) -> None:
        self._results: list[Ground] = []
        self._layers: list[str] = []
        self._places: dict[str, int] = {}  # of results, by their definition keys
        self._layer_places: dict[str, int] = {}

    def add(self, step: CachedStep, layer: CachedLayer) -> None:
        """The next step, with its layer."""
        record = step.record
        base = Ground("", step.base, step.base_content)
        content = chain(step.base_content, layer.content, layer.empty) if base.is_known else ""
        place = len(self._results)
        self._results.append(Ground(record.definition, record.snapshot, content))
        self._layers.append(layer.id)
        self._places[record.definition] = place
        self._layer_places.setdefault(layer.id, place)

    def distance(self, ground: Ground) -> int:
        """How many steps before the next one is the one with this result; 0 for none."""
        place = self._places.get(ground.definition, -1)
        return len(self._results) - place if place >= 0 and self._results[place] == ground else 0

    def distance_of_key(self, definition: str) -> int:
        """As `distance`, whatever the result."""
        place = self._places.get(definition, -1)
        return len(self._results) - place if place >= 0 else 0

    def distance_of_layer(self, id: str) -> int:
        """How many steps before the next one is the first that has this layer; 0 for none."""
        place = self._layer_places.get(id, -1)
        return len(self._layers) - place if place >= 0 else 0

    def result(self, distance: int) -> Ground:
        """What the step that is so many before the next one came to. Raises `Malformed` where there is none."""
        return self._results[self._place(distance)]

    def layer(self, distance: int) -> str:
        """The id of the layer of that step. Raises `Malformed`."""
        return self._layers[self._place(distance)]

    def _place(self, distance: int) -> int:
        place = len(self._results) - distance
        if not 0 <= place < len(self._results):
            raise Malformed("a step of the cache document names one that does not come before it")
        return place

    def content_key(self, op: tuple[Any, ...], base: Ground, sources: tuple[tuple[str, str], ...]) -> str:
        """The content key of a step that takes all of its sources' files; "" where that does not follow."""
        contents = []
        for kind, key in sources:
            place = self._places.get(key, -1) if kind == "step" else -1
            if kind == "content":
                contents.append(key)
            elif place >= 0 and self._results[place].is_known:
                contents.append(self._results[place].content)
            else:
                return ""
        return content_key(op, base.content, tuple(contents)) if base.is_known else ""

    def read_key(self, sources: tuple[tuple[str, str], ...]) -> str:
        """One name for the filesystems that a step reads; "" where that does not follow, or it reads none."""
        snapshots = []
        for kind, key in sources:
            place = self._places.get(key, -1) if kind == "step" else -1
            if kind == "step" and place < 0:
                return ""
            snapshots.append(self._results[place].snapshot if place >= 0 else "")
        return read_key(tuple(snapshots))
