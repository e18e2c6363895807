"""What is mounted in a service: `volumes`, `tmpfs`, `secrets` and `configs`, by the Compose Specification."""

from __future__ import annotations

import os

from buildkit_py.errors import ComposeError
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.compose.files import Remark
from buildkit_py.frontend.compose.merge import plain_path
from buildkit_py.frontend.compose.project import GivenFile, Mount
from buildkit_py.frontend.compose.reader import Fields, integer, items, text
from buildkit_py.tmpfs_spec import MODE, TmpfsSpec, tmpfs_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.frontend.compose.document import Value
    from buildkit_py.frontend.compose.resources import GivenText, Resources

_VOLUME_FIELDS = ("type", "source", "target", "read_only", "consistency", "bind", "volume", "tmpfs")
_KINDS = ("bind", "volume", "tmpfs")
# Of the short form; those that other systems than this one need change nothing.
_FLAGS = ("ro", "rw", "z", "Z", "cached", "delegated", "consistent")
_NO_PROPAGATION = "mounts that are made later do not show in a container; leave it out"
_MODE = 0o444
_HIGHEST_ID = (1 << 32) - 2  # the next one is the kernel's word for nobody at all


def mounts(
    volumes: Value | None,
    tmpfs: Value | None,
    service: str,
    resources: Resources,
    base: Callable[[Value], str],
    remarks: list[Remark],
) -> tuple[Mount, ...]:
    """All mounts of a service but those of secrets. `base` is the directory that paths in a value are relative to.

    Of two of one list at one place the last is there, which the `remarks` say. Raises `ComposeError`, also for two of
    both lists at one place.
    """
    found = []
    for item in items(volumes, "volumes") if volumes is not None else ():
        if isinstance(item.data, dict):
            found.append(_long(item, resources, base))
        else:
            found.append(_short(item, resources, base))
    listed = _last(found, remarks)
    found = []
    if tmpfs is not None:
        # One alone is a string.
        for item in (tmpfs,) if isinstance(tmpfs.data, str) else items(tmpfs, "tmpfs"):
            found.append(_tmpfs(item))
    temporary = _last(found, remarks)
    for target, mount in temporary.items():
        if target in listed:
            notes = (f"the first one is at {listed[target].at}",)
            raise ComposeError(f"two mounts are to be at `{target}`", at=mount.at, notes=notes)
    whole = (*listed.values(), *temporary.values())
    return tuple(
        [
            mount.replace(source=resources.anonymous(service, mount.target))
            if mount.kind == "volume" and not mount.source
            else mount
            for mount in whole
        ]
    )


def _last(found: list[Mount], remarks: list[Remark]) -> dict[str, Mount]:
    """By target, the last mount there."""
    taken: dict[str, Mount] = {}
    for mount in found:
        before = taken.get(mount.target)
        if before is not None:
            hint = f"leave out the one at {before.at}"
            remarks.append(Remark(f"two mounts are at `{mount.target}`, and this one is taken", mount.at, hint))
        taken[mount.target] = mount
    return taken


def _short(value: Value, resources: Resources, base: Callable[[Value], str]) -> Mount:
    """A mount of one text. A volume without a name has no source yet."""
    said = text(value, "volumes")
    parts = said.split(":")
    if not all(parts) or len(parts) > 3:
        raise ComposeError(f"`{said}` is no mount", at=value.at, hint="write `SOURCE:TARGET`, `SOURCE:TARGET:ro`")
    if len(parts) == 1:
        target = _target(parts[0], value)
        return Mount("volume", target, value.at)
    source, target = parts[0], _target(parts[1], value)
    read_only = False
    for flag in parts[2].split(",") if len(parts) == 3 else ():
        if flag not in _FLAGS:
            hint = did_you_mean(flag, _FLAGS) or "it takes `ro` and `rw`"
            raise ComposeError(f"`{said}`: `{flag}` is not understood", at=value.at, hint=hint)
        read_only = flag == "ro" or (read_only and flag != "rw")
    if source[0] in "./~":
        return Mount("bind", target, value.at, _path(source, base(value)), read_only, create=True)
    return Mount("volume", target, value.at, resources.volume(source, value), read_only)


