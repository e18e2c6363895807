"""What each instruction means: the state of one stage, and a function an instruction that gives the next state.

Both doors use these functions, so a Buildfile and a Buildfile.py cannot
differ in meaning. A `Stage` is an immutable value: a stage that starts from
another is that value with its tracking reset, the Python door's `Image` can
branch from any state, and nothing has to be copied in fear. Arguments are
expanded already; who expands, and out of what scope, is the door's business.

The rules are BuildKit's, as `docs/reference/dockerfile-compatibility.md` lists them.
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend import history as text
from buildkit_py.frontend.mode import check_mode
from buildkit_py.frontend.narrow import narrow
from buildkit_py.graph.op import NO_POLICY, Copy, CopyPath, ImageSource, Inline, Mkdir, Run
from buildkit_py.graph.step import Step
from buildkit_py.image.config import DEFAULT_PATH, Healthcheck, History, ImageConfig, setenv
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit_py.frontend.narrow import Narrowed
    from buildkit_py.frontend.target import Options, Output, Resolved, Test
    from buildkit_py.graph.op import Mount, Pipe, Policy, Service
    from buildkit_py.source_map import Position

    Pairs = tuple[tuple[str, str], ...]

DEFAULT_SHELL = ("/bin/sh", "-c")
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


class Settings(Record):
    """What the command line says about every Run of a build; `context` is that of the build, where it is elsewhere.

    `allow` has the entitlements that were given.
    """

    network: str = "default"
    hosts: Pairs = ()
    proxy_env: Pairs = ()
    hostname: str = "buildkitsandbox"
    context: Step | None = None
    allow: tuple[str, ...] = ()


def settings_of(options: Options) -> Settings:
    """What the options say about every Run: network, hosts, proxies, host name.

    Proxy variables given as build args reach every command in both spellings,
    without an ARG and without touching its key.
    """
    build_args = dict(options.build_args)
    proxies: dict[str, str] = {}
    for name in sorted(build_args):
        if name.lower() in PROXIES:
            proxies[name.upper()] = proxies[name.lower()] = build_args[name]
    hostname = build_args.get("BUILDKIT_SANDBOX_HOSTNAME", "") or "buildkitsandbox"
    return Settings(options.network, options.hosts, tuple(proxies.items()), hostname, options.source, options.allow)


class Stage(Record):
    """The state of a stage after some of its instructions.

    `env` is what RUN and expansion see: the config's variables and the ARGs,
    the latest last. `args` are the ARGs declared so far, for history.
    `cmd_given` says that CMD stood in this very stage, which keeps it from
    being cleared by ENTRYPOINT. `host`: stands on this machine's own root.
    `outputs` and `tags` are this stage's own, and no stage that starts from it has them; `tests` are those of all
    stages that it is made of.
    `newest` is the last history entry after those of the base image; a chain
    and not a tuple, which each of ten thousand steps would copy. `narrowed` is
    what RUNs with `--inputs` stood on.
    """

    name: str
    platform: str
    step: Step | None
    config: ImageConfig
    settings: Settings
    base_history: tuple[History, ...] = ()
    newest: Entry | None = None
    env: Pairs = ()
    args: Pairs = ()
    author: str = ""
    host: bool = False
    ignore_cache: bool = False
    cmd_given: bool = False
    narrowed: tuple[Narrowed, ...] = ()
    outputs: tuple[Output, ...] = ()
    tags: tuple[str, ...] = ()
    tests: tuple[Test, ...] = ()

    @property
    def history(self) -> tuple[History, ...]:
        """The whole history, oldest first."""
        own: list[History] = []
        entry = self.newest
        while entry is not None:
            own.append(entry.value)
            entry = entry.before
        return (*self.base_history, *reversed(own))


class Entry:
    """One link of a stage's history. No `Record`: comparing or hashing a chain would walk it."""

    __slots__ = ("before", "value")

    def __init__(self, value: History, before: Entry | None) -> None:
        self.value = value
        self.before = before


# Where a stage starts from


def scratch(name: str, platform: str, settings: Settings) -> Stage:
    """`FROM scratch`: an empty filesystem, whose config still has a PATH and a directory."""
    return _ready(Stage(name, platform, None, ImageConfig(working_dir="/"), settings))


def from_step(name: str, platform: str, step: Step, settings: Settings, *, host: bool = False) -> Stage:
    """A filesystem without an image config of its own: this machine's root, a directory."""
    return scratch(name, platform, settings).replace(step=step, host=host)


