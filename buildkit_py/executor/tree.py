"""A tree: what COPY and bind mounts read from, whether a local context or a snapshot.

Two things implement it: `context_tree.ContextTree` (a directory of this
machine after its ignore rules) and `union_tree.UnionTree` (the layers of a
snapshot, without mounting them). Both answer in `Entry` tuples, so that a
tree of 100,000 files costs one tuple a file and no more.

Rules for those who implement it:

- Paths in arguments are relative to the tree's root, with or without a
  leading slash; `..` and links never lead out of it (they are clamped, as
  chroot clamps them).
- An answered entry's `source` is an absolute path **without a symbolic link
  in any of its directories**: `pack` opens it component by component with
  O_NOFOLLOW, so that a directory swapped for a link during the build is an
  error and not a way out. So take `os.path.realpath` of the root once.
- An answered FILE's `size` and `mtime` are those of its source at the moment
  its `digest` (if it has one) was taken; `pack` refuses a file that differs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from buildkit_py.image.entry import Entry

    class Tree(Protocol):
        """A read-only directory tree, confined to its root."""

        def lookup(self, path: str, follow: bool = True) -> Entry | None:
            """The thing at a path, None where there is nothing.

            Links in the path's directories are always followed inside the
            root, the last component only if `follow`. The entry's `path` is
            where it was found, after following, without a leading slash (""
            is the root itself, a DIR). Never a HARDLINK. Raises `ContextError`
            for more than 40 links or an unreadable directory.
            """

        def names(self, path: str) -> list[str]:
            """The sorted names in the directory at a path (links followed); empty where it is none."""

        def walk(self, path: str) -> Iterable[Entry]:
            """Everything below the directory at a path (links in the path followed, none below it).

            Paths in the entries (and a HARDLINK's target) are relative to
            that directory, the directory itself is not among them. In the
            order of `image.order`: sorted by the bytes of their paths, so
            parents come first. Of several names of one inode the first is a
            FILE, the others HARDLINKs to it.
            """

        def explain(self, path: str) -> str:
            """Why there is nothing at a path, as the `hint` of an error; empty where nothing is known."""
