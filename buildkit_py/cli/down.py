"""`pybuild down`: the containers of a project are ended and removed."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse
from buildkit_py.cli.project import OPTIONS, PATIENCE


def parser() -> Command:
    """The command's table."""
    return Command(
        "down",
        "end and remove the containers of a project",
        ("pybuild down [options] [SERVICE…]",),
        (
            *OPTIONS,
            PATIENCE,
            Option(("-v", "--volumes"), "remove the volumes of the project, too, with all data in them"),
        ),
        about=(
            "All containers of the project go, or those of the services that are named; what others depend on ends "
            "last. With `-p` alone no compose file is needed. Volumes that are `external` are never removed."
        ),
        examples=(("pybuild down", "the project of this directory"), ("pybuild down -v -p shop", "another one")),
        most=-1,
    )


def main(argv: list[str]) -> int:
    """End and remove them. Raises `UsageError` for a service without a container."""
    from buildkit_py.api import project as projects
    from buildkit_py.api.volumes import listed, remove
    from buildkit_py.cli.notices import say
    from buildkit_py.cli.project import name_of, patience, project_of, tell
    from buildkit_py.errors import UsageError
    from buildkit_py.events import Notice

    parsed = parse(parser(), argv)
    if parsed.has("volumes") and parsed.operands:
        raise UsageError("`-v` removes the volumes of all services", hint="leave the services or `-v` out")
    seconds = patience(parsed)
    volumes: tuple[str, ...] = ()
    services: list[str] = []
    by_name = bool(parsed.one("project")) and "file" not in parsed.given
    if by_name:
        name = name_of(parsed)
    else:
        project = project_of(parsed)
        name, volumes = project.name, project.volumes
        services = [one.name for one in (*project.services, *project.disabled)]
    found = projects.chosen(name, parsed.operands)
    volumes = tuple(dict.fromkeys((*volumes, *projects.own_volumes(name, services))))
    projects.take_down(found, seconds=seconds, ended=lambda one: tell(one.service, "ended"))
    if not parsed.operands:
        projects.forget_networks(name)
    if parsed.has("volumes"):
        if by_name and not found:
            say(
                Notice(
                    "warning",
                    f"no container is left that knows the volumes of `{name}`: none was removed",
                    hint="`pybuild down -v` in its directory knows them from its files; `pybuild volume ls` lists all",
                )
            )
        there = {one.name for one in listed()}
        for volume in volumes:
            if volume in there:
                remove(volume)
                sys.stderr.write(f"the volume {volume} was removed\n")
    return 0