def from_image(
    name: str, resolved: Resolved, settings: Settings, *, label: str = "", position: Position | None = None
) -> Stage:
    """`FROM image`: its layers, config, history and author. ONBUILD triggers stay in the config for the caller."""
    step = image_step(resolved, name, label, position)
    document = resolved.document
    stage = Stage(name, resolved.platform, step, document.config, settings, document.history, author=document.author)
    return _ready(stage)


def from_stage(name: str, base: Stage, *, ignore_cache: bool = False) -> Stage:
    """`FROM stage`: everything but its ONBUILD triggers. ARG values are inherited, the list of ARGs is not."""
    config = base.config.replace(on_build=()) if base.config.on_build else base.config
    own = {"args": (), "cmd_given": False, "outputs": (), "tags": ()}
    return _ready(base.replace(name=name, config=config, ignore_cache=ignore_cache, **own))


def image_step(resolved: Resolved, stage: str, label: str, position: Position | None) -> Step:
    """The root step of a resolved image."""
    op = ImageSource(resolved.digest, resolved.platform, resolved.layers, resolved.reference)
    return Step(op, name=label or f"FROM {resolved.reference}", stage=stage, position=position)


def files_of(stage: Stage) -> Step:
    """The step whose files `--from` this stage sees; an empty stage is an image without layers."""
    if stage.step is not None:
        return stage.step
    return Step(ImageSource("scratch", stage.platform, (), "scratch"), name="scratch", stage=stage.name)


def _ready(stage: Stage) -> Stage:
    config = stage.config
    if not any(name == "PATH" for name, _ in config.env):
        config = config.replace(env=(*config.env, ("PATH", DEFAULT_PATH)))
    if config.working_dir and not config.working_dir.startswith("/"):
        config = config.replace(working_dir="/" + config.working_dir)
    env = stage.env
    for name, value in config.env:
        env = _latest(env, name, value)
    return stage.replace(config=config, env=env)


# Instructions that make a layer


def agent_target(mounts: Iterable[Mount]) -> str:
    """Where the ssh agent is that has no target of its own, behind these other mounts of its RUN."""
    return f"/run/buildkit/ssh_agent.{sum(mount.kind == 'ssh' for mount in mounts)}"


def shell_argv(stage: Stage, command: str) -> tuple[str, ...]:
    """The shell form: SHELL with the whole text as its last argument."""
    return (*(stage.config.shell or DEFAULT_SHELL), command)


def run(
    stage: Stage,
    argv: tuple[str, ...],
    *,
    mounts: tuple[Mount, ...] = (),
    sources: tuple[Step, ...] = (),
    pipes: tuple[Pipe, ...] = (),
    network: str = "default",
    security: str = "sandbox",
    user: str = "",
    env: Pairs = (),
    capture: bool = False,
    inputs: tuple[str, ...] = (),
    policy: Policy = NO_POLICY,
    services: tuple[Service, ...] = (),
    label: str = "",
    position: Position | None = None,
) -> Stage:
    """RUN. `env` and `user` are for this command only (the Python door's `env=` and `user=`)."""
    seen = stage.env
    for name, value in env:
        seen = _latest(seen, name, value)
    settings = stage.settings
    # What is reached by its services is not for whoever wants all steps on this machine's network to say.
    given = "default" if services and settings.network == "host" else settings.network
    declared = {name for name, _ in stage.args}
    op = Run(
        argv=argv,
        env=seen,
        cwd=stage.config.working_dir or "/",
        user=user or stage.config.user,
        network=network if network != "default" else given,
        hostname=settings.hostname,
        platform=stage.platform,
        mounts=mounts,
        pipes=pipes,
        hosts=settings.hosts,
        # A proxy variable that the stage declares is an ordinary ARG there, and in the key.
        proxy_env=tuple(pair for pair in settings.proxy_env if pair[0] not in declared),
        security=security,
        capture=capture,
        ignore_cache=stage.ignore_cache,
        inputs=inputs,
        policy=policy,
        services=services,
    )
    current = dict(stage.env)
    args = tuple((name, current.get(name, value)) for name, value in stage.args)
    narrowed = stage.narrowed
    if inputs:
        view, narrowed = narrow(stage.step, inputs, settings.context, narrowed, position)
        sources = (*sources, view if view is not None else files_of(stage))
    step = Step(op, stage.step, sources, label, stage.name, position)
    shown = text.run_text(args, argv) + " # buildkit"
    return _commit(stage, shown, layer=True, step=step, narrowed=narrowed)


