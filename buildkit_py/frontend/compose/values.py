"""Values of a service that have a form of their own: health checks, limits, restart policies, hosts."""

from __future__ import annotations

from buildkit_py.errors import ComposeError
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.compose.document import Value
from buildkit_py.frontend.compose.reader import Fields, integer, items, mapping, nanoseconds, text, word, wrong
from buildkit_py.image.config import Healthcheck
from buildkit_py.record import Record
from buildkit_py.sandbox.limits import MOST_PROCESSES
from buildkit_py.sandbox.resolv import HOST_GATEWAY

HEALTH = ("test", "interval", "timeout", "retries", "start_period", "start_interval", "disable")
_POLICIES = ("no", "always", "on-failure", "unless-stopped")
_CONDITIONS = {"none": "no", "on-failure": "on-failure", "any": "always"}
_DEPLOY = ("mode", "replicas", "resources", "restart_policy", "labels")
_DEPLOY_REFUSED = {
    "endpoint_mode": "it is for clusters; leave it out",
    "placement": "it is for clusters; leave it out",
    "rollback_config": "it is for clusters; leave it out",
    "update_config": "it is for clusters; leave it out",
}
_RESERVED = "nothing is set aside for a service; say what it gets at most, below `limits`"
_UNLIMITED = -1


class Limits(Record):
    """Bytes, thousandths of a processor and processes; 0: no limit."""

    memory: int = 0
    cpus: int = 0
    pids: int = 0


def healthcheck(value: Value | None) -> Healthcheck | None:
    """A service's `healthcheck`, None where there is none: then it is the image's. Raises `ComposeError`."""
    if value is None:
        return None
    fields = Fields(value, "a health check", HEALTH, path="healthcheck")
    if fields.boolean("disable"):
        return Healthcheck(("NONE",))
    test = fields.get("test")
    words: tuple[str, ...] = ()
    if test is not None and isinstance(test.data, str):
        words = ("CMD-SHELL", test.data)
    elif test is not None:
        words = tuple([word(one, "healthcheck.test") for one in items(test, "healthcheck.test")])
        if not words or words[0] not in ("NONE", "CMD", "CMD-SHELL"):
            raise ComposeError(
                "the list of `healthcheck.test` begins with `CMD`, `CMD-SHELL` or `NONE`",
                at=test.at,
                hint="or write a string, which a shell reads",
            )
        if words[0] != "NONE" and (len(words) < 2 or (words[0] == "CMD-SHELL" and len(words) > 2)):
            raise ComposeError(f"`healthcheck.test` wants a command behind `{words[0]}`", at=test.at)
        if words[0] == "NONE":
            return Healthcheck(("NONE",))
    times = {}
    for key in ("interval", "timeout", "start_period", "start_interval"):
        given = fields.get(key)
        times[key] = nanoseconds(given, f"healthcheck.{key}") if given is not None else 0
    return Healthcheck(words, retries=fields.integer("retries"), **times)


def restart(fields: Fields, deploy: Fields | None) -> str:
    """A service's restart policy, as `pybuild run --restart` has it."""
    value = fields.filled("restart")
    if value is not None:
        if value.data is False:  # `no` is a boolean for old YAML
            return "no"
        said = text(value, "restart")
        policy, colon, most = said.partition(":")
        if policy not in _POLICIES or (colon and policy != "on-failure"):
            hint = did_you_mean(policy, _POLICIES) or "one of no, on-failure[:N], always, unless-stopped"
            raise ComposeError(f"`{said}` is no restart policy", at=value.at, hint=hint)
        if colon:
            integer(value.replace(data=most), "restart")
        return said
    given = deploy.get("restart_policy") if deploy is not None else None
    if given is None:
        return "no"
    refused = {
        "delay": "one that keeps ending waits longer each time; leave it out",
        "window": "one that runs for ten seconds has started; leave it out",
    }
    inner = Fields(given, "`restart_policy`", ("condition", "max_attempts"), refused, "deploy.restart_policy")
    policy = _CONDITIONS[inner.choice("condition", tuple(_CONDITIONS), "any")]
    most_attempts = inner.get("max_attempts")
    if most_attempts is None or policy == "no":
        return policy
    if policy != "on-failure":
        raise ComposeError(
            "`max_attempts` is for the condition `on-failure`", at=most_attempts.place, hint="set `condition`"
        )
    return f"{policy}:{integer(most_attempts, 'deploy.restart_policy.max_attempts', 1)}"


def deploy(value: Value | None) -> Fields | None:
    """A service's `deploy`, of which one container is asked for. Raises `ComposeError`."""
    if value is None:
        return None
    fields = Fields(value, "`deploy`", _DEPLOY, _DEPLOY_REFUSED, "deploy")
    fields.choice("mode", ("replicated", "global", "replicated-job", "global-job"))
    one_alone(fields.get("replicas"), "deploy.replicas")
    fields.pairs("labels")
    return fields


