"""How a command of the Python door is run: the keywords of `run()` that RUN has as flags of its own."""

from __future__ import annotations

from buildkit_py.byte_size import byte_size
from buildkit_py.errors import BuildfileError
from buildkit_py.frontend import run_options
from buildkit_py.frontend.python.expect import expect, shown, strings
from buildkit_py.frontend.python.position import here
from buildkit_py.graph.op import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    T = TypeVar("T")


def policy_of(
    *,
    timeout: str,
    retry: int,
    ttl: str,
    always: bool,
    cpus: float,
    memory: str | int,
    pool: str,
    save_always: Mapping[str, str] | list[str] | tuple[str, ...],
) -> Policy:
    """The policy that these keywords make, their paths as written. Raises `BuildfileError` at the user's line."""
    for name, value, wanted in (
        ("timeout", timeout, str),
        ("ttl", ttl, str),
        ("pool", pool, str),
        ("retry", retry, int),
        ("always", always, bool),
        ("cpus", cpus, (int, float)),
        ("memory", memory, (str, int)),
    ):
        if isinstance(value, bool) and wanted is not bool:
            raise BuildfileError(f"`{name}` of run() cannot be {shown(value)}", at=here())
        expect(value, wanted, f"`{name}` of run()")
    name, size = read("pool", run_options.pool, pool, ("", 0))
    return Policy(
        timeout=read("timeout", run_options.milliseconds, timeout, 0),
        retry=read("retry", run_options.retries, str(retry), 0),
        ttl=read("ttl", run_options.seconds, ttl, 0),
        always=always,
        cpus=read("cpus", run_options.processors, f"{cpus:.3f}" if cpus else "", 0),
        memory=read("memory", byte_size, str(memory) if memory else "", 0),
        pool=name,
        pool_size=size,
        save_always=_saved(save_always),
    )


def read(name: str, reader: Callable[[str], T], text: str, nothing: T) -> T:
    """What a keyword's text says; `nothing` for an empty one. Raises `BuildfileError` at the user's line."""
    try:
        return reader(text) if text else nothing
    except ValueError as problem:
        raise BuildfileError(f"`{name}`: {problem}", at=here()) from problem


def _saved(wanted: Any) -> tuple[tuple[str, str], ...]:
    if not hasattr(wanted, "items"):
        wanted = dict.fromkeys(strings(wanted, "`save_always` of run()"), "")
    out = []
    for source, dest in wanted.items():
        expect(source, str, "each path in `save_always` of run()")
        expect(dest, str, "each place in `save_always` of run()")
        try:
            out.append(run_options.saved_to(source, dest))
        except ValueError as problem:
            raise BuildfileError(f"`save_always`: {problem}", at=here()) from problem
    return tuple(out)
