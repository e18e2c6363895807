"""The options of `pybuild run` for what a container may do and use: limits, rights, file systems in memory."""

from __future__ import annotations

from buildkit_py.cli import values
from buildkit_py.errors import UsageError
from buildkit_py.runner.request import Bounds, tmpfs_mount
from buildkit_py.runner.rights import LEAST_MEMORY, capabilities, check_ulimit, security
from buildkit_py.sandbox.spec import SandboxMount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.cli.options import Parsed
    from buildkit_py.runner.request import RunRequest


def confined(request: RunRequest, parsed: Parsed) -> RunRequest:
    """The request with what these options say. Raises `UsageError`."""
    hardened = parsed.has("hardened")
    no_new_privileges, seccomp = security(parsed.all("security-opt"), "--security-opt ")
    if hardened and not seccomp:
        raise UsageError("`--hardened` and `--security-opt seccomp=unconfined` contradict each other")
    tmpfs = [_tmpfs(text) for text in parsed.all("tmpfs")]
    if hardened and "/tmp" not in (*[target for _, target, _ in request.volumes], *[mount.target for mount in tmpfs]):
        tmpfs.append(SandboxMount("tmpfs", "/tmp", mode=0o1777, executable=False))
    return request.replace(
        bounds=_bounds(parsed),
        capabilities=capabilities(
            request.capabilities,
            _mask(parsed.all("cap-add"), "--cap-add"),
            _mask([*parsed.all("cap-drop"), *["ALL"] * hardened], "--cap-drop"),
        ),
        seccomp=seccomp,
        no_new_privileges=no_new_privileges or hardened,
        read_only=request.read_only or hardened,
        tmpfs=tuple(tmpfs),
        shm=values.byte_size(parsed.one("shm-size"), "--shm-size") if "shm-size" in parsed.given else 0,
        # Of one that is given twice the last counts, as of other options.
        ulimits=tuple({one[0]: one for one in map(_ulimit, parsed.all("ulimit"))}.values()),
    )


def _bounds(parsed: Parsed) -> Bounds:
    # An empty value is an error, as of a script whose variable is not set, and not the absence of a limit.
    memory = cpus = pids = 0
    if "memory" in parsed.given:
        memory = values.byte_size(parsed.one("memory"), "--memory")
        if memory < LEAST_MEMORY:
            raise UsageError(f"`--memory {parsed.one('memory')}` is too little to start in", hint="6m is the least")
    if "cpus" in parsed.given:
        from buildkit_py.frontend.run_options import processors

        try:
            cpus = processors(parsed.one("cpus"))
        except ValueError as problem:
            raise UsageError(f"`--cpus`: {problem}") from problem
    if "pids-limit" in parsed.given:
        pids = _processes(parsed.one("pids-limit"))
    return Bounds(memory, cpus, pids)


def _processes(text: str) -> int:
    if text == "-1":  # docker's word for no limit
        return 0
    from buildkit_py.sandbox.limits import MOST_PROCESSES

    number = values.count(text, "--pids-limit")
    if number > MOST_PROCESSES:
        raise UsageError(f"`--pids-limit {text}` is more than the kernel has: {MOST_PROCESSES}")
    return number


def _mask(names: Sequence[str], option: str) -> int:
    from buildkit_py.sandbox.capabilities import NAMES, mask

    found = 0
    for text in names:
        for name in text.split(","):
            try:
                found |= mask(name)
            except KeyError:
                from buildkit_py.cli.options import near

                hint = near(name.upper().removeprefix("CAP_"), (*NAMES, "ALL")) or "capabilities(7) lists them"
                raise UsageError(f"`{option} {text}`: `{name}` is no capability", hint=hint) from None
    return found


def _tmpfs(text: str) -> SandboxMount:
    from buildkit_py.tmpfs_spec import tmpfs_spec

    try:
        spec = tmpfs_spec(text)
    except ValueError as problem:
        raise UsageError(f"`--tmpfs {text}`: {problem}") from None
    return tmpfs_mount(spec)


def _ulimit(text: str) -> tuple[str, int, int, int]:
    """`NAME=SOFT[:HARD]`, -1 for no limit; without a HARD that is the SOFT."""
    from buildkit_py.sandbox import ulimits
    from buildkit_py.whole_number import whole_number

    name, _, limits = text.partition("=")
    soft_text, colon, hard_text = limits.partition(":")
    try:
        number = ulimits.number(name)
    except KeyError:
        from buildkit_py.cli.options import near

        hint = near(name, ulimits.NAMES) or f"it is one of {', '.join(sorted(ulimits.NAMES))}"
        raise UsageError(f"`--ulimit {text}`: `{name}` is no limit", hint=hint) from None
    found = []
    for word in (soft_text, hard_text if colon else soft_text):
        try:
            found.append(ulimits.UNLIMITED if word == "-1" else whole_number(word, most=ulimits.UNLIMITED - 1))
        except ValueError:
            raise UsageError(
                f"`--ulimit {text}` is no `NAME=SOFT[:HARD]`", hint="the two are numbers, or -1 for none"
            ) from None
    soft, hard = found
    if soft > hard:
        raise UsageError(f"`--ulimit {text}`: the soft limit is above the hard one")
    check_ulimit(name, hard)
    return name, number, soft, hard