def _long(value: Value, resources: Resources, base: Callable[[Value], str]) -> Mount:
    """A mount of a mapping. A volume without a name has no source yet."""
    fields = Fields(value, "a mount", _VOLUME_FIELDS)
    kind = fields.needs("type")
    if text(kind, "type") not in _KINDS:
        hint = did_you_mean(kind.data, _KINDS) or "it is `bind`, `volume` or `tmpfs`"
        raise ComposeError(f"a mount of the type `{kind.data}` is not supported", at=kind.at, hint=hint)
    for other in _KINDS:
        other_value = fields.get(other)
        if other != kind.data and other_value is not None:
            raise ComposeError(f"a {kind.data} has no `{other}`", at=other_value.place)
    needed = fields.needs("target")
    target = _target(text(needed, "target"), needed)
    read_only = fields.boolean("read_only")
    source = fields.get("source")
    if kind.data == "tmpfs":
        return _long_tmpfs(fields, target, value)
    if kind.data == "volume":
        options = fields.get("volume")
        if options is not None:
            refused = {
                "nocopy": "a new volume begins with what the image has there; use another target",
                "subpath": "mount the whole volume",
            }
            Fields(options, "a volume's mount", ("labels",), refused)
        if source is None:
            return Mount("volume", target, value.at, read_only=read_only)
        return Mount("volume", target, value.at, resources.volume(text(source, "source"), source), read_only)
    if source is None:
        source = fields.needs("source")
    create = True
    bind = fields.get("bind")
    if bind is not None:
        known = ("create_host_path", "selinux")
        refused = {"propagation": _NO_PROPAGATION, "recursive": "mounts below the source come along; leave it out"}
        create = Fields(bind, "a bind mount", known, refused, "bind").boolean("create_host_path", True)
    return Mount("bind", target, value.at, _path(text(source, "source"), base(source)), read_only, create=create)


def _long_tmpfs(fields: Fields, target: str, value: Value) -> Mount:
    options = fields.get("tmpfs")
    most, mode = 0, MODE
    if options is not None:
        inner = Fields(options, "a tmpfs", ("size", "mode"), path="tmpfs")
        most = inner.size("size")
        given = inner.get("mode")
        mode = _mode(given, "tmpfs.mode") if given is not None else MODE
    return Mount("tmpfs", target, value.at, tmpfs=TmpfsSpec(target, most, mode))


def _tmpfs(value: Value) -> Mount:
    try:
        spec = tmpfs_spec(text(value, "tmpfs"))
    except ValueError as problem:
        raise ComposeError(str(problem), at=value.at) from None
    return Mount("tmpfs", spec.target, value.at, tmpfs=spec)


def _target(path: str, value: Value) -> str:
    normal = plain_path(path)
    if not path.startswith("/") or normal == "/":
        raise ComposeError(f"`{path}` is no absolute path below `/`", at=value.at)
    return normal


def _path(path: str, base: str) -> str:
    return os.path.normpath(os.path.join(base, os.path.expanduser(path)))


def given_files(value: Value | None, what: str, known: dict[str, GivenText]) -> tuple[GivenFile, ...]:
    """The secrets or configs of a service, of those that the project has. Raises `ComposeError`.

    `what` is `secrets`, which are at /run/secrets/NAME where nothing is said, or `configs`, at /NAME.
    """
    if value is None:
        return ()
    found: dict[str, GivenFile] = {}
    single = what[:-1]
    for item in items(value, what):
        target, owner, place = "", None, item
        if isinstance(item.data, dict):
            fields = Fields(item, f"a {single}", ("source", "target", "uid", "gid", "mode"))
            place = fields.needs("source")
            target = fields.text("target")
            if any(name in fields for name in ("uid", "gid", "mode")):
                mode = fields.get("mode")
                owner = (
                    _id(fields.get("uid"), "uid"),
                    _id(fields.get("gid"), "gid"),
                    _mode(mode, "mode") if mode is not None else _MODE,
                )
        name = text(place, what)
        if name not in known:
            raise ComposeError(
                f"there is no {single} `{name}`",
                at=place.at,
                hint=did_you_mean(name, known) or f"declare it at the top, below `{what}:`",
            )
        target = target or name
        if not target.startswith("/"):
            target = f"/run/secrets/{target}" if what == "secrets" else f"/{target}"
        target = _target(target, item)
        if target in found:
            raise ComposeError(f"two {what} are to be at `{target}`", at=item.at)
        given = known[name]
        missing = given.variable if given.missing else ""
        found[target] = GivenFile(target, given.at, given.source, given.data, missing, owner)
    return tuple(found.values())


def _id(value: Value | None, what: str) -> int:
    return integer(value, what, most=_HIGHEST_ID) if value is not None else 0


def _mode(value: Value, what: str) -> int:
    """A mode: a number, which is octal where it begins with 0 as YAML has it, or a string of octal digits."""
    mode = value.data
    if isinstance(mode, str) and mode and set(mode[-5:]) <= set("01234567") and not mode[:-5].strip("0"):
        mode = int(mode, 8)
    if not isinstance(mode, int) or isinstance(mode, bool) or not 0 <= mode <= 0o7777:
        raise ComposeError(f"`{what}` is no mode of a file", at=value.at, hint="write `0440`")
    return mode


def paths(value: Value | None, what: str, base: Callable[[Value], str]) -> tuple[tuple[str, bool, str, Value], ...]:
    """The files of `env_file`: path, whether it has to be there, its format, and where it is named."""
    if value is None:
        return ()
    found = []
    for item in (value,) if isinstance(value.data, str) else items(value, what):
        if isinstance(item.data, dict):
            fields = Fields(item, "an env_file", ("path", "required", "format"), path=what)
            form = fields.choice("format", ("raw", "dotenv"))
            path = text(fields.needs("path"), f"{what}.path")
            found.append((_path(path, base(item)), fields.boolean("required", True), form, item))
        else:
            found.append((_path(text(item, what), base(item)), True, "", item))
    return tuple(found)
