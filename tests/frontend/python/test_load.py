"""Running a Buildfile.py, and what becomes of whatever it raises."""

import os
import signal
import sys
import textwrap

import pytest

from buildkit_py.cli.guard import Ended
from buildkit_py.errors import BuildfileError, BuildfileSyntaxError, UsageError
from buildkit_py.frontend.python.load import load
from buildkit_py.frontend.python.lower import call
from buildkit_py.frontend.target import Options
from tests.frontend.fakes import FakeResolver, SeenInputs
from tests.frontend.python.door import HEAD, Door

TARGET = "\n@target\ndef app():\n    return scratch()\n"


def failure(tmp_path, text):
    with pytest.raises(BuildfileError) as caught:
        Door(tmp_path, text).one()
    return caught.value


def test_an_exception_shows_the_users_own_line(tmp_path):
    problem = failure(tmp_path, "x = {}\nprint(x['a'] + 1)\n" + TARGET)
    assert problem.message == "KeyError: 'a'"
    assert str(problem.at) == "Buildfile.py:3:7"
    assert problem.excerpt == "  print(x['a'] + 1)\n        ^^^^^^"
    assert problem.notes == ()


def test_an_exception_in_a_target_shows_who_called(tmp_path):
    problem = failure(
        tmp_path,
        "def helper():\n    raise ValueError('bad luck')\n\n@target\ndef app():\n    helper()\n    return scratch()\n",
    )
    assert problem.message == "ValueError: bad luck"
    assert str(problem.at) == "Buildfile.py:3 in helper(), from Buildfile.py:7 in app()"


def test_an_exception_in_a_library_names_both_places(tmp_path):
    problem = failure(tmp_path, "import json\njson.loads('{')\n" + TARGET)
    assert problem.message.startswith("JSONDecodeError: ")
    assert str(problem.at) == "Buildfile.py:3:1"
    assert "json" in problem.notes[0]
    assert problem.notes[0].startswith("raised at ")


def test_notes_of_an_exception_are_kept(tmp_path):
    problem = failure(tmp_path, "e = OSError()\ne.add_note('look there')\nraise e\n" + TARGET)
    assert (problem.message, problem.notes) == ("OSError", ("look there",))


def test_a_syntax_error_has_a_caret(tmp_path):
    problem = failure(tmp_path, "x = (1,\ny = = 2\n")
    assert isinstance(problem, BuildfileSyntaxError)
    assert problem.at.file == "Buildfile.py"
    assert "^" in problem.excerpt
    tidy = failure(tmp_path, "y = = 2\n")
    assert (tidy.message, str(tidy.at)) == ("invalid syntax", "Buildfile.py:2:5")
    assert tidy.excerpt == "  y = = 2\n      ^"


def test_bytes_that_are_no_python(tmp_path):
    (tmp_path / "Buildfile.py").write_bytes(b"x = '\xff'\n")
    with pytest.raises(BuildfileSyntaxError):
        load(str(tmp_path / "Buildfile.py"), SeenInputs())
    (tmp_path / "Buildfile.py").write_bytes(b"x = '\0'\n")
    with pytest.raises(BuildfileSyntaxError):
        load(str(tmp_path / "Buildfile.py"), SeenInputs())


def test_exit_is_refused_and_ctrl_c_is_not(tmp_path):
    problem = failure(tmp_path, "import sys\nsys.exit(3)\n")
    assert (problem.message, str(problem.at)) == ("the Buildfile.py called exit(3)", "Buildfile.py:3:1")
    with pytest.raises(KeyboardInterrupt):
        Door(tmp_path, "raise KeyboardInterrupt\n")


def test_a_missing_file(tmp_path):
    with pytest.raises(BuildfileError, match="cannot read the file: No such file"):
        load(str(tmp_path / "gone.py"), SeenInputs())


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("x = 1\n", "the file has no target", "Buildfile.py"),
        (
            "@target\ndef a(): pass\nb = a\n@target(name='a')\ndef c(): pass\n",
            "two targets are named `a`",
            "Buildfile.py:5 in c()",
        ),
        (
            "@target(default=True)\ndef a(): pass\n@target(default=True)\ndef b(): pass\n",
            "`a` and `b` are both marked default=True",
            "Buildfile.py:4 in b()",
        ),
    ],
)
def test_files_whose_targets_are_unclear(tmp_path, text, message, place):
    problem = failure(tmp_path, text)
    assert (problem.message, str(problem.at)) == (message, place)


