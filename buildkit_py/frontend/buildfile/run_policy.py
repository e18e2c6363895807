"""RUN's own flags: `--timeout`, `--retry` and the others that say how a command is run, into a policy."""

from __future__ import annotations

from buildkit_py.byte_size import byte_size
from buildkit_py.errors import BuildfileError
from buildkit_py.graph.op import NO_POLICY, Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildkit_py.frontend.assemble import Stage
    from buildkit_py.frontend.buildfile.lower_stage import StageLowering
    from buildkit_py.frontend.buildfile.syntax import Flag

_NAMES = frozenset(("timeout", "retry", "ttl", "always", "inputs", "cpus", "memory", "pool", "save-always"))


def run_policy(lowering: StageLowering, stage: Stage, flags: tuple[Flag, ...]) -> tuple[tuple[str, ...], Policy]:
    """The patterns of `--inputs` and the policy that the others make. Raises `BuildfileError` at the flag."""
    own = [flag for flag in flags if flag.name in _NAMES]
    if not own:
        return (), NO_POLICY
    inputs: list[str] = []
    save: list[tuple[str, str]] = []
    fields: dict[str, Any] = {}
    cwd = stage.config.working_dir or "/"
    for flag in own:
        at = lowering.place(flag.position)
        text = lowering.expand(stage, flag.value, flag.position) if flag.value else ""
        try:
            _take(flag.name, text, flag.value, cwd, inputs, save, fields)
        except ValueError as problem:
            raise BuildfileError(f"--{flag.name}: {problem}", at=at) from problem
    if all(pattern.startswith("!") for pattern in inputs) and inputs:
        raise BuildfileError(
            "--inputs names nothing that the command sees",
            at=lowering.place(own[0].position),
            hint="`!` takes back from what an --inputs before it named",
        )
    return tuple(inputs), Policy(save_always=tuple(save), **fields)


def _take(
    name: str,
    text: str,
    written: str | None,
    cwd: str,
    inputs: list[str],
    save: list[tuple[str, str]],
    fields: dict[str, Any],
) -> None:
    """Read one flag. Raises `ValueError`."""
    from buildkit_py.frontend import run_options
    from buildkit_py.frontend.assemble import join

    match name:
        case "timeout":
            fields["timeout"] = run_options.milliseconds(text)
        case "retry":
            fields["retry"] = run_options.retries(text)
        case "ttl":
            fields["ttl"] = run_options.seconds(text)
        case "always":
            fields["always"] = written in (None, "true")
        case "inputs":
            inputs.append(run_options.pattern(text, cwd))
        case "cpus":
            fields["cpus"] = run_options.processors(text)
        case "memory":
            fields["memory"] = byte_size(text)
        case "pool":
            fields["pool"], fields["pool_size"] = run_options.pool(text)
        case _:
            source, dest = run_options.saved(text)
            save.append((join("/" if source.startswith("/") else cwd, source), dest))
