"""The values of `--cache-from` and `--cache-to`: where a portable cache is, in buildx's words."""

from __future__ import annotations

import os

from buildkit_py.api.request import CacheSpec
from buildkit_py.cli.values import byte_size, fields_of
from buildkit_py.errors import UsageError

# What names the place, by the cache's type; of a directory it is `src` to read from.
_PLACES = {"local": "dest", "registry": "ref", "http": "url", "s3": "bucket", "gha": ""}
_KINDS = tuple(_PLACES)
_MODES = ("min", "max")
_BUCKET = ("region", "endpoint_url", "prefix", "use_path_style")
_KEYS = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
    "token": "ACTIONS_RUNTIME_TOKEN",
}


def cache_spec(text: str, option: str, cwd: str) -> CacheSpec:
    """`type=local,src=DIR`, `type=registry,ref=NAME`, `type=http,url=URL`, `type=s3,bucket=NAME[,region=…]…`,
    `type=gha[,scope=NAME]`.

    All but registries and gha have `name`, too, and all have
    `trust=NAME[+NAME…]`. With `--cache-to` it is `dest` for `src`, and there
    are `mode`, `mounts` and `mounts-max`. A text without `=` is the `ref` of a
    registry, as for buildx. Raises `UsageError`.
    """
    if "=" not in text:
        return CacheSpec("registry", _ref(text, option, text))
    places = ("src", "dest", "ref", "url", "bucket")
    known = ("type", *places, "name", "scope", "trust", "mode", "mounts", "mounts-max", *_BUCKET, *_KEYS)
    fields = fields_of(text, option, known)
    kind = fields.pop("type", "registry" if "ref" in fields else "")
    if kind not in _KINDS:
        raise UsageError(
            f"`{option} {text}` has the type `{kind}`" if kind else f"`{option} {text}` has no `type`",
            hint=f"it is {' or '.join(f'`{one}`' for one in _KINDS)}",
        )
    for key, variable in _KEYS.items():
        if key in fields:
            # Without the text: it has what nobody else should see, as the command line had.
            raise UsageError(
                f"`{option} type={kind},…` has `{key}`, which everybody on this machine can read there",
                hint=f"set {variable} in the environment",
            )
    place_field = "src" if (kind, option) == ("local", "--cache-from") else _PLACES[kind]
    place = fields.pop(place_field, "")
    if not place and place_field:
        raise UsageError(f"`{option} {text}` has no `{place_field}`", hint=f"write type={kind},{place_field}=…")
    bucket = {name: fields.pop(name, "") for name in _BUCKET} if kind == "s3" else {}
    name = fields.pop("scope" if kind == "gha" else "name", "") if kind != "registry" else ""
    mode = fields.pop("mode", "") if option == "--cache-to" else ""
    if mode and mode not in _MODES:
        raise UsageError(f"`{option} {text}` has the mode `{mode}`", hint="it is `min` or `max`")
    mounts = fields.pop("mounts", "false") if option == "--cache-to" else "false"
    if mounts not in ("true", "false"):
        raise UsageError(f"`{option} {text}`: `mounts` is `true` or `false`")
    most = fields.pop("mounts-max", "") if mounts == "true" else ""
    trust = tuple(fields.pop("trust").split("+")) if "trust" in fields else ()
    if "" in trust:
        raise UsageError(f"`{option} {text}` names nobody to trust", hint="write trust=NAME, or trust=NAME+NAME")
    for other in fields:
        raise UsageError(f"`{option} {text}`: a cache of type {kind} takes no `{other}` here")
    if kind == "local":
        place = os.path.abspath(os.path.join(cwd, os.path.expanduser(place)))
    elif kind == "http":
        place = _url(place, option, text).rstrip("/")
    elif kind == "gha":
        place = f"gha://{name or 'main'}"
        if not (name or "main").replace("-", "").replace(".", "").replace("_", "").isalnum() or len(name) > 128:
            raise UsageError(f"`{option} {text}`: `{name}` is no name", hint="it has letters, digits and any of -._")
    elif kind == "s3":
        place = _bucket(place, bucket, option, text)
    else:
        place = _ref(place, option, text)
    limit = byte_size(most, f"{option} {text}") if most else 0
    return CacheSpec(kind, place, name or "main", mode or "max", mounts == "true", limit, trust)


def _bucket(name: str, fields: dict[str, str], option: str, text: str) -> str:
    from buildkit_py.http.bucket import base, require

    endpoint = fields["endpoint_url"]
    if endpoint:
        _url(endpoint, option, text)
    by_path = fields["use_path_style"] or ("true" if endpoint else "false")
    if by_path not in ("true", "false"):
        raise UsageError(f"`{option} {text}`: `use_path_style` is `true` or `false`")
    if not name.replace("-", "").replace(".", "").replace("_", "").isalnum() or not name.isascii():
        raise UsageError(f"`{option} {text}`: `{name}` is no name of a bucket", hint="a part of it is `prefix`")
    require()
    prefix, region = fields["prefix"], fields["region"]
    return base(name, prefix, region=region, endpoint=endpoint.rstrip("/"), virtual=by_path == "false")


def _url(place: str, option: str, text: str) -> str:
    if not place.startswith(("http://", "https://")):
        raise UsageError(f"`{option} {text}`: `{place}` is no URL", hint="it begins with http:// or https://")
    if "#" in place or not place.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]:
        # Without the text, which may have a password. What is behind `#` goes to no server (RFC 3986, section 3.5).
        what = "has a `#`" if "#" in place else "names no host"
        raise UsageError(f"the URL of `{option}` {what}", hint="it is that below which the cache is")
    return place


def _ref(name: str, option: str, text: str) -> str:
    from buildkit_py.image import reference

    if reference.parse(name).digest:
        raise UsageError(f"`{option} {text}` names a digest, and a cache moves", hint="name it by a tag")
    return name
