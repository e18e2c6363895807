"""Sources from elsewhere: `remote()`, the files of a commit of git or the file of a URL."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.python.expect import exact, expect
from buildkit_py.frontend.python.position import here
from buildkit_py.frontend.python.template import expect_text
from buildkit_py.frontend.python.tree import Tree
from buildkit_py.frontend.remote import remote_source
from buildkit_py.graph.op import HttpSource
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.python.actions import AnyText
    from buildkit_py.graph.op import GitSource
    from buildkit_py.source_map import Position


class Elsewhere(Record):
    """A source of a tree, as it was given."""

    address: AnyText
    checksum: AnyText
    keep_git_dir: bool
    position: Position

    def op(self, address: str, checksum: str) -> HttpSource | GitSource:
        """What the texts come to. Raises `BuildfileError` for an address or a checksum that cannot be used."""
        at = self.position
        op = remote_source(address, checksum=checksum, keep_git_dir=self.keep_git_dir or None, at=at)
        if op is None:
            raise BuildfileError(
                f"remote() takes an address, got {address!r}", at=at, hint="files of this machine are context(…)[…]"
            )
        if self.keep_git_dir and isinstance(op, HttpSource):
            raise BuildfileError("`keep_git_dir` is for repositories, and the address of one ends in `.git`", at=at)
        return op


def remote(address: AnyText, *, checksum: AnyText = "", keep_git_dir: bool = False) -> Tree:
    """What `ADD` takes from an address: `https://…/file`, `https://…/repo.git#ref:dir`, `git@host:repo.git`.

    `checksum` is `sha256:…` for a file, a commit's id or its beginning for git. A server is asked at each build,
    unless `pybuild.lock` says what to take. Raises `BuildfileError` for a text that is no address.
    """
    expect_text(address, "the address of remote()")
    expect_text(checksum, "`checksum` of remote()")
    expect(keep_git_dir, bool, "`keep_git_dir` of remote()")
    source = Elsewhere(exact(address), exact(checksum), keep_git_dir, here())
    if isinstance(address, str) and isinstance(checksum, str):
        source.op(address, checksum)  # what is wrong is told here and not where it is used
    return Tree(source)
