"""The build request that a command line of `pybuild build` or `pybuild FILE` makes."""

from __future__ import annotations

import os

from buildkit_py.api.request import BuildRequest, CacheSpec, OutputSpec, WantedTarget
from buildkit_py.cli import values
from buildkit_py.cli.cache_spec import cache_spec
from buildkit_py.cli.locate import is_remote, locate
from buildkit_py.cli.progress import at_terminal
from buildkit_py.config import store_root
from buildkit_py.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit_py.cli.options import Parsed


def build_request(parsed: Parsed, env: Mapping[str, str], cwd: str) -> BuildRequest:
    """Raises `UsageError` and `ContextError`."""
    file, context = locate(parsed.operands[0], parsed.one("file"), cwd)
    build_args = values.from_environment(parsed.all("build-arg"), "--build-arg", env)
    epoch = dict(build_args).get("SOURCE_DATE_EPOCH", env.get("SOURCE_DATE_EPOCH", ""))
    if epoch and "SOURCE_DATE_EPOCH" not in dict(build_args):
        # As docker buildx does it: a stage that declares the ARG sees what the environment says.
        build_args = (*build_args, ("SOURCE_DATE_EPOCH", epoch))
    tags = tuple(parsed.all("tag"))
    job, of_job = _job(env)
    return BuildRequest(
        file=file,
        context="" if is_remote(context) else context,
        remote=context if is_remote(context) else "",
        targets=wanted_targets(parsed),
        spelled=tuple(dict.fromkeys(parsed.spelled)),
        build_args=build_args,
        build_contexts=tuple(values.pair(text, "--build-context") for text in parsed.all("build-context")),
        secrets=tuple(values.secret(text, env, cwd) for text in parsed.all("secret")),
        secret_scan=not parsed.has("no-secret-scan"),
        ssh=tuple(values.ssh(text, env, cwd) for text in parsed.all("ssh")),
        outputs=_outputs(parsed, cwd),
        tags=tags,
        labels=tuple(_label(text) for text in parsed.all("label")),
        hosts=tuple(values.host(text) for text in parsed.all("add-host")),
        platform=_platform(parsed.one("platform", env.get("DOCKER_DEFAULT_PLATFORM", ""))),
        network=parsed.one("network", "default"),
        allow=tuple(dict.fromkeys(parsed.all("allow"))),
        no_cache=parsed.has("no-cache"),
        no_cache_filter=tuple(name for text in parsed.all("no-cache-filter") for name in text.split(",") if name),
        pull=parsed.has("pull"),
        jobs=values.count(parsed.one("jobs"), "--jobs") if parsed.one("jobs") else 0,
        keep_going=parsed.has("keep-going"),
        on_error=parsed.one("on-error", "keep"),
        terminal=at_terminal(),
        dry_run=parsed.has("dry-run"),
        normalize=parsed.has("normalize"),
        locked=parsed.has("locked"),
        offline=parsed.has("offline"),
        compression=parsed.one("compression"),
        cache_from=(*(cache_spec(text, "--cache-from", cwd) for text in parsed.all("cache-from")), *of_job),
        cache_to=tuple(cache_spec(text, "--cache-to", cwd) for text in parsed.all("cache-to")),
        cache_max=values.byte_size(parsed.one("cache-max"), "--cache-max") if parsed.one("cache-max") else 0,
        cache_policy=parsed.one("cache-policy", "worthwhile"),
        epoch=values.epoch(epoch),
        reproducible=parsed.has("reproducible"),
        iidfile=_path(parsed.one("iidfile"), cwd),
        metadata_file=_path(parsed.one("metadata-file"), cwd),
        limits=values.size_limits(parsed.one("max-size"), parsed.one("max-growth"), parsed.one("against")),
        no_test=parsed.has("no-test"),
        job=job,
        image=parsed.has("quiet") or parsed.one("progress") == "quiet",
    )


def jobs_directory(env: Mapping[str, str]) -> str:
    """Where the store has CI jobs that began and did not end; nearly always there is none."""
    return store_root(env) + "/jobs"


def _job(env: Mapping[str, str]) -> tuple[str | None, tuple[CacheSpec, ...]]:
    """The name of the CI job that this build belongs to (`pybuild ci restore`), None for none, and its caches."""
    try:
        if not os.listdir(jobs_directory(env)):
            return None, ()
    except OSError:
        return None, ()
    from buildkit_py.ci_job import ci_job
    from buildkit_py.store.jobs import read_job

    name = ci_job(env).name
    job = read_job(store_root(env), name)
    return (name, tuple(CacheSpec(*values) for values in job.sources)) if job is not None else (None, ())


def wanted_targets(parsed: Parsed) -> tuple[WantedTarget, ...]:
    """The targets with their parameters, each as often as it was given.

    One that stands ahead of all targets goes to each of them that is not given one of that name.
    """
    names = parsed.operands[1:]
    if parsed.one("target"):
        if names:
            raise UsageError(f"targets are named twice: `--target {parsed.one('target')}` and `{names[0]}`")
        return (WantedTarget(parsed.one("target"), tuple((key, value) for _, key, value in parsed.parameters)),)
    ahead = [(key, value) for seen, key, value in parsed.parameters if seen <= 1]
    targets = []
    for number, name in enumerate(names or [""]):
        # Operand 0 is the Buildfile, so a parameter right behind target N was read after N + 2 operands.
        own = [(key, value) for seen, key, value in parsed.parameters if seen == number + 2]
        given = {_spelled_alike(key) for key, _ in own}
        inherited = [(key, value) for key, value in ahead if _spelled_alike(key) not in given]
        targets.append(WantedTarget(name, (*inherited, *own)))
    return tuple(targets)


def _spelled_alike(parameter: str) -> str:
    return parameter.replace("-", "_")


def _outputs(parsed: Parsed, cwd: str) -> tuple[OutputSpec, ...]:
    specs = []
    if parsed.all("output"):
        from buildkit_py.exporter.output import parse_output

        for text in parsed.all("output"):
            output = parse_output(text)
            dest = output.dest if output.dest == "-" else _path(output.dest, cwd)
            specs.append(OutputSpec(output.kind, dest, output.attributes))
    if parsed.has("push"):
        specs.append(OutputSpec("registry"))
    return tuple(specs)


def _path(text: str, cwd: str) -> str:
    return os.path.normpath(os.path.join(cwd, text)) if text else ""


def _label(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name:
        raise UsageError(f"`--label {text}` has no name")
    return name, value


def _platform(text: str) -> str:
    if "," in text:
        raise UsageError(f"`--platform {text}` names several platforms", hint="build each of them by itself")
    if text:
        from buildkit_py.image import platform

        platform.parse(text)
    return text
