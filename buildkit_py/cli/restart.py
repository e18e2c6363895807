"""`pybuild restart`: the containers of a project are ended and started again."""

from __future__ import annotations

from buildkit_py.cli.options import Command, parse
from buildkit_py.cli.project import OPTIONS, PATIENCE


def parser() -> Command:
    """The command's table."""
    return Command(
        "restart",
        "end the containers of a project, and start them again",
        ("pybuild restart [options] [SERVICE…]",),
        (*OPTIONS, PATIENCE),
        about=(
            "All containers of the project, or those of the services that are named, with those whose `depends_on` "
            "says `restart: true`. They run what they ran before, on the files that they left: `pybuild up` takes up "
            "what has changed. With `-p` alone no compose file is needed."
        ),
        most=-1,
    )


def main(argv: list[str]) -> int:
    """Restart them. Raises `UsageError` for a service without a container."""
    from buildkit_py.api import project as projects
    from buildkit_py.cli.project import name_of, patience, tell

    parsed = parse(parser(), argv)
    seconds = patience(parsed)
    name = name_of(parsed)
    found = projects.with_bound(projects.chosen(name, parsed.operands), projects.members(name))
    projects.restart(found, seconds=seconds, told=lambda one: tell(one.service, "restarted"))
    return 0
