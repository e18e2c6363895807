"""RUN: command forms, heredocs and mounts of one instruction into a `Run` step."""

from __future__ import annotations

import posixpath

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend import assemble, results
from buildkit_py.frontend.assemble import agent_target, join
from buildkit_py.frontend.buildfile.heredoc import file_name
from buildkit_py.frontend.buildfile.run_mount import parse_mount
from buildkit_py.frontend.buildfile.run_policy import run_policy
from buildkit_py.frontend.entitlements import check_network, check_security
from buildkit_py.frontend.local_context import sealed
from buildkit_py.graph.op import LocalSource, Mount, Pipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.assemble import Stage
    from buildkit_py.frontend.buildfile.lower_stage import StageLowering
    from buildkit_py.frontend.buildfile.own_words import Test
    from buildkit_py.frontend.buildfile.run_mount import RunMount
    from buildkit_py.frontend.buildfile.syntax import Flag, RunStep
    from buildkit_py.graph.op import Service
    from buildkit_py.graph.step import Step
    from buildkit_py.source_map import Position


def lower_test(lowering: StageLowering, stage: Stage, node: Test) -> Stage:
    """The stage with one test more. Raises as `lower_run`."""
    name = next((flag for flag in node.flags if flag.name == "name"), None)
    shown = " ".join((node.command.shell or " ".join(node.command.argv or ())).split())
    if name is not None:
        shown = lowering.expand(stage, name.value or "", name.position)
        if not shown.strip():
            raise BuildfileError("--name comes to nothing", at=lowering.place(name.position))
    label = lowering.unnumbered(_shown(node))
    return results.test(stage, lower_run(lowering, stage, node, label), shown, label=label)


def lower_run(lowering: StageLowering, stage: Stage, node: RunStep | Test, label: str = "") -> Stage:
    """The stage after a RUN; `label` names its step where that is none of the stage's own.

    Raises `BuildfileError` for flags that make no sense or are not supported yet."""
    argv, pipes = _command(lowering, stage, node)
    mounts: list[Mount] = []
    sources: list[Step] = []
    network, security = "default", "sandbox"
    inputs, policy = run_policy(lowering, stage, node.flags)
    for flag in node.flags:
        at = lowering.place(flag.position)
        match flag.name:
            case "mount":
                _mount(lowering, stage, flag, mounts, sources)
            case "network":
                network = check_network(flag.value or "default", stage.settings.allow, at)
            case "security":
                security = check_security(flag.value or "sandbox", stage.settings.allow, at)
            case "device":
                raise BuildfileError(
                    "RUN --device is not supported",
                    at=at,
                    hint="devices come by CDI files of the machine, which pybuild does not read",
                )
    services: tuple[Service, ...] = ()
    if wanted := [flag for flag in node.flags if flag.name == "with"]:
        from buildkit_py.frontend.buildfile.lower_service import lower_services

        services = lower_services(lowering, stage, wanted, network, sources)
    return assemble.run(
        stage,
        argv,
        mounts=tuple(mounts),
        sources=tuple(sources),
        pipes=pipes,
        network=network,
        security=security,
        inputs=inputs,
        policy=policy,
        services=services,
        label=label or lowering.label(_shown(node)),
        position=lowering.place(node.position),
    )


def _command(lowering: StageLowering, stage: Stage, node: RunStep | Test) -> tuple[tuple[str, ...], tuple[Pipe, ...]]:
    command = node.command
    if command.argv is not None:
        if not command.argv:
            raise BuildfileError("RUN has no command", at=lowering.place(node.position))
        return command.argv, ()
    text = command.shell or ""
    if not node.heredocs:
        return assemble.shell_argv(stage, text), ()
    if len(node.heredocs) == 1 and is_lone_heredoc(text):
        document = node.heredocs[0]
        if document.body.startswith("#!"):
            # The file's own interpreter is to run it, so it has to be a file; the shell only starts it.
            from buildkit_py.frontend import run_options

            name = file_name(document.name, lowering.place(document.position))
            pipe = Pipe(name, document.body.encode("utf-8", "surrogateescape"))
            return assemble.shell_argv(stage, run_options.script_command(name)), (pipe,)
        return assemble.shell_argv(stage, document.body), ()
    whole = text + "".join(f"\n{document.written}{document.name}" for document in node.heredocs)
    return assemble.shell_argv(stage, whole), ()


def is_lone_heredoc(text: str) -> bool:
    """Whether a command line is nothing but one `<<NAME`: its body is the script itself then."""
    word = text.strip().lstrip("0123456789")
    if not word.startswith("<<"):
        return False
    word = word[2:].removeprefix("-").strip()
    if len(word) > 1 and word[0] in "\"'" and word.find(word[0], 1) == len(word) - 1:
        return True
    return bool(word) and "<" not in word and not any(ch.isspace() for ch in word)


