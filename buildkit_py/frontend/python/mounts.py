"""What a command can have mounted while it runs: caches, secrets, files of elsewhere, memory."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.python.expect import expect
from buildkit_py.frontend.python.position import here
from buildkit_py.frontend.python.tree import Tree
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.python.image import Image

_SHARING = ("shared", "private", "locked")


class CacheMount(Record):
    target: str
    id: str
    sharing: str
    mode: int
    uid: int
    gid: int


class SecretMount(Record):
    id: str
    target: str
    env: str
    required: bool
    mode: int


class TmpfsMount(Record):
    target: str
    size: int


class BindMount(Record):
    tree: Tree
    target: str
    read_only: bool


def cache(
    path: str, *, id: str = "", sharing: str = "shared", mode: int = -1, uid: int = 0, gid: int = 0
) -> CacheMount:
    """A directory that lives on from build to build and is in no image and no key.

    Two caches of one `id` (the path, if not given) are one. `sharing` is what
    several commands at once may do: "shared", "private" (each its own) or
    "locked" (one after the other).
    """
    expect(path, str, "`path` of cache()")
    expect(id, str, "`id` of cache()")
    for name, value in (("mode", mode), ("uid", uid), ("gid", gid)):
        expect(value, int, f"`{name}` of cache()")
    if sharing not in _SHARING:
        raise BuildfileError(f"`sharing` of cache() must be one of {', '.join(_SHARING)}, got {sharing!r}", at=here())
    return CacheMount(path, id, sharing, mode, uid, gid)


def secret(
    id: str, *, target: str | None = None, env: str | None = None, required: bool = True, mode: int = 0o400
) -> SecretMount:
    """A secret of the command line (`--secret id=…`), as a file, as a variable of `env`, or both.

    The file is `target`, by default `/run/secrets/ID` unless `env` is given.
    Its value is in no key and no layer. A missing one is an error, which a
    Dockerfile has to ask for; `required=False` is the Dockerfile's way.
    """
    expect(id, str, "`id` of secret()")
    expect(target, (str, type(None)), "`target` of secret()")
    expect(env, (str, type(None)), "`env` of secret()")
    if not id:
        raise BuildfileError("secret() needs an id", at=here())
    where = target or ("" if env else "/run/secrets/" + id.rpartition("/")[2])
    return SecretMount(id, where, env or "", required, mode)


def tmpfs(path: str, *, size: int = 0) -> TmpfsMount:
    """An empty directory in memory; `size` in bytes, 0 for no limit of its own."""
    expect(path, str, "`path` of tmpfs()")
    expect(size, int, "`size` of tmpfs()")
    return TmpfsMount(path, size)


def bind(what: Tree | Image, target: str, *, read_only: bool = True) -> BindMount:
    """Files of a context or an image, seen at `target` without being copied; writes, if allowed, are dropped."""
    from buildkit_py.frontend.python.image import Image

    expect(what, (Tree, Image), "the first argument of bind()")
    expect(target, str, "`target` of bind()")
    tree = what if isinstance(what, Tree) else Tree(what)
    if len(tree.paths) > 1:
        raise BuildfileError("bind() mounts one path, and this tree has several", at=here())
    return BindMount(tree, target, read_only)
