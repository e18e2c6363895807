"""What COPY adds: a table of BuildKit's answers, and the layer that comes out of a plan."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from buildkit_py.errors import BuildfileError, ContextError
from buildkit_py.executor.context_tree import ContextTree
from buildkit_py.executor.copy_plan import CREATED, plan, source_digest
from buildkit_py.executor.union_tree import UnionTree
from buildkit_py.graph.op import Copy, CopyPath, Inline
from buildkit_py.image.entry import DIR, FIFO, FILE, HARDLINK, SYMLINK, Entry
from buildkit_py.image.pack import pack
from buildkit_py.image.union import Union
from buildkit_py.image.unpack import unpack
from tests.image.layers import AS_ROOT, ME

SOURCE = {
    "f": b"f",
    "g.txt": b"g",
    ".dot": b"dot",
    "d/a": b"a",
    "d/b.txt": b"b",
    "d/sub/c": b"c",
    "d/sub/deep/e.txt": b"e",
    "x[1].txt": b"bracket",
    "w1/m": b"1",
    "w2/m": b"2",
    "w2/n": b"n",
    "to-f": "f",
    "to-d": "d",
    "to-outside": "/etc/hostname",
    "to-up": "../../../../../etc/hostname",
    "dangling": "nowhere",
    "d/link": "a",
}
BASE = {
    "etc/passwd": b"root:x:0:0::/:\napp:x:77:1000::/:\n",
    "etc/group": b"staff:x:50:\n",
    "dir/kept": b"kept",
    "dir/a": b"old",
    "dir/sub/old": b"old",
    "dir/taken": b"",
    "file": b"file",
    "to-dir": "dir",
    "to-abs": "/dir/sub",
    "to-file": "file",
    "to-new": "made/by/link",
    "loop": "loop",
    "dir/into": "/dir/sub",
}


def populate(root: Path, files: dict[str, bytes | str]) -> Path:
    """Files (bytes) and links (text) below a directory."""
    for name, what in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, str):
            path.symlink_to(what)
        else:
            path.write_bytes(what)
            path.chmod(0o640)
    for directory, _, _ in os.walk(root):
        os.chmod(directory, 0o711)
    return root


class _Tree(UnionTree):
    """A source that can say why something is missing."""

    def explain(self, path: str) -> str:
        return f"nothing at {path}"


@pytest.fixture
def source(tmp_path: Path) -> _Tree:
    return _Tree(Union([str(populate(tmp_path / "source", SOURCE))]))


@pytest.fixture
def base(tmp_path: Path) -> Union:
    return Union([str(populate(tmp_path / "base", BASE))])


def copy(*paths: str, dest: str, **options: object) -> Copy:
    return Copy(tuple(CopyPath(path) for path in paths), dest, **options)  # type: ignore[arg-type]


def shown(entries: list[Entry]) -> dict[str, object]:
    """The files of a plan with their bytes, links with `-> target`, directories that are no parent with "dir"."""
    found: dict[str, object] = {}
    parents = {entry.path.rpartition("/")[0] for entry in entries}
    for entry in entries:
        if entry.kind == FILE:
            found[entry.path] = (entry.data if entry.data is not None else Path(entry.source).read_bytes()).decode()
        elif entry.kind == SYMLINK:
            found[entry.path] = f"-> {entry.target}"
        elif entry.kind != DIR:
            found[entry.path] = entry.kind
        elif entry.path not in parents:
            found[entry.path] = "dir"
    return found


DIRECTORY = {"a": "a", "b.txt": "b", "link": "-> a", "sub/c": "c", "sub/deep/e.txt": "e"}


def below(prefix: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{prefix}/{name}": text for name, text in files.items()}


TABLE: list[tuple[str, Copy, dict[str, str]]] = [
    # one file
    ("file to a new name", copy("f", dest="/new"), {"new": "f"}),
    ("file to a new name below new directories", copy("f", dest="/n/e/w"), {"n/e/w": "f"}),
    ("file into a new directory", copy("f", dest="/n/e/w/"), {"n/e/w/f": "f"}),
    ("file into a new directory, said with a dot", copy("f", dest="/n/."), {"n/f": "f"}),
    ("file into a directory that is there", copy("f", dest="/dir"), {"dir/f": "f"}),
    ("file over a file", copy("f", dest="/file"), {"file": "f"}),
    ("file to the root", copy("f", dest="/"), {"f": "f"}),
    ("file through a link to a directory", copy("f", dest="/to-dir"), {"dir/f": "f"}),
    ("file through a link with a slash", copy("f", dest="/to-abs/"), {"dir/sub/f": "f"}),
    ("file through a link in the path", copy("f", dest="/to-dir/new"), {"dir/new": "f"}),
    ("file through a link to a file", copy("f", dest="/to-file"), {"file": "f"}),
    ("file through a dangling link", copy("f", dest="/to-new"), {"made/by/link": "f"}),
    ("leading slash and dots in the source", copy("/../.././f", dest="/new"), {"new": "f"}),
    ("dots in the destination", copy("f", dest="/a/../../new"), {"new": "f"}),
    # directories
    ("directory to a new one", copy("d", dest="/new"), below("new", DIRECTORY)),
    ("directory with a slash", copy("d/", dest="/new/"), below("new", DIRECTORY)),
    ("directory into one that is there", copy("d", dest="/dir"), below("dir", DIRECTORY)),
    ("directory to the root", copy("d", dest="/"), DIRECTORY),
    ("directory through a link", copy("d", dest="/to-abs"), below("dir/sub", DIRECTORY)),
    ("directory through a dangling link", copy("d", dest="/to-new"), below("made/by/link", DIRECTORY)),
    ("nested directory", copy("d/sub", dest="/n"), {"n/c": "c", "n/deep/e.txt": "e"}),
    # links in the source
    ("a link to a file is followed", copy("to-f", dest="/n/"), {"n/to-f": "f"}),
    ("a link to a directory is followed", copy("to-d", dest="/n"), below("n", DIRECTORY)),
    ("a link in the source's path", copy("to-d/sub/c", dest="/n"), {"n": "c"}),
    ("a link inside a tree is kept", copy("d/link", "d", dest="/n/"), {**below("n", DIRECTORY)}),
    # wildcards
    ("star", copy("*.txt", dest="/n/"), {"n/g.txt": "g", "n/x[1].txt": "bracket"}),
    ("star takes dot files", copy(".d*", dest="/n/"), {"n/.dot": "dot"}),
    ("question mark", copy("?", dest="/n/"), {"n/f": "f", **below("n", DIRECTORY)}),
    ("class", copy("x[[]1].txt", dest="/n"), {"n": "bracket"}),
    ("negated class", copy("[^dg]", dest="/n"), {"n": "f"}),
    ("star does not cross slashes", copy("d/*.txt", dest="/n/"), {"n/b.txt": "b"}),
    ("star in the middle", copy("w*/m", dest="/n"), {"n": "2"}),
    ("matched directories are contents too", copy("w?", dest="/n"), {"n/m": "2", "n/n": "n"}),
    ("no match is no error", copy("*.none", dest="/n/"), {}),
    ("no match below a match is no error", copy("w*/none", dest="/n/"), {}),
    ("wildcards go through links only in front", copy("to-d/*.txt", dest="/n/"), {"n/b.txt": "b"}),
    ("wildcards do not go through links after them", copy("to-?/b.txt", dest="/n/"), {}),
    ("a matched link is followed", copy("to-[d]", dest="/n"), below("n", DIRECTORY)),
    ("not a wildcard", Copy((CopyPath("x[1].txt", wildcard=False),), "/n/"), {"n/x[1].txt": "bracket"}),
    # several
    ("several into one", copy("f", "d/a", "w1", dest="/n/"), {"n/f": "f", "n/a": "a", "n/m": "1"}),
    ("the later wins", copy("w1", "w2", dest="/n/"), {"n/m": "2", "n/n": "n"}),
    # heredocs
    ("heredoc to a name", Copy((Inline("EOF", b"text"),), "/n"), {"n": "text"}),
    ("heredocs into a directory", Copy((Inline("A", b"1"), Inline("B", b"2")), "/n/"), {"n/A": "1", "n/B": "2"}),
    ("heredoc into a directory that is there", Copy((Inline("A", b"1"),), "/dir"), {"dir/A": "1"}),
    # --exclude
    (
        "exclude by name",
        copy("d", dest="/n", exclude=("*.txt",)),
        {"n/a": "a", "n/link": "-> a", "n/sub/c": "c", "n/sub/deep/e.txt": "e"},
    ),
    (
        "exclude at any depth",
        copy("d", dest="/n", exclude=("**/*.txt", "link")),
        {"n/a": "a", "n/sub/c": "c", "n/sub/deep": "dir"},
    ),
    ("exclude a directory", copy("d", dest="/n", exclude=("sub",)), {"n/a": "a", "n/b.txt": "b", "n/link": "-> a"}),
    ("exclude with exception", copy("d", dest="/n", exclude=("*", "!sub/c")), {"n/sub/c": "c"}),
    ("exclude of matched files", copy("*.txt", "f", dest="/n/", exclude=("x*",)), {"n/g.txt": "g", "n/f": "f"}),
    # --parents
    ("parents of a file", copy("d/sub/c", dest="/n", parents=True), {"n/d/sub/c": "c"}),
    ("parents of a directory", copy("d/sub", dest="/n/", parents=True), {"n/d/sub/c": "c", "n/d/sub/deep/e.txt": "e"}),
    ("parents with a pivot", copy("d/./sub/c", dest="/n", parents=True), {"n/sub/c": "c"}),
    ("parents with a dot in front", copy("./d/sub/c", dest="/n", parents=True), {"n/d/sub/c": "c"}),
    (
        "parents, any depth",
        copy("**/*.txt", dest="/n", parents=True),
        {"n/g.txt": "g", "n/x[1].txt": "bracket", "n/d/b.txt": "b", "n/d/sub/deep/e.txt": "e"},
    ),
    (
        "parents, any depth below a pivot",
        copy("d/./**/*.txt", dest="/n", parents=True),
        {"n/b.txt": "b", "n/sub/deep/e.txt": "e"},
    ),
    ("parents, no match", copy("d/*.none", dest="/n", parents=True), {}),
    (
        "parents with exclude",
        copy("d", dest="/n", parents=True, exclude=("d/sub", "d/link")),
        {"n/d/a": "a", "n/d/b.txt": "b"},
    ),
    # --link
    ("link does not follow links of the base", copy("f", dest="/to-dir/", link=True), {"to-dir/f": "f"}),
    ("link does not see what is there", copy("f", dest="/dir", link=True), {"dir": "f"}),
]


@pytest.mark.parametrize(("op", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_is_copied_where(op: Copy, expected: dict[str, str], source: _Tree, base: Union) -> None:
    entries = plan(op, [source], base)
    # Directories that the copy did not make stand in the plan with the base's own attributes, and hold something.
    assert {path: what for path, what in shown(entries).items() if what != "dir" or path in expected} == expected
    assert [entry.path for entry in entries] == sorted(entry.path for entry in entries)
    assert plan(op, [source], base) == entries


@pytest.mark.parametrize(
    ("op", "error", "words"),
    [
        (copy("missing", dest="/n"), ContextError, "`missing` not found"),
        (copy("f/below", dest="/n"), ContextError, "`f/below` not found"),
        (copy("dangling", dest="/n"), ContextError, "`dangling` not found"),
        (copy("dangl*", dest="/n"), ContextError, "`dangl.` not found"),
        (copy("to-outside", dest="/n"), ContextError, "`to-outside` not found"),
        (copy("to-up", dest="/n"), ContextError, "`to-up` not found"),
        (copy("../../etc/hostname", dest="/n"), ContextError, "not found"),
        (copy("d/missing", dest="/n", parents=True), ContextError, "`d/missing` not found"),
        (copy("none/./x", dest="/n", parents=True), ContextError, "not found"),
        (copy("f/./x", dest="/n", parents=True), ContextError, "is no directory"),
        (copy("d", dest="/file"), BuildfileError, "cannot copy to non-directory: /file"),
        (copy("f", "d", dest="/n"), BuildfileError, "cannot copy to non-directory: /n"),
        (copy("d", dest="/to-file"), BuildfileError, "cannot copy to non-directory: /file"),
        (copy("f", dest="/file/"), BuildfileError, "cannot copy to non-directory: /file"),
        (copy("f", dest="/file/x/y"), BuildfileError, "/file is not a directory"),
        (copy("f", dest="/loop/x"), BuildfileError, "more than 40 symbolic links"),
        (copy("[", dest="/n"), BuildfileError, "bad pattern"),
        (copy("d", dest="/n", exclude=("[",)), BuildfileError, "bad pattern"),
        (copy("f", dest="/n", owner="nosuch"), BuildfileError, "unable to find user nosuch"),
        (copy("f", dest="/n", owner="app", link=True), BuildfileError, "unable to find user app"),
        (copy("f", dest="/n", mode="999"), BuildfileError, "invalid chmod parameter"),
    ],
)
def test_what_cannot_be(op: Copy, error: type[Exception], words: str, source: _Tree, base: Union) -> None:
    with pytest.raises(error, match=words):
        plan(op, [source], base)


def test_a_missing_source_says_why(source: _Tree, base: Union) -> None:
    with pytest.raises(ContextError) as caught:
        plan(copy("d/missing", dest="/n"), [source], base)
    assert caught.value.hint == "nothing at d/missing"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
@pytest.mark.parametrize("source", ["d", "d/old"])
def test_what_overlays_take_for_a_whiteout_is_refused_in_a_context(tmp_path: Path, source: str) -> None:
    populate(tmp_path, {"d/kept": b"", "e": b""})
    os.mknod(tmp_path / "d/old", 0o20600, 0)
    tree = ContextTree(str(tmp_path))
    with pytest.raises(ContextError, match="`d/old` is the character device 0:0"):
        source_digest(copy(source, dest="/n"), 0, tree)
    assert source_digest(copy("d/kept", "e", dest="/n/"), 0, tree)


def test_files_and_directories_do_not_take_each_others_place(tmp_path: Path, base: Union) -> None:
    tree = UnionTree(Union([str(populate(tmp_path / "s", {"1/sub": b"", "2/taken/x": b"", "3/into/x": b""}))]))
    for path, words in (
        ("1", "cannot replace to directory: /dir/sub"),
        ("2", "cannot copy to non-directory: /dir/taken"),
        # Only the destination itself is followed, not what is met below it.
        ("3", "cannot copy to non-directory: /dir/into"),
    ):
        with pytest.raises(BuildfileError, match=words):
            plan(copy(path, dest="/dir"), [tree], base)


def by_path(entries: list[Entry]) -> dict[str, Entry]:
    return {entry.path: entry for entry in entries}


def attributes(entry: Entry) -> tuple[str, int, int]:
    return oct(entry.mode), entry.uid, entry.gid


def test_modes_owners_and_times_without_options(source: _Tree, base: Union) -> None:
    found = by_path(plan(copy("d", dest="/new/deep"), [source], base))
    assert attributes(found["new"]) == attributes(found["new/deep"]) == ("0o755", 0, 0)
    assert found["new"].mtime == CREATED
    assert attributes(found["new/deep/sub"]) == ("0o711", *ME)
    assert attributes(found["new/deep/a"]) == ("0o640", *ME)
    original = source.lookup("d/a")
    assert original is not None
    assert found["new/deep/a"].mtime == original.mtime
    assert found["new/deep/a"].source == original.source


def test_directories_that_are_there_keep_what_they_are_if_only_passed_through(source: _Tree, base: Union) -> None:
    found = by_path(plan(copy("d", dest="/dir"), [source], base))
    node = base.lookup("dir")
    assert node is not None
    assert found["dir"] == base.entry(node)
    assert attributes(found["dir/sub"]) == ("0o711", *ME)  # the source's own: its attributes are copied
    deep = by_path(plan(copy("f", dest="/dir/sub/f"), [source], base))
    assert list(deep) == ["dir", "dir/sub", "dir/sub/f"]


def test_chown_is_for_all_that_is_made(source: _Tree, base: Union) -> None:
    found = by_path(plan(copy("d", dest="/new/deep", owner="app:staff"), [source], base))
    assert {(entry.uid, entry.gid) for entry in found.values()} == {(77, 50)}
    passing = by_path(plan(copy("f", dest="/dir/f", owner="5"), [source], base))
    assert (passing["dir"].uid, passing["dir/f"].uid, passing["dir/f"].gid) == (ME[0], 5, 5)


def test_chmod_is_for_files_and_directories_but_not_links(source: _Tree, base: Union) -> None:
    found = by_path(plan(copy("d", dest="/new", mode="4700"), [source], base))
    assert oct(found["new/a"].mode) == oct(found["new/sub"].mode) == "0o4700"
    assert found["new/link"].mode == 0o777
    found = by_path(plan(copy("d", dest="/new", mode="u=rwX,go=rX"), [source], base))
    assert oct(found["new/a"].mode) == "0o644"
    assert oct(found["new/sub"].mode) == "0o755"


@pytest.mark.parametrize(
    ("mode", "made"), [("", "0o755"), ("640", "0o640"), ("7711", "0o711"), ("0", "0o0"), ("u=rwx,go=", "0o755")]
)
def test_directories_that_are_made_have_the_permissions_of_an_octal_mode(
    source: _Tree, base: Union, mode: str, made: str
) -> None:
    for op in (copy("d", dest="/p/new", mode=mode), copy("f", dest="/p/new/", mode=mode)):
        found = by_path(plan(op, [source], base))
        assert (oct(found["p"].mode), oct(found["p/new"].mode)) == (made, made)
    there = by_path(plan(copy("f", dest="/dir/f", mode=mode), [source], base))["dir"].mode
    assert there == by_path(plan(copy("f", dest="/dir/f"), [source], base))["dir"].mode


def test_heredocs_are_0644_and_roots(base: Union) -> None:
    op = Copy((Inline("EOF", b"text"),), "/n/")
    entry = by_path(plan(op, [], base))["n/EOF"]
    assert (attributes(entry), entry.data) == (("0o644", 0, 0), b"text")
    entry = by_path(plan(op.replace(mode="0755", owner="app"), [], base))["n/EOF"]
    assert attributes(entry) == ("0o755", 77, 1000)


def test_created_parents_of_parents_are_as_in_the_source(source: _Tree, base: Union) -> None:
    found = by_path(plan(copy("d/sub/c", dest="/n", parents=True), [source], base))
    assert oct(found["n"].mode) == "0o755"
    assert oct(found["n/d"].mode) == oct(found["n/d/sub"].mode) == "0o711"


def test_hard_links_stay_links_within_what_is_taken(tmp_path: Path, base: Union) -> None:
    root = populate(tmp_path / "s", {"t/b": b"1"})
    os.link(root / "t/b", root / "t/c")
    os.link(root / "t/b", root / "t/d")
    tree = UnionTree(Union([str(root)]))
    found = by_path(plan(copy("t", dest="/n", mode="600"), [tree], base))
    assert [(found[f"n/{name}"].kind, found[f"n/{name}"].target) for name in "bcd"] == [
        (FILE, ""),
        (HARDLINK, "n/b"),
        (HARDLINK, "n/b"),
    ]
    assert oct(found["n/c"].mode) == "0o600"
    without = by_path(plan(copy("t", dest="/n", exclude=("b",)), [tree], base))
    assert [(path, entry.kind, entry.target) for path, entry in without.items() if entry.kind != DIR] == [
        ("n/c", FILE, ""),
        ("n/d", HARDLINK, "n/c"),
    ]
    alone = by_path(plan(copy("t/c", dest="/n/"), [tree], base))
    assert alone["n/c"].kind == FILE
    # A later file takes the place of the first name; the others keep what they had.
    (tmp_path / "o").mkdir()
    over = UnionTree(Union([str(populate(tmp_path / "over", {"b": b"2"}))]))
    op = Copy((CopyPath("t"), CopyPath("b", source=1)), "/n/")
    replaced = shown(plan(op, [tree, over], base))
    assert replaced == {"n/b": "2", "n/c": "1", "n/d": HARDLINK}


def test_special_files_are_copied(tmp_path: Path, base: Union) -> None:
    (tmp_path / "s").mkdir()
    os.mkfifo(tmp_path / "s" / "pipe")
    tree = UnionTree(Union([str(tmp_path / "s")]))
    assert by_path(plan(copy(".", dest="/n"), [tree], base))["n/pipe"].kind == FIFO
    assert by_path(plan(copy("pipe", dest="/n"), [tree], base))["n"].kind == FIFO


def test_an_empty_base(source: _Tree) -> None:
    assert shown(plan(copy("f", dest="/n/"), [source], None)) == {"n/f": "f"}
    assert shown(plan(copy("d/sub/deep", dest="/"), [source], Union([]))) == {"e.txt": "e"}


def test_the_layer_of_a_plan_makes_what_it_says(source: _Tree, base: Union, tmp_path: Path) -> None:
    entries = plan(copy("d", "f", dest="/dir/", owner=f"{ME[0]}:{ME[1]}"), [source], base)
    blob = io.BytesIO()
    packed = pack(entries, blob.write, hash_files=True)
    (tmp_path / "layer").mkdir()
    read = io.BytesIO(blob.getvalue()).read
    unpack(read, str(tmp_path / "layer"), media_type=packed.media_type, userxattr=not AS_ROOT, privileged=AS_ROOT)
    result = Union([str(tmp_path / "base"), str(tmp_path / "layer")])
    assert result.read_file("dir/a", 9) == b"a"
    assert result.read_file("dir/kept", 9) == b"kept"
    assert result.read_file("dir/sub/old", 9) == b"old"
    assert result.read_file("dir/f", 9) == b"f"


# -- the key ---------------------------------------------------------------------


def digest(root: Path, op: Copy) -> str:
    return source_digest(op, 0, UnionTree(Union([str(root)])))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return populate(tmp_path / "s", SOURCE)


def rewrite(path: Path) -> None:
    st = path.stat()
    path.write_bytes(b"?" * st.st_size)
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


CHANGES: list[tuple[str, Callable[[Path], object], set[str]]] = [
    # what changes, how, and which of the four copies below see it
    ("the bytes of a file", lambda root: rewrite(root / "d/a"), {"d", "all"}),
    ("the mode of a file", lambda root: (root / "d/a").chmod(0o600), {"d", "all"}),
    ("the mode of a directory", lambda root: (root / "d/sub").chmod(0o700), {"d", "all"}),
    ("an xattr", lambda root: os.setxattr(root / "d/a", "user.x", b"1"), {"d", "all"}),
    ("a link's target", lambda root: ((root / "d/link").unlink(), (root / "d/link").symlink_to("b")), {"d", "all"}),
    ("a new file", lambda root: (root / "d/new").touch(), {"d", "all"}),
    ("an empty directory", lambda root: (root / "d/newdir").mkdir(), {"d", "all"}),
    ("a removed file", lambda root: (root / "d/sub/c").unlink(), {"d", "all"}),
    ("a renamed file", lambda root: (root / "d/a").rename(root / "d/z"), {"d", "all"}),
    ("a file that becomes a directory", lambda root: ((root / "f").unlink(), (root / "f").mkdir()), {"f", "all"}),
    ("a file that a wildcard begins to match", lambda root: (root / "new.txt").touch(), {"txt", "all"}),
    ("times", lambda root: os.utime(root / "d/a", (1, 1)), set()),
    ("the time of a directory", lambda root: os.utime(root / "d", (1, 1)), set()),
    ("the mode of the directory whose contents are taken", lambda root: (root / "d").chmod(0o700), {"all"}),
]


@pytest.mark.parametrize(("change", "seen"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_a_key_changes_with_what_is_taken_and_nothing_else(
    tree: Path, change: Callable[[Path], object], seen: set[str]
) -> None:
    copies = {
        "d": copy("d", dest="/n"),
        "f": copy("f", dest="/n"),
        "txt": copy("*.txt", dest="/n/"),
        "all": copy(".", dest="/n"),
    }
    before = {name: digest(tree, op) for name, op in copies.items()}
    change(tree)
    after = {name: digest(tree, op) for name, op in copies.items()}
    assert {name for name in copies if before[name] != after[name]} == seen


def test_a_moved_directory_is_the_same_and_a_renamed_file_is_not(tree: Path) -> None:
    before = digest(tree, copy("d", dest="/n")), digest(tree, copy("f", dest="/n"))
    (tree / "d").rename(tree / "elsewhere")
    (tree / "f").rename(tree / "other")
    assert digest(tree, copy("elsewhere", dest="/n")) == before[0]
    assert digest(tree, copy("other", dest="/n")) != before[1]
    assert digest(tree, copy("elsewhere/sub", dest="/n")) != digest(tree, copy("elsewhere", dest="/n"))


def test_what_the_copy_overwrites_is_not_in_the_key(tree: Path) -> None:
    octal, symbolic = copy("d", dest="/n", mode="755"), copy("d", dest="/n", mode="u+x")
    before = digest(tree, octal), digest(tree, symbolic)
    (tree / "d/a").chmod(0o600)
    (tree / "d/sub").chmod(0o700)
    assert digest(tree, octal) == before[0]
    assert digest(tree, symbolic) != before[1]
    if AS_ROOT:
        owned, plain = copy("d", dest="/n", owner="5"), copy("d", dest="/n")
        old = digest(tree, owned), digest(tree, plain)
        os.chown(tree / "d/a", 9, 9)
        assert digest(tree, owned) == old[0]
        assert digest(tree, plain) != old[1]


def test_only_the_items_of_the_source_count(tree: Path) -> None:
    op = Copy((CopyPath("f"), CopyPath("d", source=1), Inline("EOF", b"x")), "/n/")
    first = digest(tree, op)
    assert first == digest(tree, op.replace(items=(CopyPath("f"), CopyPath("w1", source=1))))
    assert first != digest(tree, op.replace(items=(CopyPath("g.txt"), CopyPath("d", source=1))))
    assert digest(tree, copy("*.none", dest="/n/")) == digest(tree, copy("*.nil", dest="/n/"))


def test_a_missing_source_is_an_error_of_the_key_too(tree: Path) -> None:
    with pytest.raises(ContextError, match="not found"):
        digest(tree, copy("missing", dest="/n"))
