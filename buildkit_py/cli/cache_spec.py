"""The values of `--cache-from` and `--cache-to`: where a portable cache is, in buildx's words."""

from __future__ import annotations

import os

from buildkit_py.api.request import CacheSpec
from buildkit_py.cli.values import fields_of
from buildkit_py.errors import UsageError

# What names the place, by the cache's type and the option.
_PLACES = {
    ("local", "--cache-from"): "src",
    ("local", "--cache-to"): "dest",
    ("registry", "--cache-from"): "ref",
    ("registry", "--cache-to"): "ref",
    ("http", "--cache-from"): "url",
    ("http", "--cache-to"): "url",
}
_KINDS = ("local", "registry", "http")
_MODES = ("min", "max")


def cache_spec(text: str, option: str, cwd: str) -> CacheSpec:
    """`type=local,src=DIR[,name=NAME]`, `type=registry,ref=NAME` or `type=http,url=URL[,name=NAME]`.

    With `--cache-to` it is `dest` for `src`, and there are `mode` and `mounts`.
    A text without `=` is the `ref` of a registry, as for buildx. Raises `UsageError`.
    """
    if "=" not in text:
        return CacheSpec("registry", _ref(text, option, text))
    known = ("type", "src", "dest", "ref", "url", "name", "mode", "mounts")
    fields = fields_of(text, option, known)
    kind = fields.pop("type", "registry" if "ref" in fields else "")
    if kind not in _KINDS:
        raise UsageError(
            f"`{option} {text}` has the type `{kind}`" if kind else f"`{option} {text}` has no `type`",
            hint=f"it is {' or '.join(f'`{one}`' for one in _KINDS)}",
        )
    place_field = _PLACES[kind, option]
    place = fields.pop(place_field, "")
    if not place:
        raise UsageError(f"`{option} {text}` has no `{place_field}`", hint=f"write type={kind},{place_field}=…")
    name = fields.pop("name", "") if kind != "registry" else ""
    mode = fields.pop("mode", "") if option == "--cache-to" else ""
    if mode and mode not in _MODES:
        raise UsageError(f"`{option} {text}` has the mode `{mode}`", hint="it is `min` or `max`")
    mounts = fields.pop("mounts", "false") if option == "--cache-to" else "false"
    if mounts not in ("true", "false"):
        raise UsageError(f"`{option} {text}`: `mounts` is `true` or `false`")
    for other in fields:
        raise UsageError(f"`{option} {text}`: a cache of type {kind} takes no `{other}` here")
    if kind == "local":
        place = os.path.abspath(os.path.join(cwd, os.path.expanduser(place)))
    elif kind == "http":
        if not place.startswith(("http://", "https://")):
            raise UsageError(f"`{option} {text}`: `{place}` is no URL", hint="it begins with http:// or https://")
        place = place.rstrip("/")
    else:
        place = _ref(place, option, text)
    return CacheSpec(kind, place, name or "main", mode or "max", mounts == "true")


def _ref(name: str, option: str, text: str) -> str:
    from buildkit_py.image import reference

    if reference.parse(name).digest:
        raise UsageError(f"`{option} {text}` names a digest, and a cache moves", hint="name it by a tag")
    return name
