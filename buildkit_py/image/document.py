"""An image's config document as JSON: reading what others wrote, writing ours.

OCI image-spec `config.md` plus docker's fields. Writing follows BuildKit: keys
of the document in alphabetical order, those of `config` in the order of its
struct, nothing that is empty.
"""

from __future__ import annotations

from buildkit_py import json_text
from buildkit_py.digest import is_sha256
from buildkit_py.image import strict_json
from buildkit_py.image.config import Healthcheck, History, ImageConfig, ImageDocument
from buildkit_py.image.strict_json import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_CONFIG = 8 << 20

_KNOWN = frozenset(
    (
        *("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal"),
        *("ArgsEscaped", "Healthcheck", "OnBuild", "Shell"),
    )
)
# What old docker wrote about the container that an image was committed from; it says nothing about the image.
_OF_CONTAINERS = frozenset(
    (
        *("Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce"),
        *("Image", "MacAddress", "NetworkDisabled", "PublishService", "VolumeDriver"),
    )
)


def load(data: bytes) -> ImageDocument:
    """The document in some bytes. Raises `Malformed` where it breaks the specification."""
    what = "image config"
    value = strict_json.parse_object(data, limit=MAX_CONFIG, what=what)
    rootfs = strict_json.mapping(value, "rootfs", what)
    if rootfs is None:
        raise Malformed("the image config has no `rootfs`")
    if strict_json.text(rootfs, "type", what, "layers") != "layers":
        raise Malformed("`rootfs.type` of the image config is not `layers`")
    diff_ids = strict_json.texts(rootfs, "diff_ids", what) or ()
    for diff_id in diff_ids:
        if not is_sha256(diff_id):
            raise Malformed(f"`{diff_id[:100]}` in the image config is not a sha256 digest")
    return ImageDocument(
        architecture=strict_json.text(value, "architecture", what),
        os=strict_json.text(value, "os", what, "linux"),
        config=_config(strict_json.mapping(value, "config", what) or {}),
        diff_ids=diff_ids,
        history=tuple(_history(item) for item in strict_json.objects(value, "history", what)),
        variant=strict_json.text(value, "variant", what),
        created=strict_json.text(value, "created", what),
        author=strict_json.text(value, "author", what),
    )


def _config(value: dict[str, Any]) -> ImageConfig:
    what = "image config"
    env = []
    for item in strict_json.texts(value, "Env", what) or ():
        name, _, text = item.partition("=")
        env.append((name, text))
    health = strict_json.mapping(value, "Healthcheck", what)
    return ImageConfig(
        env=tuple(env),
        cmd=strict_json.texts(value, "Cmd", what),
        entrypoint=strict_json.texts(value, "Entrypoint", what),
        working_dir=strict_json.text(value, "WorkingDir", what),
        user=strict_json.text(value, "User", what),
        labels=strict_json.text_pairs(value, "Labels", what),
        ports=tuple(strict_json.mapping(value, "ExposedPorts", what) or ()),
        volumes=tuple(strict_json.mapping(value, "Volumes", what) or ()),
        stop_signal=strict_json.text(value, "StopSignal", what),
        shell=strict_json.texts(value, "Shell", what),
        healthcheck=_healthcheck(health) if health is not None else None,
        on_build=strict_json.texts(value, "OnBuild", what) or (),
        args_escaped=strict_json.boolean(value, "ArgsEscaped", what),
        extra=tuple(
            (key, _frozen(item)) for key, item in value.items() if key not in _KNOWN and key not in _OF_CONTAINERS
        ),
    )


def _healthcheck(value: dict[str, Any]) -> Healthcheck:
    what = "healthcheck"
    numbers = ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")
    return Healthcheck(
        strict_json.texts(value, "Test", what) or (), *(strict_json.integer(value, key, what) for key in numbers)
    )


def _history(value: dict[str, Any]) -> History:
    what = "image's history"
    return History(
        created_by=strict_json.text(value, "created_by", what),
        empty_layer=strict_json.boolean(value, "empty_layer", what),
        created=strict_json.text(value, "created", what),
        comment=strict_json.text(value, "comment", what),
        author=strict_json.text(value, "author", what),
    )


def _frozen(value: Any) -> Any:
    """Lists as tuples, so that what was read equals what comes back from canonical bytes."""
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return value


def dump(document: ImageDocument) -> bytes:
    """The JSON of a document, always the same bytes for the same record."""
    value: dict[str, Any] = {"architecture": document.architecture}
    if document.author:
        value["author"] = document.author
    value["config"] = config_object(document.config)
    if document.created:
        value["created"] = document.created
    if document.history:
        value["history"] = [_plain_history(item) for item in document.history]
    value["os"] = document.os
    value["rootfs"] = {"type": "layers", "diff_ids": list(document.diff_ids)}
    if document.variant:
        value["variant"] = document.variant
    raw = json_text.dump(value).encode("utf-8", "surrogateescape")
    # Bytes of a Buildfile that are no UTF-8 have no form in JSON; Go writes U+FFFD for them, and so do we.
    return raw.decode("utf-8", "replace").encode()


def config_object(config: ImageConfig) -> dict[str, Any]:
    """The `config` object as docker names its fields."""
    fields: tuple[tuple[str, Any], ...] = (
        ("User", config.user),
        ("ExposedPorts", {port: {} for port in sorted(config.ports)}),
        ("Env", [f"{name}={text}" for name, text in config.env]),
        ("Entrypoint", list(config.entrypoint or ())),
        ("Cmd", list(config.cmd or ())),
        ("Volumes", {path: {} for path in sorted(config.volumes)}),
        ("WorkingDir", config.working_dir),
        ("Labels", dict(sorted(config.labels))),
        ("StopSignal", config.stop_signal),
        ("ArgsEscaped", config.args_escaped),
        ("Healthcheck", _plain_healthcheck(config.healthcheck) if config.healthcheck is not None else None),
        ("OnBuild", list(config.on_build)),
        ("Shell", list(config.shell or ())),
    )
    return {key: item for key, item in (*fields, *sorted(config.extra, key=lambda pair: pair[0])) if item}


def _plain_healthcheck(health: Healthcheck) -> dict[str, Any]:
    fields = (
        ("Test", list(health.test)),
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
        ("Retries", health.retries),
    )
    return {key: item for key, item in fields if item}


def _plain_history(entry: History) -> dict[str, Any]:
    fields = (
        ("created", entry.created),
        ("created_by", entry.created_by),
        ("author", entry.author),
        ("comment", entry.comment),
        ("empty_layer", entry.empty_layer),
    )
    return {key: item for key, item in fields if item}