def copy(
    stage: Stage,
    items: tuple[CopyPath | Inline, ...],
    dest: str,
    *,
    sources: tuple[Step, ...] = (),
    shown: tuple[str, ...] = (),
    keyword: str = "COPY",
    owner: str = "",
    mode: str = "",
    exclude: tuple[str, ...] = (),
    parents: bool = False,
    link: bool = False,
    unpack: bool = False,
    label: str = "",
    position: Position | None = None,
) -> Stage:
    """COPY and ADD of files: `items` in the order written; paths go before heredocs, as BuildKit has it.

    `shown` are the sources as history tells of them, where they are not just the paths of the items.
    """
    if mode:
        check_mode(mode, position)
    ordered = tuple(item for item in items if isinstance(item, CopyPath))
    ordered_items = ordered + tuple(item for item in items if isinstance(item, Inline))
    op = Copy(
        items=ordered_items,
        dest=absolute(stage, dest),
        owner=owner,
        mode=mode,
        exclude=exclude,
        parents=parents,
        link=link and not mode,  # BuildKit makes it a plain copy then
        unpack=unpack,
    )
    words = [keyword]
    words += ["--parents"] * parents
    words += [f"--chown={owner}"] * bool(owner)
    words += [f"--chmod={mode}"] * bool(mode)
    words += shown or [item.path if isinstance(item, CopyPath) else f"<<{item.name}" for item in ordered_items]
    step = Step(op, stage.step, sources, label, stage.name, position)
    return _commit(stage, " ".join((*words, dest, "# buildkit")), layer=True, step=step)


def workdir(stage: Stage, path: str, *, label: str = "", position: Position | None = None) -> Stage:
    """WORKDIR. An absolute path is stored as it stands; a relative one is joined to the last and cleaned."""
    previous = stage.config.working_dir or "/"
    if not path:
        path = previous
    elif not path.startswith("/"):
        path = join(previous, path)
    config = stage.config.replace(working_dir=path)
    if path == "/":
        return _commit(stage, "WORKDIR /", config=config)
    step = Step(Mkdir(path, stage.config.user), stage.step, (), label, stage.name, position)
    return _commit(stage, f"WORKDIR {path}", layer=True, config=config, step=step)


# Instructions that change the config only


def set_env(stage: Stage, pairs: Pairs) -> Stage:
    """ENV."""
    env, seen = stage.config.env, stage.env
    for name, value in pairs:
        env = setenv(env, name, value)
        seen = _latest(seen, name, value)
    words = ("ENV", *(f"{name}={value}" for name, value in pairs))
    return _commit(stage, " ".join(words), config=stage.config.replace(env=env), env=seen)


def declare_args(stage: Stage, args: Iterable[tuple[str, str | None, str | None]]) -> Stage:
    """ARG, as (name, value, default). Without a value the name is declared, but is no variable.

    History shows the default and not the value, which may have come from
    the command line.
    """
    seen, declared, words = stage.env, stage.args, ["ARG"]
    for name, value, default in args:
        if value is not None:
            seen = _latest(seen, name, value)
        declared = (*declared, (name, value or ""))
        words.append(name if default is None else f"{name}={default}")
    return _commit(stage, " ".join(words), env=seen, args=declared)


def end_block(before: Stage, inside: Stage, names: tuple[str, ...]) -> Stage:
    """The end of a block whose own variables were `names`: they are again what they were `before`, unless ENV set them.

    Where the block changed nothing else, so that a RUN below has the key that it had without the block.
    """
    config, configured = dict(inside.config.env), dict(before.config.env)
    outer, current = dict(before.env), dict(inside.env)
    for name in names:
        if name in config and config[name] != configured.get(name):
            current[name] = config[name]
        elif name in outer:
            current[name] = outer[name]
        else:
            current.pop(name, None)
    env = tuple(current.items())
    if current == outer:
        env = before.env
    args = tuple(pair for pair in inside.args[len(before.args) :] if pair[0] not in names)
    return inside.replace(env=env, args=(*before.args, *args))


def label(stage: Stage, pairs: Pairs) -> Stage:
    """LABEL."""
    labels = stage.config.labels
    for name, value in pairs:
        labels = setenv(labels, name, value)
    words = ("LABEL", *(f"{name}={value}" for name, value in pairs))
    return _commit(stage, " ".join(words), config=stage.config.replace(labels=labels))


