"""Stages that stand on this machine's own root filesystem, as what other steps read from."""

from __future__ import annotations

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
