"""Stages that stand on this machine's own root filesystem, as what other steps read from."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.store.layers import LayerMeta
from buildkit_py.store.sealed import seal, unseal
from tests.behaviour.world import World

HOST = "FROM host:// AS made\nRUN mkdir /pybuild-made && echo text > /pybuild-made/file\n"


def test_it_is_not_mounted_in_part(world: World) -> None:
    world.write({"Dockerfile": HOST + "FROM host://\nRUN --mount=from=made,target=/m ls /m\n"})
    done = world.build(ok=False)
    assert "Dockerfile:4" in done.stderr
    assert "this machine's own root filesystem" in done.stderr


def test_what_it_made_is_mounted_by_way_of_a_copy(world: World) -> None:
    rest = "FROM scratch AS files\nCOPY --from=made /pybuild-made /\nFROM host://\n"
    run = "RUN --mount=from=files,target=/m test $(cat /m/file) = text\n"
    world.write({"Dockerfile": HOST + rest + run})
    world.build()


def test_a_cache_is_filled_from_it(world: World) -> None:
    run = "RUN --mount=type=cache,from=made,source=/pybuild-made,target=/c test $(cat /c/file) = text\n"
    world.write({"Dockerfile": HOST + "FROM host://\n" + run})
    world.build()


@pytest.mark.parametrize(
    "output",
    [("-t", "x"), ("-o", "out"), *[("-o", f"type={kind},dest=out") for kind in ("local", "tar", "oci", "docker")]],
)
def test_nothing_that_stands_on_it_leaves_whatever_the_graph_says(world: World, output: tuple[str, str]) -> None:
    """As if a door had forgotten to say that a target stands on the host: the layer itself knows."""
    world.write({"Dockerfile": "FROM scratch\nCOPY file /\n", "file": "text"})
    world.build("-o", "type=cacheonly")
    for meta in Path(world.store, "layers").glob("*/meta"):
        layer = LayerMeta(*unseal(meta.read_bytes()))
        meta.write_bytes(seal(layer.replace(impure=True).values()))
    done = world.build(*output, ok=False)
    assert "does not leave the machine" in done.stderr
    assert done.returncode == 7
    assert not (world.project / "out").exists()


def test_an_image_of_too_many_layers_is_refused_before_anything_runs(world: World) -> None:
    world.write(
        {"Dockerfile": "FROM host:// AS h\nRUN echo began\nFROM scratch\n" + "COPY --from=h /etc/hostname /\n" * 501}
    )
    done = world.build("-t", "x", ok=False)
    assert "would have 501 layers; the most is 500" in done.stderr
    assert "began" not in done.stderr
    assert done.returncode == 7
