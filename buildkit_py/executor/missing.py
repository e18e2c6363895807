"""Why a COPY finds nothing at a path: what is not there, and what is there under nearly that name."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.executor.tree import Tree


def absence(path: str, where: str, tree: Tree) -> str:
    """The hint for a clean path that is not in a tree, which is `where`."""
    near = _near(path, tree.names)
    return f"there is no `{path}` in {where}" + (f"; did you mean `{near}`?" if near else "")


def _near(path: str, names: Callable[[str], list[str]]) -> str:
    """The path with its first name that is not there put right, as far as that goes; "" where nothing is near."""
    from difflib import get_close_matches

    parts = path.split("/")
    for number, part in enumerate(parts):
        directory = "/".join(parts[:number])
        there = names(directory)
        if part not in there:
            close = get_close_matches(part, there, 1, 0.6)
            return "/".join([*parts[:number], *close]) if close else ""
    return ""
