"""The document of cache mounts: what is written is read back, and nothing that breaks a rule is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from buildkit_py.digest import key_of
from buildkit_py.image.strict_json import Malformed
from buildkit_py.portable.mounts import KeptFile, KeptMount, dump, load
from buildkit_py.store.layers import LayerBlob

NAME = key_of("mount")
DIGEST = "sha256:" + "a" * 64
MARK = "0" * 32


def mounts() -> dict[str, KeptMount]:
    blob = LayerBlob(DIGEST, DIGEST, 99, "application/vnd.oci.image.layer.v1.tar+zstd")
    return {NAME: KeptMount("/c", 1_700_000_000, (blob,), (("a", KeptFile(0, MARK, 0)), ("a/b", KeptFile(0, MARK, 5))))}


def test_what_was_written_is_read_back() -> None:
    assert load(dump(mounts())) == mounts()


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(format="pybuild-mounts-0"),
        lambda value: value.update(mounts=[]),
        lambda value: value["mounts"].update(x={}),
        lambda value: value["mounts"].update({NAME: 1}),
        lambda value: value["mounts"][NAME].update(used="now"),
        lambda value: value["mounts"][NAME].update(packs=[{}]),
        lambda value: value["mounts"][NAME]["packs"][0].update(digest="x"),
        lambda value: value["mounts"][NAME]["packs"][0].update(size=-1),
        lambda value: value["mounts"][NAME]["packs"][0].update(mediaType="text/plain"),
        lambda value: value["mounts"][NAME].update(packs=[]),
        lambda value: value["mounts"][NAME]["files"].update({"../x": [0, MARK, 1]}),
        lambda value: value["mounts"][NAME]["files"].update({"/x": [0, MARK, 1]}),
        lambda value: value["mounts"][NAME]["files"].update({"x/./y": [0, MARK, 1]}),
        lambda value: value["mounts"][NAME]["files"].update({"x": [1, MARK, 1]}),
        lambda value: value["mounts"][NAME]["files"].update({"x": [True, MARK, 1]}),
        lambda value: value["mounts"][NAME]["files"].update({"x": [0, "mark", 1]}),
        lambda value: value["mounts"][NAME]["files"].update({"x": [0, MARK, -1]}),
        lambda value: value["mounts"][NAME]["files"].update({"x": [0, MARK]}),
    ],
)
def test_a_document_that_breaks_a_rule_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(dump(mounts()))
    change(value)
    with pytest.raises(Malformed):
        load(json.dumps(value).encode())
