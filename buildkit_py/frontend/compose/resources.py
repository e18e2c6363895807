"""What the services of a project share, from the top of its files: volumes, networks, secrets and configs."""

from __future__ import annotations

import os

from buildkit_py.errors import ComposeError
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.compose.reader import Fields, boolean, mapping, text
from buildkit_py.frontend.compose.unnamed_volumes import unnamed_volume
from buildkit_py.record import Record
from buildkit_py.store.containers import is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.frontend.compose.document import Value
    from buildkit_py.frontend.compose.reader import Env
    from buildkit_py.source_map import Position

DEFAULT = "default"
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_NO_DRIVER = "volumes are directories of the store; mount a path of this machine instead"
_NETWORK = {
    "driver_opts": "the network of a project has no options",
    "ipam": "its addresses are chosen so that they meet no others; use names",
    "attachable": "containers outside of the project cannot join it",
    "enable_ipv4": "it is always there",
    "enable_ipv6": "it is there where this machine has it",
    "internal": "services without a way out are not supported; `network_mode: none` has no network at all",
}


class GivenText(Record):
    """Where the value of a secret or config comes from: a file, a text, or a variable's; it may be `missing`."""

    name: str
    at: Position
    source: str = ""
    data: str = ""
    variable: str = ""
    missing: bool = False


class Resources:
    """Volumes, networks, secrets and configs, and which of the volumes services use."""

    def __init__(self, document: dict[str, Value], project: str, env: Env, base: Callable[[Value], str]) -> None:
        self._project = project
        self._volumes = _named(document, "volumes")
        self._stored: dict[str, str] = {}
        self.external: list[str] = []
        self.own: list[str] = []
        for name, value in self._volumes.items():
            self._stored[name] = self._volume(name, value)
        self._networks = {name: _external_at(value) for name, value in _named(document, "networks").items()}
        self.secrets = {
            name: _given(name, value, "a secret", env, base) for name, value in _named(document, "secrets").items()
        }
        self.configs = {
            name: _given(name, value, "a config", env, base) for name, value in _named(document, "configs").items()
        }

    def volume(self, name: str, value: Value) -> str:
        """The store's name of a volume that a service mounts. Raises `ComposeError` where there is none."""
        if name not in self._stored:
            hint = did_you_mean(name, self._stored) or (
                f"declare it at the top, below `volumes:`; a path here is `./{name}`"
            )
            raise ComposeError(f"there is no volume `{name}`", at=value.at, hint=hint)
        return self._stored[name]

    def check_network(self, name: str, at: Position) -> None:
        """Raise `ComposeError` for a network that a service, which says so there, cannot be on."""
        if name not in self._networks and name != DEFAULT:
            hint = did_you_mean(name, self._networks) or "declare it at the top, below `networks:`"
            raise ComposeError(f"there is no network `{name}`", at=at, hint=hint)
        external = self._networks.get(name)
        if external is not None:
            hint = "networks belong to one project; publish the ports that others want"
            notes = (f"the service that is on it is at {at}",)
            raise ComposeError(f"the network `{name}` is external", at=external, hint=hint, notes=notes)

    def anonymous(self, service: str, target: str) -> str:
        """The store's name of a volume that has none, which stays that of this place of this service."""
        name = unnamed_volume(self._project, service, target)
        if name not in self.own:
            self.own.append(name)
        return name

    def _volume(self, name: str, value: Value) -> str:
        if value.data is None:
            self.own.append(f"{self._project}_{name}")
            return f"{self._project}_{name}"
        refused = {"driver_opts": _NO_DRIVER}
        fields = Fields(value, "a volume", ("driver", "external", "name", "labels"), refused)
        driver = fields.filled("driver")
        if driver is not None and text(driver, "driver") != "local":
            raise ComposeError(
                f"a volume with the driver `{driver.data}` is not supported", at=driver.at, hint=_NO_DRIVER
            )
        given, external = _external(fields)
        stored = given or (name if external else f"{self._project}_{name}")
        if not is_name(stored):
            raise ComposeError(f"`{stored}` is no name of a volume", at=value.at)
        (self.external if external else self.own).append(stored)
        return stored


def _external(fields: Fields) -> tuple[str, bool]:
    """The name that is given, and whether somebody else made it. `external: {name: x}` is an old way of saying both."""
    value = fields.get("external")
    name = fields.text("name")
    if value is None:
        return name, False
    if isinstance(value.data, dict):
        return Fields(value, "`external`", ("name",), path="external").text("name", name), True
    return name, boolean(value, "external")


def _external_at(value: Value) -> Position | None:
    """Where a network is said to be external, which is no error until a service is on it. Raises `ComposeError` for
    what is not supported in any case.
    """
    if value.data is None:
        return None
    refused = _refused(value)
    known = ("driver", "external", "name", "labels", *[key for key in _NETWORK if key not in refused])
    fields = Fields(value, "a network", known, refused)
    driver = fields.filled("driver")
    if driver is not None and text(driver, "driver") != "bridge":
        hint = "leave it out; `network_mode: host` or `none` of a service are there"
        raise ComposeError(f"a network with the driver `{driver.data}` is not supported", at=driver.at, hint=hint)
    return fields.needs("external").at if _external(fields)[1] else None


def _refused(value: Value) -> dict[str, str]:
    """What is not supported, but for what says that it is not wanted."""
    off = {key for key, one in mapping(value, "networks").items() if one.data is False}
    return {key: hint for key, hint in _NETWORK.items() if key not in off}


def _given(name: str, value: Value, what: str, env: Env, base: Callable[[Value], str]) -> GivenText:
    refused = {
        "driver": "name a `file`, or an `environment` variable",
        "driver_opts": "name a `file`, or an `environment` variable",
        "template_driver": "texts are taken as they are",
        "external": "name a `file`, or an `environment` variable",
    }
    known = ["file", "environment", "name", "labels", *["content"] * (what == "a config")]
    fields = Fields(value, what, known, refused)
    sources = [key for key in ("file", "environment", "content") if key in fields]
    if len(sources) != 1:
        wanted = "`file`, `environment`" + (" or `content`" if what == "a config" else "")
        raise ComposeError(
            f"{what} comes from {'two sources' if sources else 'nowhere'}", at=value.place, hint=f"name one of {wanted}"
        )
    source = fields.needs(sources[0])
    if sources[0] == "file":
        path = os.path.normpath(os.path.join(base(source), os.path.expanduser(text(source, "file"))))
        return GivenText(name, source.at, source=path)
    if sources[0] == "content":
        return GivenText(name, source.at, data=text(source, "content"))
    variable = text(source, "environment")
    known_variables = env(source)
    if variable not in known_variables:
        return GivenText(name, source.at, variable=variable, missing=True)
    return GivenText(name, source.at, data=known_variables[variable], variable=variable)


def _named(document: dict[str, Value], section: str) -> dict[str, Value]:
    value = document.get(section)
    if value is None:
        return {}
    found = {name: one for name, one in mapping(value, section).items() if not name.startswith("x-")}
    for name, one in found.items():
        if not name or not _LETTERS.issuperset(name):
            raise ComposeError(
                f"`{name}` is no name below `{section}`", at=one.place, hint="letters, digits, `_`, `.` and `-`"
            )
    return found
