"""The options of `pybuild run` for what a container may do and use: limits, rights, file systems in memory."""

from __future__ import annotations

import os

from buildkit_py.cli import values
from buildkit_py.errors import UsageError
from buildkit_py.runner.request import Bounds
from buildkit_py.runner.rights import LEAST_MEMORY, capabilities, check_ulimit, security
from buildkit_py.sandbox.spec import SandboxMount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.cli.options import Parsed
    from buildkit_py.runner.request import RunRequest

_MOST_PROCESSES = 1 << 22  # the kernel's PID_MAX_LIMIT
_NO_ID = (1 << 32) - 1  # the kernel's word for nobody at all
# A new tmpfs is so in any case, or as docker has it where nothing is said.
_ALWAYS = ("rw", "nosuid", "nodev", "noexec")


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
        ulimits=tuple(_ulimit(text) for text in parsed.all("ulimit")),
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
    number = values.count(text, "--pids-limit")
    if number > _MOST_PROCESSES:
        raise UsageError(f"`--pids-limit {text}` is more than the kernel has: {_MOST_PROCESSES}")
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
    """`PATH[:OPTION,…]`, as docker has it: mode 1777 and not executable where nothing else is said."""
    path, _, options = text.partition(":")
    target = os.path.normpath(path)
    if not path.startswith("/") or target.strip("/") == "":
        raise UsageError(f"`--tmpfs {text}` is no absolute path below `/`")
    size, mode, executable, uid, gid = 0, 0o1777, False, 0, 0
    for option in options.split(",") if options else ():
        name, equals, value = option.partition("=")
        if name == "size" and value:
            size = values.byte_size(value, f"--tmpfs {text}")
        elif name == "mode" and value and len(value) <= 4 and set(value) <= set("01234567"):
            mode = int(value, 8)
        elif name in ("uid", "gid") and value.isascii() and value.isdigit() and int(value) < _NO_ID:
            uid, gid = (int(value), gid) if name == "uid" else (uid, int(value))
        elif option == "exec" or (option in _ALWAYS and not equals):
            executable = option == "exec" or (executable and option != "noexec")
        else:
            raise UsageError(
                f"`--tmpfs {text}`: `{option}` is not understood",
                hint="it takes `size=64m`, `mode=1777`, `uid=`, `gid=`, `exec` and `noexec`",
            )
    return SandboxMount("tmpfs", target, size=size, mode=mode, executable=executable, uid=uid, gid=gid)


def _ulimit(text: str) -> tuple[str, int, int, int]:
    """`NAME=SOFT[:HARD]`, -1 for no limit; without a HARD that is the SOFT."""
    from buildkit_py.sandbox import ulimits

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
        if word != "-1" and not (word.isascii() and word.isdigit() and int(word) < ulimits.UNLIMITED):
            raise UsageError(f"`--ulimit {text}` is no `NAME=SOFT[:HARD]`", hint="the two are numbers, or -1 for none")
        found.append(ulimits.UNLIMITED if word == "-1" else int(word))
    soft, hard = found
    if soft > hard:
        raise UsageError(f"`--ulimit {text}`: the soft limit is above the hard one")
    check_ulimit(name, hard)
    return name, number, soft, hard
