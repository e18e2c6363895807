"""How a service's image is built: `build`, by the Compose Specification's build section.

`dockerfile` may name a Buildfile or a Buildfile.py, too: then `target` is a target of it, and `args` are parameters.
"""

from __future__ import annotations

import os

from buildkit_py.errors import ComposeError
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.compose.document import Value
from buildkit_py.frontend.compose.merge import pairs
from buildkit_py.frontend.compose.project import Build, BuildSecret
from buildkit_py.frontend.compose.reader import Fields, items, text
from buildkit_py.frontend.compose.values import hosts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.frontend.compose.reader import Env
    from buildkit_py.frontend.compose.resources import GivenText

FIELDS = (
    *("context", "dockerfile", "dockerfile_inline", "args", "ssh", "labels", "cache_from", "cache_to", "no_cache"),
    *("additional_contexts", "network", "pull", "target", "extra_hosts", "secrets", "tags", "platforms"),
    "entitlements",
)
REFUSED = {
    "shm_size": "a step's /dev/shm has 64 MiB; leave it out",
    "isolation": "it is for another system; leave it out",
    "privileged": "write `RUN --security=insecure` in the Buildfile, and `entitlements: [security.insecure]`",
    "ulimits": "write `RUN --ulimit` in the Buildfile",
    "provenance": "leave it out: no attestation is made of the image",
    "sbom": "leave it out: no attestation is made of the image",
}


def build(value: Value | None, base: Callable[[Value], str], env: Env, secrets: dict[str, GivenText]) -> Build | None:
    """What a service's `build` says; None where there is none. Raises `ComposeError`."""
    if value is None:
        return None
    if isinstance(value.data, str):
        return Build(_context(value.data, base(value)), value.at)
    fields = Fields(value, "`build`", FIELDS, REFUSED, "build")
    inline = fields.text("dockerfile_inline")
    if inline and "dockerfile" in fields:
        raise ComposeError("`build` has a `dockerfile` and a `dockerfile_inline`", at=fields.needs("dockerfile").place)
    context = fields.get("context")
    platforms = fields.texts("platforms")
    if len(platforms) > 1:
        raise ComposeError(
            "a service is built for one platform", at=fields.needs("platforms").at, hint="name this machine's alone"
        )
    network = fields.text("network", "default")
    if network not in ("default", "none", "host"):
        raise ComposeError(
            f"a build cannot be on the network `{network}`",
            at=fields.needs("network").at,
            hint="it is `default`, `none` or `host`",
        )
    return Build(
        context=_context(text(context, "build.context") if context is not None else ".", base(context or value)),
        at=value.at,
        dockerfile=os.path.expanduser(fields.text("dockerfile")),
        inline=inline,
        target=fields.text("target"),
        args=fields.pairs("args", env),
        contexts=_contexts(fields, base),
        cache_from=fields.texts("cache_from"),
        cache_to=fields.texts("cache_to"),
        labels=fields.pairs("labels"),
        hosts=hosts(fields.get("extra_hosts"), "build.extra_hosts"),
        tags=fields.texts("tags"),
        ssh=_ssh(fields, base),
        secrets=_secrets(fields.get("secrets"), secrets),
        entitlements=fields.texts("entitlements"),
        network=network,
        platform=platforms[0] if platforms else "",
        no_cache=fields.boolean("no_cache"),
        pull=fields.boolean("pull"),
    )


def is_address(text: str) -> bool:
    """Whether a context is an address of git or of the web, and no directory."""
    return "://" in text or text.startswith(("git@", "github.com/"))


def _context(said: str, base: str) -> str:
    return said if is_address(said) else os.path.normpath(os.path.join(base, os.path.expanduser(said)))


def _contexts(fields: Fields, base: Callable[[Value], str]) -> tuple[tuple[str, str], ...]:
    """Named contexts. A path is relative to the file that says it, which others may have extended."""
    value = fields.get("additional_contexts")
    if value is None:
        return ()
    found = []
    for name, said in fields.pairs("additional_contexts"):
        place = _place(value, name)
        if said.startswith("service:"):
            raise ComposeError(
                f"the context `{name}` is what another service is built as, which is not supported",
                at=place.at,
                hint="name a stage of one Buildfile by `target`, or an image by `docker-image://`",
            )
        found.append((name, _named(said, base(place))))
    return tuple(found)


def _named(said: str, base: str) -> str:
    """A named context: a path is made absolute, anything else says itself what it is."""
    if "://" in said or said.startswith("git@"):
        return said
    return _context(said, base)


def _place(value: Value, name: str) -> Value:
    """Where a name has its value, among others that may be of other files."""
    places = pairs(value).data
    return places.get(name, value) if isinstance(places, dict) else value


def _ssh(fields: Fields, base: Callable[[Value], str]) -> tuple[str, ...]:
    """Each `ID`, or `ID=PATH[,PATH…]`. A path is relative to the file that says it."""
    value = fields.get("ssh")
    if value is None:
        return ()
    if isinstance(value.data, dict):
        every = fields.pairs("ssh")
    else:
        every = tuple([(one.partition("=")[0], one.partition("=")[2]) for one in fields.texts("ssh", alone=True)])
    found = []
    for name, said in every:
        directory = base(_place(value, name))
        paths = [os.path.normpath(os.path.join(directory, os.path.expanduser(one))) for one in said.split(",")]
        found.append(f"{name}={','.join(paths)}" if said else name)
    return tuple(found)


def _secrets(value: Value | None, known: dict[str, GivenText]) -> tuple[BuildSecret, ...]:
    if value is None:
        return ()
    found = []
    for item in items(value, "build.secrets"):
        place, target = item, ""
        if isinstance(item.data, dict):
            fields = Fields(item, "a build's secret", ("source", "target", "uid", "gid", "mode"))
            place, target = fields.needs("source"), fields.text("target")
        name = text(place, "build.secrets")
        if name not in known:
            hint = did_you_mean(name, known) or "declare it at the top, below `secrets:`"
            raise ComposeError(f"there is no secret `{name}`", at=place.at, hint=hint)
        given = known[name]
        missing = given.variable if given.missing else ""
        found.append(BuildSecret(target or name, given.at, given.source, given.data, missing))
    return tuple(found)
