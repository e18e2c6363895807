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
    """End and remove them. Raises `UsageError` for a service without a container, and in the end for volumes
    that others use.
    """
    from buildkit_py.api import project as projects
    from buildkit_py.api.volumes import remove_all
    from buildkit_py.cli.notices import say
    from buildkit_py.cli.project import name_of, patience, project_of, tell
    from buildkit_py.errors import UsageError
    from buildkit_py.events import Notice

    parsed = parse(parser(), argv)
    if parsed.has("volumes") and parsed.operands:
        raise UsageError("`-v` removes the volumes of all services", hint="leave the services or `-v` out")
    seconds = patience(parsed)
    by_name = bool(parsed.one("project")) and "file" not in parsed.given
    if by_name:
        name = name_of(parsed)
        volumes = projects.own_volumes(name)
    else:
        project = project_of(parsed)
        name = project.name
        services = [one.name for one in (*project.services, *project.disabled)]
        # What containers know is from when they were made: the files may since say that a volume is somebody else's.
        theirs = set(project.external_volumes)
        every = dict.fromkeys((*project.volumes, *projects.unnamed_volumes(name, services)))
        volumes = tuple([volume for volume in every if volume not in theirs])
    with projects.alone(name):
        found = projects.chosen(name, parsed.operands)
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
        remove_all(volumes, removed=lambda volume: sys.stderr.write(f"the volume {volume} was removed\n"))
    return 0
