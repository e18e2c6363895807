"""What a command can have mounted while it runs: caches, secrets, ssh agents, files of elsewhere, memory."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.python.expect import expect, shown
from buildkit_py.frontend.python.position import here
from buildkit_py.frontend.python.template import expect_text
from buildkit_py.frontend.python.tree import Tree
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.python.actions import AnyText
    from buildkit_py.frontend.python.image import Image

# (2 ** 32 - 1 is no id: chown(2) takes it for "leave it as it is".)
_NUMBERS = {"mode": (-1, 0o7777), "uid": (0, 2**32 - 2), "gid": (0, 2**32 - 2), "size": (0, 2**63 - 1)}
_SHARING = ("shared", "private", "locked")


class CacheMount(Record):
    """`tree` is what a new one begins with, None for nothing. `keys` are paths as the command sees them."""

    target: AnyText
    id: AnyText
    sharing: str
    mode: int
    uid: int
    gid: int
    read_only: bool
    tree: Tree | None
    keys: tuple[AnyText, ...] = ()


class SecretMount(Record):
    id: AnyText
    target: AnyText
    env: str
    required: bool
    mode: int
    uid: int
    gid: int


class SshMount(Record):
    id: AnyText
    target: AnyText
    required: bool
    mode: int
    uid: int
    gid: int


class TmpfsMount(Record):
    target: AnyText
    size: int


class BindMount(Record):
    tree: Tree
    target: AnyText
    read_only: bool


def cache(
    path: AnyText,
    *,
    id: AnyText = "",
    sharing: str = "shared",
    mode: int = -1,
    uid: int = 0,
    gid: int = 0,
    read_only: bool = False,
    source: Tree | Image | None = None,
    key: AnyText | list[AnyText] | tuple[AnyText, ...] = (),
) -> CacheMount:
    """A directory that lives on from build to build and is in no image and no key.

    Two caches of one `id` (the path, if not given) are one. `sharing` is what
    several commands at once may do: "shared", "private" (each its own) or
    "locked" (one after the other). A new one is empty, or begins with the
    files of `source`. On another machine it begins with what was saved when
    the files that `key` names, as the command sees them, were the same; where
    nothing was, with what was saved last.
    """
    _expect_place(path, "`path` of cache()")
    expect_text(id, "`id` of cache()")
    expect(read_only, bool, "`read_only` of cache()")
    for name, value in (("mode", mode), ("uid", uid), ("gid", gid)):
        _expect_number(name, value, "cache()")
    if sharing not in _SHARING:
        raise BuildfileError(f"`sharing` of cache() must be one of {', '.join(_SHARING)}, got {sharing!r}", at=here())
    tree = None if source is None else _one_path(source, "`source` of cache()", "cache() begins with")
    keys = key if isinstance(key, (list, tuple)) else (key,)
    for one in keys:
        expect_text(one, "`key` of cache()")
        if isinstance(one, str) and not one.strip("/"):
            raise BuildfileError("`key` of cache() names no file", at=here(), hint='as in key="go.sum"')
    return CacheMount(path, id, sharing, mode, uid, gid, read_only, tree, tuple(keys))


def secret(
    id: AnyText,
    *,
    target: AnyText | None = None,
    env: str | None = None,
    required: bool = True,
    mode: int = -1,
    uid: int = 0,
    gid: int = 0,
) -> SecretMount:
    """A secret of the command line (`--secret id=…`), as a file, as a variable of `env`, or both.

    The file is `target`, by default `/run/secrets/ID` unless `env` is given.
    Only its owner can read it, unless `mode` says otherwise. Its value is in
    no key and no layer. A missing one is an error, which a Dockerfile has to
    ask for; `required=False` is the Dockerfile's way.
    """
    expect_text(id, "`id` of secret()")
    expect_text("" if target is None else target, "`target` of secret()")
    expect(env, (str, type(None)), "`env` of secret()")
    expect(required, bool, "`required` of secret()")
    if _is_empty(id):
        raise BuildfileError("secret() needs an id", at=here())
    for name, value in (("mode", mode), ("uid", uid), ("gid", gid)):
        _expect_number(name, value, "secret()")
    if target is not None and not _is_empty(target):
        where = target
    elif env:
        where = ""
    elif isinstance(id, str):
        where = "/run/secrets/" + id.rpartition("/")[2]
    else:
        raise BuildfileError("secret() of an id to expand needs a target, or env", at=here())
    return SecretMount(id, where, env or "", required, mode, uid, gid)


def ssh(
    id: AnyText = "default",
    *,
    target: AnyText = "",
    required: bool = True,
    mode: int = -1,
    uid: int = 0,
    gid: int = 0,
) -> SshMount:
    """An ssh agent of the command line (`--ssh ID`), whose keys the command may use, and can neither see nor change.

    Its socket is `target`, by default `/run/buildkit/ssh_agent.N`; the first
    one's is in `SSH_AUTH_SOCK`. Only its owner can use it, unless `mode` says
    otherwise. A missing one is an error, which a Dockerfile has to ask for;
    `required=False` is the Dockerfile's way.
    """
    expect_text(id, "`id` of ssh()")
    expect_text(target, "`target` of ssh()")
    expect(required, bool, "`required` of ssh()")
    for name, value in (("mode", mode), ("uid", uid), ("gid", gid)):
        _expect_number(name, value, "ssh()")
    if _is_empty(id):
        raise BuildfileError("ssh() needs an id", at=here())
    return SshMount(id, target, required, mode, uid, gid)


def tmpfs(path: AnyText, *, size: int = 0) -> TmpfsMount:
    """An empty directory in memory; `size` in bytes, 0 for no limit of its own."""
    _expect_place(path, "`path` of tmpfs()")
    _expect_number("size", size, "tmpfs()")
    return TmpfsMount(path, size)


def bind(what: Tree | Image, target: AnyText, *, read_only: bool = True) -> BindMount:
    """Files of a context or an image, seen at `target` without being copied; writes, if allowed, are dropped."""
    tree = _one_path(what, "the first argument of bind()", "bind() mounts")
    _expect_place(target, "`target` of bind()")
    expect(read_only, bool, "`read_only` of bind()")
    return BindMount(tree, target, read_only)


def _expect_place(path: AnyText, name: str) -> None:
    """Raise for what is no place to mount at; one that is only known later is looked at then."""
    expect_text(path, name)
    if isinstance(path, str) and not path.strip("/"):
        what = f"a mount cannot cover the whole filesystem ({name})" if path else f"{name} is empty"
        raise BuildfileError(what, at=here(), hint="name a path, as in `/cache`")


def _expect_number(name: str, value: object, what: str) -> None:
    """Raise for what no mode, id or size can be; a mode of -1 is none."""
    expect(value, int, f"`{name}` of {what}")
    least, most = _NUMBERS[name]
    if isinstance(value, bool) or not least <= int(value) <= most:  # type: ignore[call-overload]
        raise BuildfileError(f"`{name}` of {what} cannot be {shown(value)}", at=here())


def _is_empty(text: AnyText) -> bool:
    """Whether a text is empty as far as it is known."""
    return isinstance(text, str) and not text


def _one_path(what: Tree | Image, name: str, does: str) -> Tree:
    from buildkit_py.frontend.python.image import Image

    expect(what, (Tree, Image), name)
    tree = what if isinstance(what, Tree) else Tree(what)
    if len(tree.paths) > 1:
        raise BuildfileError(f"{does} one path, and this tree has several", at=here())
    return tree