def _mount(lowering: StageLowering, stage: Stage, flag: Flag, mounts: list[Mount], sources: list[Step]) -> None:
    """Add one mount, and the step it reads from."""
    at = lowering.place(flag.position)
    spec = parse_mount(flag.value or "", lambda word: lowering.expand(stage, word, flag.position), at)
    if spec.kind == "ssh":
        mounts.append(_ssh(stage, spec, mounts, at))
        return
    if spec.kind == "secret":
        mounts.append(_secret(stage, spec, at))
        return
    target = _target(stage, spec.target, at)
    if spec.kind == "tmpfs":
        mounts.append(Mount("tmpfs", target, read_only=spec.read_only, size=spec.size))
        return
    source, path = -1, "/"
    if spec.kind == "bind" or spec.origin:
        step = _source(lowering, spec, at)
        if step in sources:
            source = sources.index(step)
        else:
            source = len(sources)
            sources.append(step)
        path = join("/", spec.source)
    if spec.kind == "bind":
        mounts.append(Mount("bind", target, source, path, spec.read_only))
        return
    if spec.source and source < 0 and max(spec.mode, spec.uid, spec.gid) < 0:
        raise BuildfileError(
            f"the cache mount begins empty, so it has no `source={spec.source}`", at=at, hint="give it a `from`, too"
        )
    namespace = lowering.build.build_args.get("BUILDKIT_CACHE_MOUNT_NS", "")
    # The target as written, but for its dots, is the name: that of none is `.`, wherever the step works.
    name = spec.id or (target if spec.target.startswith("/") else posixpath.normpath(spec.target or "."))
    mounts.append(
        Mount(
            "cache",
            target,
            source,
            path,
            spec.read_only,
            id=f"{namespace}/{name}" if namespace else name,
            sharing=spec.sharing or "shared",
            mode=spec.mode,
            uid=max(spec.uid, 0),
            gid=max(spec.gid, 0),
            keys=spec.keys,
        )
    )


def _source(lowering: StageLowering, spec: RunMount, at: Position) -> Step:
    """What a mount shows: a stage or image as it is, of a live directory a sealed snapshot of the path."""
    build = lowering.build
    if spec.origin:
        step, live = build.source(spec.origin, lowering.node, at)
        shown = f"[context {spec.origin}] {spec.source or '/'}"
    else:
        step = build.context(at)
        live = isinstance(step.op, LocalSource)
        shown = f"[context] {spec.source or '/'}"
    if not live:
        return step
    path = join("/", spec.source).lstrip("/") or "/"
    key = (step, path)
    snapshot = lowering.build.snapshots.get(key)
    if snapshot is None:
        snapshot = sealed(step, path, label=shown, stage=lowering.node.title, position=at)
        lowering.build.snapshots[key] = snapshot
    return snapshot


def _secret(stage: Stage, spec: RunMount, at: Position) -> Mount:
    name = spec.source or spec.id or spec.target.rstrip("/").rpartition("/")[2]
    if not name:
        raise BuildfileError("a secret needs an `id` or a `target`", at=at)
    target = spec.target
    if not target and not spec.env:
        target = "/run/secrets/" + name.rstrip("/").rpartition("/")[2]
    return Mount(
        "secret",
        _target(stage, target, at) if target else "",
        id=name,
        mode=spec.mode,
        uid=max(spec.uid, 0),
        gid=max(spec.gid, 0),
        env=spec.env,
        required=spec.required,
    )


def _ssh(stage: Stage, spec: RunMount, mounts: list[Mount], at: Position) -> Mount:
    return Mount(
        "ssh",
        _target(stage, spec.target or agent_target(mounts), at),
        id=spec.id or "default",
        mode=spec.mode,
        uid=max(spec.uid, 0),
        gid=max(spec.gid, 0),
        required=spec.required,
    )


def _target(stage: Stage, target: str, at: Position) -> str:
    path = join("/" if target.startswith("/") else stage.config.working_dir or "/", target)
    if path == "/":
        what = (
            f"a mount cannot cover the whole filesystem (target `{target}`)"
            if target
            else "a mount without a `target` covers the working directory, which is the whole filesystem here"
        )
        raise BuildfileError(what, at=at, hint="say where the step sees it: `target=/path`")
    return path


def _shown(node: RunStep | Test) -> str:
    """The instruction on one line, for people."""
    words = [
        node.keyword,
        *(f"--{flag.name}={flag.value}" if flag.value is not None else f"--{flag.name}" for flag in node.flags),
    ]
    command = node.command
    if command.argv is not None:
        words.append("[" + ", ".join(f'"{word}"' for word in command.argv) + "]")
    else:
        words.append(" ".join((command.shell or "").split()))
    for document in node.heredocs:
        lines = document.body.strip().split("\n")
        words.append(f"({lines[0]}{'...' if len(lines) > 1 else ''})")
    return " ".join(words)