def one_alone(value: Value | None, what: str) -> None:
    """Raise `ComposeError` where another number of containers than one is asked for."""
    if value is not None and integer(value, what) != 1:
        raise ComposeError(
            f"`{what}` is {value.text}, and a service has one container",
            at=value.at,
            hint="give each its own service, which may `extends` the first",
        )


def limits(fields: Fields, deployed: Fields | None) -> Limits:
    """What a service gets at most, of its own keys and of `deploy.resources.limits`. Raises `ComposeError`."""
    found = Limits(
        fields.size("mem_limit", 0), _cpus(fields.get("cpus"), "cpus"), _pids(fields.get("pids_limit"), "pids_limit")
    )
    resources = deployed.get("resources") if deployed is not None else None
    if resources is None:
        return found
    refused = {"reservations": _RESERVED}
    value = Fields(resources, "`resources`", ("limits",), refused, "deploy.resources").get("limits")
    if value is None:
        return found
    path = "deploy.resources.limits"
    inner = Fields(value, "`limits`", ("cpus", "memory", "pids"), path=path)
    other = Limits(inner.size("memory", 0), _cpus(inner.get("cpus"), "cpus"), _pids(inner.get("pids"), "pids"))
    for name, old in (("memory", "mem_limit"), ("cpus", "cpus"), ("pids", "pids_limit")):
        one, two = getattr(found, name), getattr(other, name)
        if one and two and one != two:
            raise ComposeError(f"`{old}` and `{path}.{name}` differ", at=inner.needs(name).at, hint="leave one out")
    return Limits(*[one or two for one, two in zip(found.values(), other.values(), strict=True)])


def _cpus(value: Value | None, what: str) -> int:
    """Thousandths of a processor."""
    if value is None or value.data == 0:
        return 0
    from buildkit_py.frontend.run_options import processors

    said = word(value, what)
    try:
        return processors(said) if said.strip("0.") else 0
    except ValueError as problem:
        raise ComposeError(f"`{what}`: {problem}", at=value.at) from None


def _pids(value: Value | None, what: str) -> int:
    return max(0, integer(value, what, -1, MOST_PROCESSES)) if value is not None else 0


def ulimits(value: Value | None) -> tuple[tuple[str, int, int], ...]:
    """(name, soft, hard) of each, -1 for no limit. Raises `ComposeError`."""
    if value is None:
        return ()
    from buildkit_py.sandbox.ulimits import NAMES

    found = []
    for name, one in mapping(value, "ulimits").items():
        if name not in NAMES:
            hint = did_you_mean(name, NAMES) or f"it is one of {', '.join(sorted(NAMES))}"
            raise ComposeError(f"`{name}` is no limit", at=one.place, hint=hint)
        if isinstance(one.data, dict):
            fields = Fields(one, "a limit", ("soft", "hard"), path=f"ulimits.{name}")
            soft = integer(fields.needs("soft"), f"ulimits.{name}.soft", _UNLIMITED)
            hard = integer(fields.needs("hard"), f"ulimits.{name}.hard", _UNLIMITED)
        else:
            soft = hard = integer(one, f"ulimits.{name}", _UNLIMITED)
        if hard != _UNLIMITED and (soft > hard or soft == _UNLIMITED):
            raise ComposeError(f"the soft limit of `{name}` is above the hard one", at=one.at)
        found.append((name, soft, hard))
    return tuple(found)


def hosts(value: Value | None, what: str) -> tuple[tuple[str, str], ...]:
    """(name, address) of each extra host: a list of `NAME:ADDRESS` or `NAME=ADDRESS`, or a mapping. `host-gateway`,
    for an address of this machine, stays as it is.
    """
    if value is None:
        return ()
    found = []
    if isinstance(value.data, dict):
        for name, one in value.data.items():
            for address in one.data if isinstance(one.data, tuple) else (one,):
                found.append((name, _address(text(address, what), address)))
        return tuple(found)
    if not isinstance(value.data, tuple):
        raise wrong(what, "a list or a mapping", value)
    for one in value.data:
        said = text(one, what)
        name, separator, address = said.partition("=" if "=" in said else ":")
        if not name or not separator:
            raise ComposeError(f"`{said}` is no `NAME=ADDRESS`", at=one.at)
        found.append((name, _address(address, one)))
    return tuple(found)


def _address(said: str, value: Value) -> str:
    from ipaddress import ip_address

    if said == HOST_GATEWAY:
        return said
    try:
        return str(ip_address(said.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise ComposeError(f"`{said}` is no IP address", at=value.at) from None
