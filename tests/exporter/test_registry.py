from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.errors import UsageError
from buildkit_py.exporter.registry import export_registry
from buildkit_py.registry.client import Client
from buildkit_py.registry.resolve import ImageResolver
from buildkit_py.store.store import Store
from tests.images import sample
from tests.needs import need
from tests.registry_server import COMMAND, registry_server


def test_several_names(tmp_path: Path) -> None:
    need(COMMAND)
    store = Store.open(str(tmp_path / "store"))
    image = sample()
    image.put(store)
    client = Client(env={"HOME": str(tmp_path)})
    with pytest.raises(UsageError, match="no name"):
        export_registry(store, client, image.digest, ())
    with registry_server(tmp_path / "registry") as host:
        names = (f"{host}/a:1", f"{host}/b/c:latest")
        assert export_registry(store, client, image.digest, names) == tuple(f"{name}@{image.digest}" for name in names)
        other = ImageResolver(Store.open(str(tmp_path / "other")), lambda: client)
        assert [other.resolve(name).digest for name in names] == [image.digest] * 2
    client.close()
