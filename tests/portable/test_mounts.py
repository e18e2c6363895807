"""The document of cache mounts: what is written is read back, and nothing that breaks a rule is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from buildkit_py.digest import key_of
from buildkit_py.image.strict_json import Malformed
from buildkit_py.portable.mounts import KeptFile, KeptMount, Pack, dump, find, load
from buildkit_py.store.layers import LayerBlob

NAME = key_of("mount")
DIGEST = "sha256:" + "a" * 64
MARK = "0" * 32
KEYS = tuple(key_of("key", number) for number in range(3))


USED = 1_700_000_000


def mounts(*keys: str) -> dict[tuple[str, str], KeptMount]:
    pack = Pack(LayerBlob(DIGEST, DIGEST, 99, "application/vnd.oci.image.layer.v1.tar+zstd"), 1234)
    files = (("a", KeptFile(0, MARK, 0, USED)), ("a/b", KeptFile(0, MARK, 5, USED)))
    return {(NAME, key): KeptMount("/c", key, USED, (pack,), files) for key in keys or ("",)}


def test_what_was_written_is_read_back() -> None:
    kept = mounts("", KEYS[1], KEYS[0])
    assert load(dump(kept)) == kept
    assert list(load(dump(kept))) == list(kept)


def test_the_same_key_goes_first_and_then_what_was_saved_last() -> None:
    kept = mounts(*KEYS)
    for key in KEYS:
        assert find(kept, NAME, key) is kept[NAME, key]
    for key in ("", key_of("another")):
        assert find(kept, NAME, key) is kept[NAME, KEYS[-1]]
    assert find(kept, key_of("another mount"), KEYS[0]) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(format="pybuild-mounts-0"),
        lambda value: value.update(mounts={}),
        lambda value: value["mounts"].append(1),
        lambda value: value["mounts"].append({}),
        lambda value: value["mounts"][0].update(name="x"),
        lambda value: value["mounts"][0].update(key="x"),
        lambda value: value["mounts"][0].update(key=1),
        lambda value: value["mounts"][0].update(used="now"),
        lambda value: value["mounts"][0]["packs"][0].update(digest="x"),
        lambda value: value["mounts"][0]["packs"][0].update(size=-1),
        lambda value: value["mounts"][0]["packs"][0].update(bytes=-1),
        lambda value: value["mounts"][0]["packs"][0].update(bytes="1"),
        lambda value: value["mounts"][0]["packs"][0].update(mediaType="text/plain"),
        lambda value: value["mounts"][0].update(packs=[]),
        lambda value: value["mounts"][0]["files"].update({"../x": [0, MARK, 1, 1]}),
        lambda value: value["mounts"][0]["files"].update({"/x": [0, MARK, 1, 1]}),
        lambda value: value["mounts"][0]["files"].update({"x/./y": [0, MARK, 1, 1]}),
        lambda value: value["mounts"][0]["files"].update({"x": [1, MARK, 1, 1]}),
        lambda value: value["mounts"][0]["files"].update({"x": [True, MARK, 1, 1]}),
        lambda value: value["mounts"][0]["files"].update({"x": [0, "mark", 1, 1]}),
        lambda value: value["mounts"][0]["files"].update({"x": [0, MARK, -1, 1]}),
        lambda value: value["mounts"][0]["files"].update({"x": [0, MARK, 1, -1]}),
        lambda value: value["mounts"][0]["files"].update({"x": [0, MARK, 1, 1 << 33]}),
        lambda value: value["mounts"][0]["files"].update({"x": [0, MARK, 1]}),
    ],
)
def test_a_document_that_breaks_a_rule_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(dump(mounts()))
    change(value)
    with pytest.raises(Malformed):
        load(json.dumps(value).encode())
