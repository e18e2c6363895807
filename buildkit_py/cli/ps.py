"""`pybuild ps`: the containers in the background."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse
from buildkit_py.cli.project import FILE, PROJECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.store.containers import About, State


_PORT = ("host_ip", "host_port", "container_port", "protocol")


def parser() -> Command:
    """The command's table."""
    return Command(
        "ps",
        "list the containers in the background",
        ("pybuild ps [options]",),
        (
            Option(("-a", "--all"), "also those that have ended"),
            Option(("--format",), "how they are listed", "KIND", choices=("table", "json", "name", "id")),
            Option(("--json",), "the same as --format=json"),
            Option(("-q", "--quiet"), "the same as --format=id"),
            PROJECT,
            FILE,
        ),
        about=(
            "A container that somebody runs in the foreground is not listed: it is there for as long as its command. "
            "`-p NAME` lists those of one project, and `-f FILE` those of the project of a compose file."
        ),
    )


def main(argv: list[str]) -> int:
    """Print the containers, newest first."""
    from buildkit_py.api.containers import is_running, listed

    parsed = parse(parser(), argv)
    found = [one for one in listed() if parsed.has("all") or is_running(one[1])]
    if "project" in parsed.given or "file" in parsed.given:
        from buildkit_py.cli.project import name_of

        project = name_of(parsed)
        found = [one for one in found if one[0].body.get("compose", {}).get("name") == project]
    kind = "json" if parsed.has("json") else "id" if parsed.has("quiet") else parsed.one("format", "table")
    if kind in ("id", "name"):
        sys.stdout.write("".join([getattr(about, kind) + "\n" for about, _ in found]))
    else:
        sys.stdout.write(_json(found) if kind == "json" else _table(found))
    return 0


def _json(found: Sequence[tuple[About, State]]) -> str:
    import json

    from buildkit_py.runner.health import Health

    rows = [
        {
            **{name: getattr(about, name) for name in ("id", "name", "what", "command", "created")},
            **{name: getattr(state, name) for name in ("status", "started", "finished", "code", "restarts", "problem")},
            **{
                name: about.body.get("compose", {}).get(of, "")
                for name, of in (("project", "name"), ("service", "service"))
            },
            "labels": dict(about.body.get("labels", ())),
            "health": dict(zip(Health.__fields__, state.health, strict=True)) if state.health else None,
            "ports": [dict(zip(_PORT, port, strict=True)) for port in state.ports],
        }
        for about, state in found
    ]
    return json.dumps(rows, indent=2) + "\n"


def _table(found: Sequence[tuple[About, State]]) -> str:
    import shlex
    from time import time

    from buildkit_py.report.table import table
    from buildkit_py.report.units import age

    now = time()
    rows = [
        (
            about.id[:12],
            about.name,
            about.what,
            _cut(shlex.join(about.command)),
            age(about.created, now),
            _status(state, now),
            ", ".join([f"{ip}:{port}->{inner}/{kind}" for ip, port, inner, kind in state.ports]),
        )
        for about, state in found
    ]
    return table(("CONTAINER", "NAME", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS"), rows)


def _status(state: State, now: float) -> str:
    from buildkit_py.report.units import age

    if state.status == "running":
        return "up for " + age(state.started, now).removesuffix(" ago") + _health(state)
    if state.status == "created":
        return "never started"
    ended = f"code {state.code}" + (f", {age(state.finished, now)}" if state.finished else "")
    if state.status == "restarting":
        return f"starts again ({ended})"
    return f"ended ({state.problem or ended})"


def _health(state: State) -> str:
    if not state.health:
        return ""
    from buildkit_py.runner.health import STARTING, Health

    status = Health(*state.health).status
    return f" (health: {status})" if status == STARTING else f" ({status})"


def _cut(text: str) -> str:
    return text if len(text) <= 30 else text[:29] + "…"
