"""What a COPY takes from a source: paths and wildcards to entries, before anything is said of where they go.

BuildKit's rules (`solver/llbsolver/file`, `fsutil/copy`): a wildcard matches
component by component as Go's `filepath.Match` does and need not match
anything, where there is a directory in front of it; a directory means its
contents; a link that is named itself is followed inside the source, links
inside a copied tree are kept. The cache key of a COPY is made of exactly this
selection.
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError, ContextError
from buildkit_py.image.entry import DIR, FILE, HARDLINK, SYMLINK
from buildkit_py.named_tuple import namedtuple
from buildkit_py.patterns import IgnoreRules, match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildkit_py.executor.tree import Tree
    from buildkit_py.graph.op import Copy, CopyPath
    from buildkit_py.image.entry import Entry

# `name` is the last component as named or matched, before a link there was followed; `root` the entry it led to;
# `entries`, for a directory, what is taken of its contents, with paths relative to it; `path` is where that was found.
Taken = namedtuple("Taken", ("name", "root", "entries", "path"))


def select(op: Copy, item: CopyPath, tree: Tree) -> Iterator[Taken]:
    """What one path or wildcard of a Copy takes from its source, in the order of names.

    Raises `ContextError` for a path without wildcards that is not there,
    `BuildfileError` for a malformed pattern.
    """
    try:
        exclude = IgnoreRules(op.exclude) if op.exclude else None
        if op.parents:
            yield from _with_parents(item, tree, exclude)
            return
        asked = clean(item.path)
        wild = item.wildcard and has_wildcard(asked)
        # What does not match is no error, but that there is nothing to look into is: a name is misspelt then.
        if wild and (front := "/".join(_front(asked))):
            there = tree.lookup(front, follow=False)
            if there is None or there.kind not in (DIR, SYMLINK):
                raise _missing(item, front, tree)
        for path in matching(tree, asked) if wild else (asked,):
            root = tree.lookup(path)
            if root is None:
                raise _missing(item, path, tree)
            name = path.rpartition("/")[2]
            if root.kind == DIR:
                yield Taken(name, root, _without(tree.walk(path), exclude), path)
            elif exclude is None or not exclude.ignored(name):
                yield Taken(name, root, [], path)
    except ValueError as problem:
        raise BuildfileError(f"bad pattern in a copy of `{item.path}`: {problem}") from problem


def clean(path: str) -> str:
    """A path relative to a root: no empty, `.` or `..` components, `..` stopping at the root."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def has_wildcard(path: str) -> bool:
    """Whether a path has `*`, `?` or `[` that no backslash takes away."""
    escaped = False
    for letter in path:
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter in "*?[":
            return True
    return False


def matching(tree: Tree, pattern: str) -> list[str]:
    """The paths that match, sorted. Links are followed in front of the first wildcard only."""
    parts = pattern.split("/")
    front = _front(pattern)
    found = ["/".join(front)]
    for index in range(len(front), len(parts)):
        matched: list[str] = []
        for directory in found:
            for name in tree.names(directory):
                if match(parts[index], name):
                    path = f"{directory}/{name}" if directory else name
                    if index + 1 < len(parts):
                        entry = tree.lookup(path, follow=False)
                        if entry is None or entry.kind != DIR:
                            continue
                    matched.append(path)
        found = matched
    return found


def _front(pattern: str) -> list[str]:
    """The directories in front of the first wildcard."""
    parts = pattern.split("/")
    return parts[: next(index for index, part in enumerate(parts) if has_wildcard(part))]


def _missing(item: CopyPath, path: str, tree: Tree) -> ContextError:
    hint = tree.explain(path)
    link = tree.lookup(path, follow=False)
    if link is not None and link.kind == SYMLINK:
        hint = f"`{path}` is a symbolic link to `{link.target}`, which is not there"
    if ".." in item.path.split("/"):
        hint = f"`..` does not lead out of what is copied from: {hint}"
    return ContextError(f"`{item.path}` not found", hint=hint)


def _without(entries: Iterable[Entry], exclude: IgnoreRules | None) -> list[Entry]:
    """The entries without the excluded ones."""
    if exclude is None:
        return list(entries)
    every = list(entries)
    return only(every, {entry.path for entry in every if not exclude.ignored(entry.path)})


def only(entries: list[Entry], wanted: set[str]) -> list[Entry]:
    """The wanted of entries in the order of a walk, and the directories they are in.

    A hard link whose first name is not wanted becomes the file itself, and
    further links become links to that.
    """
    keep = set(wanted)
    for path in wanted:
        while (path := path.rpartition("/")[0]) and path not in keep:
            keep.add(path)
    dropped: dict[str, Entry] = {}
    leaders: dict[str, str] = {}
    out: list[Entry] = []
    for entry in entries:
        if entry.path not in keep:
            if entry.kind == FILE:
                dropped[entry.path] = entry
            continue
        if entry.kind == HARDLINK and entry.target in dropped:
            leader = leaders.setdefault(entry.target, entry.path)
            if leader == entry.path:
                entry = dropped[entry.target]._replace(path=leader)
            else:
                entry = entry._replace(target=leader)
        out.append(entry)
    return out


def _with_parents(item: CopyPath, tree: Tree, exclude: IgnoreRules | None) -> Iterator[Taken]:
    """`--parents`: what matches keeps its path, from the root or from `/./` on; `**` goes over any depth."""
    front, pivot, rest = item.path.partition("/./")
    if not pivot:
        front, rest = "", item.path
    front, rest = clean(front), clean(rest)
    wild = item.wildcard and has_wildcard(rest)
    wild_front = item.wildcard and has_wildcard(front)
    for base in matching(tree, front) if wild_front else (front,):
        root = tree.lookup(base)
        if root is None:
            raise _missing(item, base, tree)
        if root.kind != DIR:
            if wild_front:
                continue
            raise ContextError(f"`{front}` in `{item.path}` is no directory")
        every = list(tree.walk(base))
        if wild:
            rules = IgnoreRules(["\\" + rest if rest.startswith("!") else rest])
            wanted = {entry.path for entry in every if rules.ignored(entry.path)}
        else:
            below = f"{rest}/"
            wanted = {entry.path for entry in every if not rest or entry.path == rest or entry.path.startswith(below)}
            if rest and rest not in wanted and not wild_front:
                raise _missing(item, f"{base}/{rest}" if base else rest, tree)
        if exclude is not None:
            wanted = {path for path in wanted if not exclude.ignored(path)}
        yield Taken("", root, only(every, wanted), base)
