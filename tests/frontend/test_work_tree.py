"""The work tree around a context: which it is, and every file that this depends on."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.frontend.work_tree import work_tree
from buildkit_py.graph.op import WorkTree
from tests.frontend.fakes import SeenInputs
from tests.git_server import Repository
from tests.needs import need


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    need("git")
    made = Repository(tmp_path.resolve(), "r")
    made.commit({"sub/dir/f": "f"})
    return made


def test_the_context_is_it_or_a_directory_in_it(repository: Repository) -> None:
    inputs = SeenInputs()
    index = str(repository.tree / ".git/index")
    assert work_tree(str(repository.tree), inputs) == WorkTree(index)
    assert work_tree(str(repository.tree / "sub/dir"), inputs) == WorkTree(index, "sub/dir/")
    assert {index, str(repository.tree / ".git/config"), str(repository.tree / "sub/.git")} <= set(inputs.files)


def test_no_work_tree(tmp_path: Path) -> None:
    inputs = SeenInputs()
    (tmp_path / ".git").mkdir()  # an empty one is no repository
    found = work_tree(str(tmp_path), inputs)
    assert found is None or not found.index.startswith(str(tmp_path))
    assert str(tmp_path / ".git/HEAD") in inputs.files


def test_a_further_work_tree_and_a_submodule_say_where_their_index_is(repository: Repository) -> None:
    other = repository.tree.parent / "other"
    repository("worktree", "add", "-q", str(other))
    found = work_tree(str(other / "sub"), SeenInputs())
    assert found == WorkTree(str(repository.tree / ".git/worktrees/other/index"), "sub/")
    repository("config", "core.fileMode", "false")
    assert work_tree(str(other), SeenInputs()) == found.replace(below="", file_mode=False)
    repository("submodule", "--quiet", "add", str(repository.bare), "module")
    index = repository.tree / ".git/modules/module/index"
    assert work_tree(str(repository.tree / "module"), SeenInputs()) == WorkTree(str(index))
    assert index.exists()


@pytest.mark.parametrize(
    ("text", "believed"),
    [
        ("", True),
        ("[core]\n\tfilemode = false\n", False),
        ("[core] fileMode=0\n", False),
        ("[core]\n\tfilemode = false\n[x]\nfilemode = true\n", False),
        ("[core]\n\tfilemode = no\n\tfilemode\n", True),
        ('[core "x"]\n\tfilemode = false\n', True),
        ("\x00[[[", True),
    ],
)
def test_whether_modes_are_believed(repository: Repository, text: str, believed: bool) -> None:
    (repository.tree / ".git/config").write_text(text)
    found = work_tree(str(repository.tree), SeenInputs())
    assert found is not None
    assert found.file_mode is believed
