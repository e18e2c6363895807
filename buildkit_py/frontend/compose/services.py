"""A service: from its mapping in a compose file to a record, by the Compose Specification's services section."""

from __future__ import annotations

from buildkit_py.errors import ComposeError, UsageError
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.compose import values
from buildkit_py.frontend.compose.builds import build
from buildkit_py.frontend.compose.dotenv import read_variables
from buildkit_py.frontend.compose.files import Remark
from buildkit_py.frontend.compose.mounts import given_files, mounts, paths
from buildkit_py.frontend.compose.ports import exposed, ports
from buildkit_py.frontend.compose.project import COMPLETED, HEALTHY, STARTED, Attachment, Dependency, Service
from buildkit_py.frontend.compose.reader import Fields, entries, pairs, seconds, text
from buildkit_py.frontend.compose.resources import DEFAULT
from buildkit_py.frontend.compose.words import split
from buildkit_py.store.containers import is_name
from buildkit_py.store.networks import check_alias

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.compose.document import Value
    from buildkit_py.frontend.compose.files import Files
    from buildkit_py.frontend.compose.resources import Resources

FIELDS = (
    *("image", "build", "pull_policy", "platform", "container_name", "command", "entrypoint", "environment"),
    *("env_file", "ports", "expose", "volumes", "tmpfs", "networks", "network_mode", "depends_on", "healthcheck"),
    *("restart", "stop_signal", "stop_grace_period", "user", "working_dir", "hostname", "extra_hosts", "cap_add"),
    *("cap_drop", "security_opt", "read_only", "init", "shm_size", "ulimits", "mem_limit", "cpus", "pids_limit"),
    *("deploy", "secrets", "configs", "labels", "scale", "tty", "stdin_open", "profiles", "attach", "develop"),
    *("annotations", "logging"),
)
_OURS = "leave it out"
REFUSED = {
    "blkio_config": "the limits that there are: mem_limit, cpus, pids_limit",
    "cgroup": "a container has a cgroup namespace of its own; leave it out",
    "cgroup_parent": "pybuild makes the control groups itself; leave it out",
    "cpu_count": "write `cpus`",
    "cpu_percent": "write `cpus`",
    "cpu_period": "write `cpus`",
    "cpu_quota": "write `cpus`",
    "cpu_rt_period": "write `cpus`",
    "cpu_rt_runtime": "write `cpus`",
    "cpu_shares": "write `cpus`",
    "cpuset": "write `cpus`",
    "credential_spec": "it is for another system; leave it out",
    "device_cgroup_rules": "a container has no devices of this machine",
    "devices": "a container has no devices of this machine",
    "dns": "name servers are those of this machine; leave it out",
    "dns_opt": "name servers are those of this machine; leave it out",
    "dns_search": "name servers are those of this machine; leave it out",
    "domainname": "write the whole name as `hostname`",
    "external_links": "publish a port of the other one, and use that",
    "gpus": "a container has no devices of this machine",
    "group_add": "name the group in `user: USER:GROUP`",
    "ipc": "a container has its own; leave it out",
    "isolation": "it is for another system; leave it out",
    "label_file": "write the labels below `labels`",
    "links": "services find each other by name; leave it out, or give the other one an alias in `networks`",
    "mac_address": "it is chosen so that it meets no other; leave it out",
    "mem_reservation": "say what it gets at most with `mem_limit`",
    "mem_swappiness": _OURS,
    "memswap_limit": "`mem_limit` counts swap, too; leave it out",
    "models": "run the model as a service of its own",
    "oom_kill_disable": _OURS,
    "oom_score_adj": _OURS,
    "pid": "a container has a pid namespace of its own; leave it out",
    "post_start": "run it in a service that depends on this one",
    "pre_stop": "do it when the `stop_signal` comes",
    "privileged": "name the capabilities that it needs in `cap_add`",
    "provider": "there are no plug-ins",
    "runtime": "`pybuild run --runtime` has another one, for single containers",
    "storage_opt": _OURS,
    "sysctls": "a container has the kernel's defaults; leave it out",
    "use_api_socket": "there is no daemon that it could reach",
    "userns_mode": "leave it out: an ordinary user's containers have a user namespace, root's do not",
    "uts": "a container has a host name of its own; leave it out",
    "volumes_from": "name the volumes below `volumes`",
}
_PULL = ("always", "never", "missing", "if_not_present", "build")
_CONDITIONS = (STARTED, HEALTHY, COMPLETED)
_PATIENCE = 10.0


