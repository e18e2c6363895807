"""From compose files to a `Project`."""

from __future__ import annotations

import os

from buildkit_py.errors import ComposeError, UsageError
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.compose.files import Files, Remark, chosen
from buildkit_py.frontend.compose.order import ordered
from buildkit_py.frontend.compose.project import Project, Service
from buildkit_py.frontend.compose.reader import Fields, mapping, text
from buildkit_py.frontend.compose.resources import Resources
from buildkit_py.frontend.compose.services import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FIELDS = ("version", "name", "services", "networks", "volumes", "secrets", "configs")
_REFUSED = {"models": "run the model as a service of its own"}
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")


def load(
    cwd: str,
    env: Mapping[str, str],
    *,
    files: Sequence[str] = (),
    name: str = "",
    profiles: Sequence[str] = (),
    wanted: Sequence[str] = (),
    env_files: Sequence[str] = (),
    directory: str = "",
) -> Project:
    """The project of the compose files that are named, else of what is found in `cwd` and above.

    `wanted` are services that are asked for by name, which enables them whatever their profiles are. Raises
    `ComposeError`, `ContextError`, `UsageError`.
    """
    reader = Files(cwd)
    here = {**reader.variables(os.path.join(cwd, ".env"), env), **env}
    paths = chosen(files, cwd, here)
    directory = os.path.normpath(os.path.join(cwd, directory)) if directory else os.path.dirname(paths[0])
    variables = dict(env)
    for path in reversed(env_files or [os.path.join(directory, ".env")]):
        full = os.path.normpath(os.path.join(cwd, path))
        if env_files and not os.path.isfile(full):
            raise UsageError(f"there is no file `{path}`")
        variables = {**reader.variables(full, env), **variables}
    name = name or variables.get("COMPOSE_PROJECT_NAME", "")
    if name:
        check_name(name)
    asked = set(profiles) | {one.strip() for one in variables.get("COMPOSE_PROFILES", "").split(",") if one.strip()}
    asked = asked or {""}  # a profile of its own for docker compose: what is in it is there while nothing is asked for
    called = name or _plain(os.path.basename(directory))
    value = reader.project_name(paths, variables) if not name else None
    if value is not None:
        said = text(value, "name")
        called = _plain(said) if said else called
        if not called:
            raise ComposeError(f"`{said}` is no name of a project", at=value.at, hint=_HINT)
    document = reader.load(paths, directory, {**variables, "COMPOSE_PROJECT_NAME": called})
    fields = Fields(document, "a compose file", _FIELDS, _REFUSED)
    if not called:
        raise UsageError("the project has no name", hint="give it one with `-p NAME`, or `name:` in its file")
    resources = Resources(document.data, called, reader.env, reader.base)
    named = (
        {
            key: value
            for key, value in mapping(document.data["services"], "services").items()
            if not key.startswith("x-")
        }
        if "services" in fields
        else {}
    )
    if not named:
        raise ComposeError("there are no services here", at=document.at, hint="they are below `services:`")
    parts = Reader(reader, resources)
    services = [parts.service(key, value, tuple(named)) for key, value in named.items()]
    for one in wanted:
        if one not in named:
            hint = did_you_mean(one, named) or f"there are {', '.join(f'`{each}`' for each in named)}"
            raise UsageError(f"there is no service `{one}`", hint=hint)
    _check_names(services)
    every = ordered(services)
    enabled = _enabled(every, asked, wanted)
    networks = _joined(every)
    reader.remarks += [_joint(one, every) for one in networks if len(one) > 1]
    return Project(
        name=called,
        directory=directory,
        services=tuple([one for one in every if one.name in enabled]),
        disabled=tuple([one for one in every if one.name not in enabled]),
        volumes=tuple(resources.own),
        external_volumes=tuple(resources.external),
        networks=networks,
        files=tuple(dict.fromkeys(reader.read)),
        remarks=tuple(reader.remarks),
    )


_HINT = "lower-case letters, digits, `_` and `-`, beginning with a letter or a digit"


def check_name(name: str) -> None:
    """Raise `UsageError` for what is no name of a project."""
    if not _is_name(name):
        raise UsageError(f"`{name}` is no name of a project", hint=_HINT)


def _is_name(name: str) -> bool:
    return bool(name) and _NAME.issuperset(name) and name[0] not in "_-"


def _plain(name: str) -> str:
    """The name of a directory, or what a file says, as that of a project, as docker compose makes it."""
    return "".join([ch for ch in name.lower() if ch in _NAME]).lstrip("_-")


def _enabled(services: Sequence[Service], asked: set[str], wanted: Sequence[str]) -> set[str]:
    """The names of the services without a profile, of those whose profile is asked for, and of those that are wanted.

    What one depends on has to be enabled by itself, or have a profile in common with what is wanted.
    """
    known = {one.name: one for one in services}
    active = set(asked)
    for name in wanted:
        active.update(known[name].profiles)
    enabled = {one.name for one in services if not one.profiles or active & {*one.profiles, "*"}}
    enabled.update(wanted)
    for one in services:
        for dependency in one.depends_on if one.name in enabled else ():
            if dependency.service not in enabled and dependency.required:
                other = known[dependency.service]
                raise ComposeError(
                    f"`{one.name}` depends on `{other.name}`, which is in the profile `{other.profiles[0]}` alone",
                    at=dependency.at,
                    hint=f"add `--profile {other.profiles[0]}`, or `required: false`",
                )
    return enabled


def _check_names(services: Sequence[Service]) -> None:
    taken: dict[str, Service] = {}
    for one in services:
        if not one.container_name:
            continue
        other = taken.setdefault(one.container_name, one)
        if other is not one:
            raise ComposeError(
                f"`{other.name}` and `{one.name}` have the container_name `{one.container_name}`", at=one.at
            )


def _joined(services: Sequence[Service]) -> tuple[tuple[str, ...], ...]:
    """The sets of networks whose services hear each other: those that a service is on are one."""
    sets: list[set[str]] = []
    for service in services:
        names = {one.network for one in service.networks}
        apart = [one for one in sets if not one & names]
        for one in sets:
            if one & names:
                names |= one
        sets = [*apart, names] if names else sets
    return tuple([tuple(sorted(one)) for one in sets])


def _joint(names: tuple[str, ...], services: Sequence[Service]) -> Remark:
    """That several networks are one: whoever keeps services apart by them should know."""
    both = next(one for one in services if len({each.network for each in one.networks} & set(names)) > 1)
    listed = ", ".join([f"`{name}`" for name in names])
    return Remark(
        f"the networks {listed} are one here, since `{both.name}` is on several of them",
        both.at,
        "all their services reach each other",
    )