def user(stage: Stage, name: str) -> Stage:
    """USER: stored as written; looked up in the image only when a command runs."""
    return _commit(stage, f"USER {name}", config=stage.config.replace(user=name))


def expose(stage: Stage, ports: tuple[str, ...]) -> Stage:
    """EXPOSE of ports as `ports.parse_ports` gives them."""
    config = stage.config.replace(ports=_union(stage.config.ports, ports))
    return _commit(stage, f"EXPOSE {text.port_map(ports)}", config=config)


def volume(stage: Stage, paths: tuple[str, ...], *, position: Position | None = None) -> Stage:
    """VOLUME: only a note in the config; what is written below it later stays."""
    if not all(paths):
        raise BuildfileError("a VOLUME cannot be an empty path", at=position)
    config = stage.config.replace(volumes=_union(stage.config.volumes, paths))
    return _commit(stage, f"VOLUME {text.plain_list(paths)}", config=config)


def cmd(stage: Stage, argv: tuple[str, ...]) -> Stage:
    """CMD. `ArgsEscaped` is what docker sets with it."""
    config = stage.config.replace(cmd=argv, args_escaped=True)
    return _commit(stage, f"CMD {text.quoted_list(argv)}", config=config, cmd_given=True)


def entrypoint(stage: Stage, argv: tuple[str, ...]) -> Stage:
    """ENTRYPOINT: clears a CMD that was inherited."""
    config = stage.config.replace(entrypoint=argv or None)
    if not stage.cmd_given:
        config = config.replace(cmd=None)
    return _commit(stage, f"ENTRYPOINT {text.quoted_list(argv)}", config=config)


def shell(stage: Stage, argv: tuple[str, ...]) -> Stage:
    """SHELL."""
    return _commit(stage, f"SHELL {text.plain_list(argv)}", config=stage.config.replace(shell=argv))


def healthcheck(stage: Stage, check: Healthcheck, *, position: Position | None = None) -> Stage:
    """HEALTHCHECK; times are 0 or at least a millisecond, as docker demands."""
    for value in (check.interval, check.timeout, check.start_period, check.start_interval):
        if value and value < 1_000_000:
            raise BuildfileError("a health check's times are 0 or at least 1ms", at=position)
    if check.retries < 0:
        raise BuildfileError("a health check's retries cannot be negative", at=position)
    return _commit(stage, text.healthcheck_text(check), config=stage.config.replace(healthcheck=check))


def stop_signal(stage: Stage, signal: str, *, position: Position | None = None) -> Stage:
    """STOPSIGNAL: must be a signal Linux has; stored as written."""
    from buildkit_py.frontend.signals import is_signal, near_signal

    if not is_signal(signal):
        hint = near_signal(signal) or "a name such as SIGTERM, or a number from 1 to 64"
        raise BuildfileError(f"`{signal}` is not a signal", at=position, hint=hint)
    return _commit(stage, f"STOPSIGNAL {signal}", config=stage.config.replace(stop_signal=signal))


def on_build(stage: Stage, trigger: str) -> Stage:
    """ONBUILD: kept for the images built from this one; leaves no history."""
    return stage.replace(config=stage.config.replace(on_build=(*stage.config.on_build, trigger)))


def maintainer(stage: Stage, author: str) -> Stage:
    """MAINTAINER."""
    return _commit(stage, f"MAINTAINER {author}", author=author)


# Paths


def join(base: str, path: str) -> str:
    """Go's `filepath.Join` below the root: cleaned, absolute, never above `/`."""
    parts: list[str] = []
    for part in f"{base}/{path}".split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def absolute(stage: Stage, dest: str) -> str:
    """A destination made absolute against WORKDIR; a trailing `/` or `/.` keeps its meaning."""
    if dest.startswith("/"):
        return dest
    base = stage.config.working_dir or "/"
    path = join(base, dest)
    if dest in ("", ".") or dest.endswith("/"):
        return path if path == "/" else path + "/"
    if dest.endswith("/."):
        return "/." if path == "/" else path + "/."
    return path


def _latest(env: Pairs, name: str, value: str) -> Pairs:
    """The variables with one set: it moves to the end, as the environment of an LLB state does."""
    return (*(pair for pair in env if pair[0] != name), (name, value))


def _union(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*old, *new)))


def _commit(stage: Stage, created_by: str, *, layer: bool = False, **changes: object) -> Stage:
    """The stage with these fields changed and one entry more in its history."""
    return stage.replace(newest=Entry(History(created_by, empty_layer=not layer), stage.newest), **changes)
