"""What the services of a project write: shown to the last line, also of those that come later."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.behaviour.containers import until
from tests.behaviour.projects import SERVE, compose, service
from tests.behaviour.world import World


def test_what_is_written_fast_is_shown_to_the_last_line(svc: World) -> None:
    """More than a container's log holds: it waits for who shows it, which nobody does of one in the background."""
    lines = 60_000
    script = f'awk \'BEGIN {{ x = sprintf("%1000s", ""); for (i = 1; i <= {lines}; i++) print i x }}\''
    compose(svc, web=service(script, "network_mode: none"))
    shown = svc.run("up").stdout.splitlines()
    assert [int(line.removeprefix("web | ")) for line in shown] == list(range(1, lines + 1))
    svc.run("up", "-d")
    svc.run("wait", "shop-web-1")
    kept = svc.run("logs", "shop-web-1").stdout.splitlines()
    assert int(kept[-1]) == lines
    assert len(kept) < lines


def test_logs_follow_what_is_replaced_and_started_again(svc: World, tmp_path: Path) -> None:
    def bring(word: str, **more: str) -> None:
        compose(svc, web=service(f"echo {word}; {SERVE}", "network_mode: none"), **more)
        svc.run("up", "-d")

    bring("one")
    shown = tmp_path / "shown"
    with shown.open("w") as file:
        command = svc.command("logs", "-f", "-p", "shop")
        follower = subprocess.Popen(command, stdout=file, env=svc.environment(), cwd=svc.project)
    try:
        until(lambda: "one" in shown.read_text())
        bring("two")
        until(lambda: "two" in shown.read_text())
        svc.run("restart")
        until(lambda: shown.read_text().count("two") == 2)
        bring("two", db=service(f"echo new; {SERVE}", "network_mode: none"))
        until(lambda: "new" in shown.read_text())
        svc.run("down")
        assert follower.wait(timeout=60) == 0
    finally:
        follower.kill()
        follower.wait()
    said = [line.split("| ")[1] for line in shown.read_text().splitlines()]
    assert sorted(said) == sorted(["one", "two", "two", "new", *["ready", "bye"] * 4])