@pytest.mark.attack("H8")
def test_the_files_directory_cannot_be_imported_from(tmp_path, monkeypatch):
    (tmp_path / "neighbour.py").write_text("raise SystemError('imported from the context')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), str(tmp_path / "."), *sys.path])
    before = list(sys.path)
    problem = failure(tmp_path, "import neighbour\n" + TARGET)
    assert problem.message == "ModuleNotFoundError: No module named 'neighbour'"
    assert "directory of a Buildfile.py is not searched" in problem.hint
    assert sys.path == before


def test_the_module_is_its_own_and_is_left_nowhere(tmp_path):
    modules = set(sys.modules)
    Door(tmp_path, "assert __file__.endswith('/Buildfile.py'), __file__\nassert __name__ == 'Buildfile'\n" + TARGET)
    assert not {name for name in set(sys.modules) - modules if "Buildfile" in name}
    assert os.listdir(tmp_path) == ["Buildfile.py"]


def test_paths_that_the_file_adds_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "pybuild_test_helper.py").write_text("VALUE = 'here'\n")
    text = f"""
    import sys
    sys.path.insert(0, {str(tmp_path / "lib")!r})

    @target
    def app():
        import pybuild_test_helper
        return scratch().env(A=pybuild_test_helper.VALUE)
    """
    door = Door(tmp_path, text)
    assert door.one().config.env[-1] == ("A", "here")
    assert str(tmp_path / "lib" / "pybuild_test_helper.py") in door.inputs.files
    sys.modules.pop("pybuild_test_helper")


def test_an_error_of_ours_keeps_its_kind(tmp_path):
    with pytest.raises(UsageError):
        Door(tmp_path, "from buildkit_py.errors import UsageError\nraise UsageError('no')\n")


@pytest.mark.parametrize("kind", ["asyncio.CancelledError", "GeneratorExit", "Own"])
def test_what_is_no_ordinary_exception_is_shown_too(tmp_path, kind):
    text = f"import asyncio\nclass Own(BaseException): pass\n@target\ndef app():\n    raise {kind}('x')\n"
    problem = failure(tmp_path, text)
    assert problem.message == f"{kind.rpartition('.')[2]}: x"
    assert str(problem.at) == "Buildfile.py:6 in app()"


def test_a_signal_is_no_doing_of_the_file(tmp_path):
    with pytest.raises(Ended):
        Door(tmp_path, "from buildkit_py.cli.guard import Ended\nraise Ended(15)\n")


def test_an_exception_that_has_no_text(tmp_path):
    text = "class E(Exception):\n    __notes__ = [1, 'two']\n    def __str__(self): raise ValueError\nraise E()\n"
    problem = failure(tmp_path, text + TARGET)
    assert (problem.message, problem.notes) == ("E", ("two",))


def test_classes_find_their_module(tmp_path):
    text = """
    from __future__ import annotations
    import dataclasses, pickle, sys, typing

    @dataclasses.dataclass
    class C:
        a: typing.ClassVar[str] = "x"
        b: int = 1

    assert typing.get_type_hints(C) == {"a": typing.ClassVar[str], "b": int}

    @target
    def app():
        assert pickle.loads(pickle.dumps(C(2))) == C(2)
        return scratch().label(v=C.a)
    """
    path = tmp_path / "Buildfile.py"
    path.write_text(textwrap.dedent(text).lstrip("\n").replace("import dataclasses", f"{HEAD}import dataclasses"))
    modules = set(sys.modules)
    module = load(str(path), SeenInputs())
    (made,) = call(module, [("", {})], Options(str(tmp_path)), FakeResolver(), SeenInputs())
    assert made.config.labels == (("v", "x"),)
    assert not {name for name in set(sys.modules) - modules if "Buildfile" in name}


def test_what_the_file_prints_is_no_result(tmp_path, capfd):
    text = """
    import subprocess
    print("one")
    subprocess.run(["echo", "two"], check=True)

    @target
    def app():
        print("three")
        return scratch()
    """
    print("before")
    Door(tmp_path, text).one()
    print("after")
    out, err = capfd.readouterr()
    assert (out, sorted(err.split())) == ("before\nafter\n", ["one", "three", "two"])


def test_of_a_recursion_without_end_both_ends_are_shown(tmp_path):
    problem = failure(tmp_path, "def deep():\n    deep()\n@target\ndef app():\n    deep()\n")
    assert problem.message.startswith("RecursionError: ")
    assert len(problem.at.via) == 10
    assert (problem.at.function, problem.at.via[-1].function) == ("deep", "app")
    assert any(note.endswith(" calls between the first and the last 5 are not shown") for note in problem.notes)


@pytest.mark.parametrize("after", ["pass", "raise ValueError"])
def test_a_signal_that_the_file_catches_ends_it_all_the_same(tmp_path, after):
    def end(signum, frame):
        raise Ended(signum)

    before = signal.signal(signal.SIGTERM, end)
    try:
        text = f"import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGTERM)\nexcept:\n    {after}\n"
        with pytest.raises(Ended):
            Door(tmp_path, text + TARGET)
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, before)
