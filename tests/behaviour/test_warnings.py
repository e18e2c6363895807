"""What checks find is said by every build alike: the full path, the remembered graph and the first tier."""

from __future__ import annotations

import os
import pty
import subprocess
import time
from pathlib import Path

import pytest

from tests.behaviour.world import World

DOCKERFILE = """\
FROM {base} as base
COPY a /
ENV A=$NOPE
CMD true
"""
WARNINGS = [
    "Dockerfile:1:{}: FromAsCasing: 'as' and 'FROM' keywords' casing do not match",
    "Dockerfile:3:5: UndefinedVar: Usage of undefined variable '$NOPE'",
    "Dockerfile:4:1: JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to "
    "OS signals",
]


def warnings(text: str) -> list[str]:
    return [line.removeprefix("warning: ") for line in text.splitlines() if line.startswith("warning: ")]


def prepared(world: World, base_layout: Path, head: str = "") -> list[str]:
    """A project with three warnings, whose base is in the store; what a build of it warns of."""
    world.write({"base/Dockerfile": f"FROM oci-layout://{base_layout}\n"})
    world.run("build", "-q", "-t", "docker.io/library/busybox:latest", "base")
    world.write({"Dockerfile": head + DOCKERFILE.format(base="busybox"), "a": "1"})
    time.sleep(0.05)
    return [warning.format(len("FROM busybox ") + 1) for warning in WARNINGS]


def test_all_tiers_warn_alike(world: World, base_layout: Path) -> None:
    wanted = prepared(world, base_layout)
    first = world.build()
    assert warnings(first.stderr) == wanted
    assert ", 3 warnings\n" in first.stderr
    again = world.build()
    assert "up to date" in again.stderr
    assert warnings(again.stderr) == wanted
    # Only what a step takes changes: the graph is that of the memo, and so is what was odd about it.
    world.write({"a": "2"})
    time.sleep(0.05)
    rebuilt = world.build()
    assert "up to date" not in rebuilt.stderr
    assert warnings(rebuilt.stderr) == wanted
    # A mended file has nothing to say.
    world.write({"Dockerfile": "FROM busybox\nCOPY a /\n"})
    assert warnings(world.build().stderr) == []


def test_a_quiet_build_does_not_warn(world: World, base_layout: Path) -> None:
    prepared(world, base_layout)
    for _ in range(2):
        assert world.run("build", "-q", ".").stderr == ""


def test_the_first_tier_warns_in_colour_on_a_terminal_alone(world: World, base_layout: Path) -> None:
    wanted = prepared(world, base_layout)
    command = world.command("build", ".")
    env = world.environment(TERM="xterm")
    seen = []
    for terminal in (False, True, True, False):
        reader, writer = pty.openpty() if terminal else os.pipe()
        process = subprocess.Popen(command, cwd=world.project, env=env, stderr=writer, stdout=subprocess.DEVNULL)
        os.close(writer)
        text = b""
        while True:
            try:
                part = os.read(reader, 65536)
            except OSError:  # how a terminal ends
                break
            if not part:
                break
            text += part
        os.close(reader)
        assert process.wait() == 0
        seen.append(text.decode())
    assert ["up to date" in text for text in seen] == [False, True, True, True]
    assert [text.count("\x1b[1;33mwarning:") for text in seen] == [0, 3, 3, 0]
    assert warnings(seen[0]) == warnings(seen[3]) == wanted


def test_a_file_may_make_them_errors(world: World, base_layout: Path) -> None:
    prepared(world, base_layout, "# check=error=true;skip=UndefinedVar\n")
    done = world.build(ok=False)
    assert done.returncode == 3
    assert len(warnings(done.stderr)) == 2
    assert "error: Dockerfile:2:14: lint violation found for rules: FromAsCasing, JSONArgsRecommended\n" in done.stderr
    done = world.build("--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all;error=true")
    assert warnings(done.stderr) == []


@pytest.mark.attack("H5")
def test_a_secret_that_appears_in_the_context_is_noticed(world: World, base_layout: Path) -> None:
    """A rule that looks through the context keeps the first tier from answering."""
    prepared(world, base_layout)
    world.write(
        {"Dockerfile": "# check=experimental=SecretCopied\nFROM busybox\nCOPY d /d\n", "d/a": "", "unrelated": ""}
    )
    assert warnings(world.build().stderr) == []
    world.write({"d/.env": ""})
    assert len(warnings(world.build().stderr)) == 1


def test_a_run_of_a_target_is_silent_where_nothing_is_to_be_built(world: World, base_layout: Path) -> None:
    prepared(world, base_layout)
    assert len(warnings(world.run("run", "Dockerfile").stderr)) == 3
    assert world.run("run", "Dockerfile").stderr == ""
