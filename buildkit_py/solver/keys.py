"""Cache keys: the two names under which a step's result is looked up.

The *definition key* is made of the op and the definition keys of what it
stands on, so it is known before anything has run. The *content key* is made
of the op and the content of what it stands on; it hits when an input was
made in another way but came out the same, which is what stops a rebuild at
the first step that changes nothing (early cutoff).

`docs/reference/cache-keys.md` documents the bytes and `tests/golden/` freezes
them: a changed key without a changed `step_key.FORMAT` is a bug.
"""

from __future__ import annotations

from buildkit_py.graph.op import (
    Copy,
    CopyPath,
    GitSource,
    HostSource,
    HttpSource,
    ImageSource,
    Inline,
    LocalSource,
    Mkdir,
    Mount,
    Restack,
    Run,
    Service,
)
from buildkit_py.http.address import shown_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, assert_never

    from buildkit_py.graph.op import Op
else:

    def assert_never(value):
        raise TypeError(f"not an op: {value!r}")


def op_parts(op: Op) -> tuple[Any, ...]:
    """What of an op decides its result, as a tuple that begins with the op's tag.

    Left out on purpose: values of secrets, proxy variables, addresses of extra
    hosts and services, the id and sharing of cache mounts, names, positions and policies.
    """
    match op:
        case Run():
            return (
                "test" if op.test else "run",
                op.argv,
                op.env,
                op.cwd,
                op.user,
                op.network,
                op.hostname,
                op.platform,
                tuple(_mount_parts(mount) for mount in op.mounts),
                tuple((pipe.name, pipe.content, pipe.mode) for pipe in op.pipes),
                tuple(name for name, _ in op.hosts),
                op.security,
                op.capture,
                *((("inputs", op.inputs),) if op.inputs else ()),
                *((("services", tuple(_service_parts(service) for service in op.services)),) if op.services else ()),
                *((("seeds", (*_service_parts(op.seeds), op.seeds.stop_signal)),) if op.seeds is not None else ()),
            )
        case Copy():
            return (
                "copy",
                tuple(_item_parts(item) for item in op.items),
                op.dest,
                op.owner,
                op.mode,
                op.exclude,
                op.parents,
                op.link,
                op.unpack,
            )
        case Mkdir():
            return ("mkdir", op.path, op.user)
        case Restack():
            return ("restack", op.inputs)
        case ImageSource():
            return ("image", op.digest, op.platform)
        case HostSource():
            return ("host", op.fingerprint)
        case HttpSource():
            return ("http", op.digest, op.name)
        case GitSource():
            # A `.git` that is kept tells of where it came from.
            origin = (shown_url(op.url), op.ref) if op.keep_git_dir else ()
            return ("git", op.commit, op.subdir, op.submodules, origin)
        case LocalSource():
            # A context has no key of its own: what a step takes from it has (`source_part`).
            return ("local",)
        case _:
            assert_never(op)


def _mount_parts(mount: Mount) -> tuple[Any, ...]:
    target = (mount.kind, mount.target, mount.source)
    match mount.kind:
        case "bind":
            return (*target, mount.path, mount.read_only)
        case "cache":
            return (*target, mount.path, mount.read_only, mount.mode, mount.uid, mount.gid)
        case "tmpfs":
            return (*target, mount.size)
        case _:  # secret, ssh
            return (*target, mount.id, mount.env, mount.required, mount.mode, mount.uid, mount.gid)


def _service_parts(service: Service) -> tuple[Any, ...]:
    """Where it will be reached is in no key, nor how long it may take."""
    return (
        service.name,
        service.source,
        service.argv,
        service.env,
        service.cwd,
        service.user,
        service.port,
        service.ready,
    )


def _item_parts(item: CopyPath | Inline) -> tuple[Any, ...]:
    match item:
        case CopyPath():
            parts: tuple[Any, ...] = ("path", item.path, item.source, item.wildcard)
            parts = parts if item.unpack is None else (*parts, item.unpack)
            return (*parts, "whole") if item.whole else parts
        case Inline():
            return ("inline", item.name, item.content)


def uses_base(op: Op) -> bool:
    """Whether the filesystem below decides what the op makes.

    A linked COPY starts from an empty one, a Run with inputs from the last of its sources.
    """
    return not ((isinstance(op, Copy) and op.link) or (isinstance(op, Run) and op.inputs))
