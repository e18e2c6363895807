"""COPY and ADD."""

import pytest

from buildkit_py.errors import BuildfileError
from buildkit_py.graph.op import Copy, CopyPath, GitSource, HttpSource, Inline, LocalSource
from tests.frontend.buildfile.lowering import Lowered


def copy(text):
    made = Lowered(f"FROM other AS tools\nFROM base\n{text}\n")
    assert isinstance(made.op, Copy)
    return made.op


def test_paths_stay_as_written_after_expansion():
    assert copy('COPY a/ $LANG/../*.x "b" /d/').items == (
        CopyPath("a/"),
        CopyPath("C/../*.x"),
        CopyPath("b"),
    )
    assert copy('COPY ["a b", "/d/"]').items == (CopyPath("a b"),)


def test_flags():
    assert copy("COPY --from=tools --chown=$LANG:5 --chmod=u=rwX,go=rX --exclude=$x --exclude=*.o --link a /d") == Copy(
        (CopyPath("a"),), "/d", owner="C:5", mode="u=rwX,go=rX", exclude=("$x", "*.o")
    )
    assert copy("COPY --link a /d").link
    assert not copy("COPY --link=false a /d").link
    assert not copy("COPY --link --chmod=755 a /d").link
    assert copy("COPY --parents a/./b /d/").parents


def test_add_unpacks_unless_told_not_to():
    assert copy("ADD a.tar /d/").unpack
    assert not copy("ADD --unpack=false a.tar /d/").unpack
    assert not copy("COPY a.tar /d/").unpack


def test_heredocs_are_files_after_the_paths():
    op = copy("COPY --chmod=600 <<one a <<'two' /d/\n1 $LANG \\$x \"q\" \\n\none\n2 $LANG\ntwo")
    assert op.items == (
        CopyPath("a"),
        Inline("one", b'1 C $x "q" n\n'),
        Inline("two", b"2 $LANG\n"),
    )
    assert op.mode == "600"


def test_a_heredoc_alone_needs_no_context():
    made = Lowered("FROM base\nCOPY <<x /f\nhi\nx\n", context="")
    assert made.target.step.sources == ()
    assert made.op.dest == "/f"


def test_several_heredocs_need_a_directory():
    with pytest.raises(BuildfileError, match="has to be a directory"):
        copy("COPY <<a <<b /d\na\nb")


def test_the_step_name_shows_what_was_expanded():
    made = Lowered("FROM base\nCOPY --chown=1 <<x $LANG /d/\nhi\nx\n")
    assert made.target.step.name == "[2/2] COPY --chown=1 C <<x /d/"


@pytest.mark.parametrize("mode", ["0", "0755", "7777", "+x", "u+rwx,g-w", "a=rX", "=", "g=u"])
def test_modes(mode):
    assert copy(f"COPY --chmod={mode} a b").mode == mode


@pytest.mark.parametrize("mode", ["8", "10000", "rwx", "u", "u+q", "u+x,", "0x1", "-1"])
def test_what_is_no_mode(mode):
    with pytest.raises(BuildfileError, match="is not a mode"):
        copy(f"COPY --chmod={mode} a b")


SUM = "sha256:" + "a" * 64


def test_what_is_added_from_elsewhere():
    first, second = "https://h/d/f%2Fx?q#frag /d/", "https://h/y z git@h:r#v1:sub /e/"
    made = Lowered(f"FROM base\nADD --checksum={SUM} {first}\nADD --unpack=true {second}\n")
    assert made.history == [f"ADD {first} # buildkit", f"ADD {second} # buildkit"]
    step = made.target.step
    assert [source.op for source in step.sources] == [
        HttpSource("https://h/y", "y"),
        LocalSource("context", "/", ()),
        GitSource("git@h:r", "v1", "/sub"),
    ]
    assert step.op.items == (
        CopyPath("/y", 0, wildcard=False, unpack=True),
        CopyPath("z", 1),
        CopyPath("/", 2, wildcard=False, unpack=False, whole=True),
    )
    (pinned,) = step.base.sources
    assert pinned.op == HttpSource("https://h/d/f%2Fx?q", "x", SUM)


def test_one_address_is_one_step():
    made = Lowered("FROM base\nADD https://h/y /1\nADD https://h/y /2\nADD git@h:r /3\nADD git@h:r#main /4\n")
    sources = [step.op for step in made.steps if isinstance(step.op, HttpSource | GitSource)]
    assert sources == [HttpSource("https://h/y", "y"), GitSource("git@h:r"), GitSource("git@h:r", "main")]


def test_the_name_of_a_source_shows_no_password():
    made = Lowered("FROM base\nADD https://me:secret@h/y?token=secret /1\n")
    assert made.target.step.sources[0].name == "[stage-0] https://me@h/y"
