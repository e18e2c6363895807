import pytest

from buildkit_py.errors import BuildfileError, ContextError
from buildkit_py.frontend.local_context import context_step, sealed
from buildkit_py.graph.op import Copy, CopyPath, LocalSource
from tests.frontend.fakes import SeenInputs


def test_extra_patterns_come_after_those_of_the_file(tmp_path):
    (tmp_path / ".dockerignore").write_bytes(b"\xef\xbb\xbf/a/\n\n# c\n")
    step = context_step("src", str(tmp_path), SeenInputs(), extra=("!a/b",))
    assert step.op == LocalSource("src", str(tmp_path), ("a", "!a/b"))


def test_an_ignore_file_that_cannot_be_read(tmp_path):
    (tmp_path / ".dockerignore").mkdir()
    with pytest.raises(ContextError, match="cannot read the ignore file"):
        context_step("src", str(tmp_path), SeenInputs())


def test_a_bad_extra_pattern(tmp_path):
    with pytest.raises(BuildfileError, match="`ignore` of the context: bad pattern"):
        context_step("src", str(tmp_path), SeenInputs(), extra=("[",))


@pytest.mark.parametrize(("root", "message"), [("gone", "does not exist"), ("file", "is not a directory")])
def test_a_context_has_to_be_a_directory(tmp_path, root, message):
    (tmp_path / "file").touch()
    with pytest.raises(ContextError, match=message):
        context_step("src", str(tmp_path / root), SeenInputs())


def test_a_sealed_path_stands_at_its_own_place(tmp_path):
    source = context_step("src", str(tmp_path), SeenInputs())
    assert sealed(source, "a/b/").op == Copy((CopyPath("a/b/", wildcard=False),), "/a/b")
    assert sealed(source, "/").op.dest == "/"
