"""A store that was filled with other user ids is refused: its results would have the wrong owners."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.behaviour.world import World
from tests.needs import need


def test_one_id_and_a_range_share_no_results(world: World, base_layout: Path) -> None:
    need("unshare")
    world.write({"Dockerfile": "FROM busybox\nRUN touch /x; chown 7:7 /x; stat -c %u /x > /owner\n"})
    argv = ("build", "--build-context", f"busybox=oci-layout://{base_layout}", ".")
    world.run(*argv)
    command = world.command(*argv)
    at = command.index("--clear-groups") + 1 if "--clear-groups" in command else 0
    done = subprocess.run(
        [*command[:at], "unshare", "--map-root-user", *command[at:]],
        cwd=world.project,
        env=world.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "made with other user ids" in done.stderr
    assert done.returncode not in (0, 70)


def test_a_run_that_builds_its_target_first_is_one_user(world: World, base_layout: Path) -> None:
    world.write({"Buildfile": f"FROM oci-layout://{base_layout} AS one\nRUN echo made > /x\n"})
    assert world.run("run", "Buildfile:one", "--", "cat", "/x").stdout == "made\n"
