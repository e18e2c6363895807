"""Reading portable caches: what happens when a place fails."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildkit_py.portable.imports import Imports, Shelf
from buildkit_py.portable.signature import Anyone
from buildkit_py.store.store import Store

if TYPE_CHECKING:
    from buildkit_py.events import Event
    from buildkit_py.registry.origin import Origin
    from buildkit_py.store.layers import LayerBlob


class Broken:
    """A place whose reader has a mistake."""

    name = "broken"

    def read(self) -> None:
        raise ZeroDivisionError

    def origin(self, blob: LayerBlob) -> Origin:
        raise AssertionError

    def lacks(self, blob: LayerBlob) -> bool:
        raise AssertionError

    def write(self, signed: object, blobs: object, source: object) -> int:
        raise AssertionError


def test_a_mistake_of_ours_is_not_waited_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told: list[Event] = []
    imports = Imports(Store.open(str(tmp_path)), [Shelf(Broken(), Anyone())], told.append, patience=600.0)
    with pytest.raises(ZeroDivisionError):
        imports.believed()
    assert told == []
    assert capfd.readouterr().err == ""