class Reader:
    """Reads the services of one project."""

    def __init__(self, files: Files, resources: Resources) -> None:
        self._files = files
        self._resources = resources

    def service(self, name: str, value: Value, names: tuple[str, ...]) -> Service:
        """One service; `names` are those of all. Raises `ComposeError`, for an env_file `ContextError`."""
        if not is_name(name):
            raise ComposeError(
                f"`{name}` is no name of a service", at=value.place, hint="letters, digits, `_`, `.` and `-`"
            )
        fields = Fields(value, f"the service `{name}`", FIELDS, REFUSED)
        base = self._files.base
        built = build(fields.get("build"), base, self._files.env, self._resources.secrets)
        if built is None and fields.filled("image") is None:
            raise ComposeError(
                f"the service `{name}` has neither `image` nor `build`", at=value.place, hint="name one of them"
            )
        self._check(fields, name)
        deployed = values.deploy(fields.get("deploy"))
        values.one_alone(fields.get("scale"), "scale")
        bounds = values.limits(fields, deployed)
        patience = fields.get("stop_grace_period")
        mode = self._mode(fields, name)
        published = ports(fields.get("ports"))
        shared = self._resources
        platform = fields.text("platform")
        if built is not None and platform and not built.platform:
            built = built.replace(platform=platform)
        elif built is None and platform:
            _check_platform(platform, fields.needs("platform"))
        return Service(
            name=name,
            at=value.place,
            image=fields.text("image"),
            build=built,
            pull=fields.choice("pull_policy", _PULL, "missing").replace("if_not_present", "missing"),
            container_name=self._container_name(fields),
            command=self._command(fields, name),
            entrypoint=self._words(fields, "entrypoint", name),
            environment=self._environment(fields),
            ports=() if mode else published,
            expose=exposed(fields.get("expose")),
            mounts=mounts(fields.get("volumes"), fields.get("tmpfs"), name, shared, base, self._files.remarks),
            files=(
                *given_files(fields.get("secrets"), "secrets", shared.secrets),
                *given_files(fields.get("configs"), "configs", shared.configs),
            ),
            networks=() if mode else self._networks(fields.get("networks"), value),
            mode=mode,
            depends_on=self._depends_on(fields.get("depends_on"), name, names),
            healthcheck=values.healthcheck(fields.get("healthcheck")),
            restart=values.restart(fields, deployed),
            stop_signal=fields.word("stop_signal"),
            patience=seconds(patience, "stop_grace_period") if patience is not None else _PATIENCE,
            user=fields.word("user"),
            working_dir=self._working_dir(fields),
            hostname=fields.text("hostname"),
            hosts=values.hosts(fields.get("extra_hosts"), "extra_hosts"),
            cap_add=fields.texts("cap_add"),
            cap_drop=fields.texts("cap_drop"),
            security_opt=fields.texts("security_opt"),
            read_only=fields.boolean("read_only"),
            init=fields.boolean("init"),
            terminal=fields.boolean("tty"),
            shm=fields.size("shm_size", 0),
            ulimits=values.ulimits(fields.get("ulimits")),
            memory=bounds.memory,
            cpus=bounds.cpus,
            pids=bounds.pids,
            labels=fields.pairs("labels"),
            attach=fields.boolean("attach", True),
            profiles=fields.texts("profiles"),
        )

    def _check(self, fields: Fields, name: str) -> None:
        """What is understood, and cannot be had in this form."""
        stdin = fields.get("stdin_open")
        if fields.boolean("stdin_open") and not fields.boolean("tty") and stdin is not None:
            raise ComposeError(
                "a container in the background has no standard input", at=stdin.place, hint="with `tty: true` it has"
            )
        for key, said in (
            ("develop", "`pybuild up --watch` finds by itself what a service is built from"),
            ("annotations", "they are for other tools"),
            ("logging", "pybuild keeps 16 to 32 MiB of a container's output, which `pybuild logs` shows"),
        ):
            value = fields.get(key)
            if value is not None:
                self._files.remarks.append(Remark(f"`{key}` of `{name}` is not used", value.place, said))

    def _mode(self, fields: Fields, name: str) -> str:
        value = fields.filled("network_mode")
        if value is None:
            return ""
        said = text(value, "network_mode")
        if said not in ("none", "host", "bridge", "default"):
            hint = "services find each other by name on the project's network; leave it out"
            if not said.startswith(("service:", "container:")):
                hint = did_you_mean(said, ("none", "host")) or "it is `none` or `host`"
            raise ComposeError(f"`network_mode: {said}` is not supported", at=value.at, hint=hint)
        if "networks" in fields:
            raise ComposeError("a service has a `network_mode` or `networks`", at=value.place, hint="leave one out")
        mode = "" if said in ("bridge", "default") else said
        published = fields.get("ports")
        if published is not None and published.data and mode:
            hint = "what listens is at this machine's own ports" if mode == "host" else "nothing reaches the service"
            self._files.remarks.append(
                Remark(f"`ports` of `{name}` are not published: it has `network_mode: {mode}`", published.place, hint)
            )
        return mode

    def _container_name(self, fields: Fields) -> str:
        value = fields.filled("container_name")
        if value is None:
            return ""
        name = text(value, "container_name")
        if not is_name(name):
            raise ComposeError(f"`{name}` is no name of a container", at=value.at)
        return name

    def _words(self, fields: Fields, key: str, name: str) -> tuple[str, ...] | None:
        """A command. That a string is for a shell, and none reads it, is said."""
        words = fields.command(key)
        value = fields.get(key)
        operator = split(value.data)[1] if value is not None and isinstance(value.data, str) else ""
        if value is not None and operator:
            self._files.remarks.append(
                Remark(
                    f"no shell reads the `{operator}` in `{key}` of `{name}`",
                    value.at,
                    'write `sh -c "…"`, or quote it',
                )
            )
        return words

    def _command(self, fields: Fields, name: str) -> tuple[str, ...]:
        words = self._words(fields, "command", name)
        if words == () and "entrypoint" not in fields:
            raise ComposeError(
                "an empty `command` is not supported", at=fields.needs("command").at, hint="set `entrypoint`, too"
            )
        return words or ()

    def _working_dir(self, fields: Fields) -> str:
        value = fields.filled("working_dir")
        if value is not None and not text(value, "working_dir").startswith("/"):
            raise ComposeError(f"the working directory `{value.data}` is not absolute", at=value.at)
        return fields.text("working_dir")

    def _environment(self, fields: Fields) -> tuple[tuple[str, str], ...]:
        found: dict[str, str] = {}
        given = fields.get("environment")
        own = dict(pairs(given, "environment", self._files.env)) if given is not None else {}
        for path, required, form, value in paths(fields.get("env_file"), "env_file", self._files.base):
            name = self._files.name(path)
            self._files.read.append(path)
            try:
                found.update(read_variables(path, name, {**found, **own, **self._files.env(value)}, raw=form == "raw"))
            except (FileNotFoundError, IsADirectoryError):
                if required:
                    raise ComposeError(
                        f"there is no file `{name}`", at=value.at, hint="`required: false` does without it"
                    ) from None
            except OSError as problem:
                raise ComposeError(f"`{name}` could not be read: {problem.strerror}", at=value.at) from problem
        return tuple({**found, **own}.items())

    def _networks(self, value: Value | None, service: Value) -> tuple[Attachment, ...]:
        if value is None or not value.data:
            self._resources.check_network(DEFAULT, service.place)
            return (Attachment(DEFAULT),)
        found = []
        for name, place, inner in entries(value, "networks"):
            self._resources.check_network(name, place.place)
            aliases: tuple[str, ...] = ()
            if inner is not None and inner.data is not None:
                ours = "addresses are chosen so that they meet no others; use names"
                refused = dict.fromkeys(("ipv4_address", "ipv6_address", "link_local_ips", "mac_address"), ours)
                refused |= dict.fromkeys(("driver_opts", "gw_priority", "interface_name"), "leave it out")
                aliases = Fields(inner, "a service's network", ("aliases", "priority"), refused).texts("aliases")
                try:
                    for alias in aliases:
                        check_alias(alias)
                except UsageError as problem:
                    raise ComposeError(problem.message, at=inner.place, hint=problem.hint) from problem
            found.append(Attachment(name, aliases))
        return tuple(found)

    def _depends_on(self, value: Value | None, own: str, names: tuple[str, ...]) -> tuple[Dependency, ...]:
        if value is None:
            return ()
        found = []
        for name, place, inner in entries(value, "depends_on"):
            fields = None
            if inner is not None:
                known = ("condition", "restart", "required")
                fields = Fields(inner, "a dependency", known, path=f"depends_on.{name}")
                fields.needs("condition")
            required = fields is None or fields.boolean("required", True)
            if name not in names:
                if not required:
                    continue
                raise ComposeError(
                    f"`{own}` depends on `{name}`, and there is no such service",
                    at=place.place,
                    hint=did_you_mean(name, names),
                )
            found.append(
                Dependency(
                    name,
                    place.place,
                    fields.choice("condition", _CONDITIONS) if fields is not None else STARTED,
                    fields is not None and fields.boolean("restart"),
                    required,
                )
            )
        return tuple(found)


def _check_platform(said: str, value: Value) -> None:
    """Raise `ComposeError` for another platform than this machine's: nothing else runs here."""
    from buildkit_py.image.platform import local, parse

    try:
        wanted = parse(said)
    except UsageError as problem:
        raise ComposeError(problem.message, at=value.at, hint=problem.hint) from problem
    here = local()
    if (wanted.os, wanted.architecture) != (here.os, here.architecture):
        raise ComposeError(
            f"`platform: {said}` is not that of this machine, {here}",
            at=value.at,
            hint="leave it out: the image for this machine is taken",
        )
