"""Sources from elsewhere: `remote()`, the files of a commit of git or the file of a URL."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.python.expect import expect
from buildkit_py.frontend.python.position import here
from buildkit_py.frontend.python.tree import Tree
from buildkit_py.frontend.remote import remote_source
from buildkit_py.graph.op import HttpSource
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.graph.op import GitSource
    from buildkit_py.source_map import Position


class Elsewhere(Record):
    """A source of a tree: the op and the address as it was given."""

    op: HttpSource | GitSource
    address: str
    position: Position


def remote(address: str, *, checksum: str = "", keep_git_dir: bool = False) -> Tree:
    """What `ADD` takes from an address: `https://…/file`, `https://…/repo.git#ref:dir`, `git@host:repo.git`.

    `checksum` is `sha256:…` for a file, a commit's id or its beginning for git. A server is asked at each build,
    unless `pybuild.lock` says what to take. Raises `BuildfileError` for a text that is no address.
    """
    expect(address, str, "the address of remote()")
    expect(checksum, str, "`checksum` of remote()")
    expect(keep_git_dir, bool, "`keep_git_dir` of remote()")
    at = here()
    op = remote_source(address, checksum=checksum, keep_git_dir=keep_git_dir or None, at=at)
    if op is None:
        raise BuildfileError(
            f"remote() takes an address, got {address!r}", at=at, hint="files of this machine are context(…)[…]"
        )
    if keep_git_dir and isinstance(op, HttpSource):
        raise BuildfileError("`keep_git_dir` is for repositories, and the address of one ends in `.git`", at=at)
    return Tree(Elsewhere(op, address, at))
