"""The options of commands for a project, and the project that they mean."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.options import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.cli.options import Parsed
    from buildkit_py.frontend.compose.project import Project

PROJECT = Option(("-p", "--project"), "the project's name, in place of what its files or their directory say", "NAME")
FILE = Option(
    ("-f", "--file"), "a compose file, in place of the one that is found", "FILE", many=True, completes="file"
)
PATIENCE = Option(("-t", "--timeout"), "how many seconds a container has to end in before SIGKILL", "SECONDS")
OPTIONS = (
    FILE,
    PROJECT,
    Option(("--profile",), "enable the services of a profile, `*` for all", "NAME", many=True),
    Option(("--env-file",), "take variables from this file, in place of `.env`", "FILE", many=True, completes="file"),
    Option(("--project-directory",), "the directory that paths are relative to", "DIR", completes="directory"),
)


def project_of(parsed: Parsed, wanted: Sequence[str] = ()) -> Project:
    """The project of a command line, with `wanted` services; what its files have of no use is said on standard error.

    Raises `ComposeError`, `ContextError`, `UsageError`.
    """
    from buildkit_py.cli.locate import here
    from buildkit_py.frontend.compose.load import load

    project = load(
        here(),
        os.environ,
        files=parsed.all("file"),
        name=parsed.one("project"),
        profiles=parsed.all("profile"),
        wanted=wanted,
        env_files=parsed.all("env-file"),
        directory=parsed.one("project-directory"),
    )
    if project.remarks:
        from buildkit_py.cli.notices import say
        from buildkit_py.events import Notice

        for remark in project.remarks:
            say(Notice("warning", remark.message, remark.at, remark.hint))
    return project


def name_of(parsed: Parsed) -> str:
    """The name of the project that a command line means: the one that it names, else that of its files.

    Raises as `project_of`.
    """
    from buildkit_py.frontend.compose.load import check_name

    if parsed.one("project") and "file" not in parsed.given:
        check_name(parsed.one("project"))
        return parsed.one("project")
    return project_of(parsed).name


def patience(parsed: Parsed) -> float:
    """How many seconds `PATIENCE` gives, below 0 where it was not given. Raises `UsageError`."""
    from buildkit_py.cli import values

    return values.seconds(parsed.one("timeout"), "--timeout") if "timeout" in parsed.given else -1.0


def with_dependencies(project: Project, wanted: Sequence[str]) -> tuple[str, ...]:
    """The services that are wanted, all where none is named, and what they depend on; in dependency order."""
    names = set(wanted) or {one.name for one in project.services}
    for one in reversed(project.services):
        if one.name in names:
            names.update(dependency.service for dependency in one.depends_on)
    return tuple([one.name for one in project.services if one.name in names])


def tell(service: str, what: str) -> None:
    """Say on standard error what was done to a service. Where nobody reads that it is done all the same."""
    from buildkit_py.report.escape import visible

    try:
        sys.stderr.write(f"{visible(service)}: {what}\n")
        sys.stderr.flush()
    except BrokenPipeError:
        pass
