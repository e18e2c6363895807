"""Target functions as Python code sees them."""

import pytest

from buildkit_py.errors import BuildfileError
from tests.frontend.python.door import Door


def failure(tmp_path, text):
    with pytest.raises(BuildfileError) as caught:
        Door(tmp_path, text).one()
    return caught.value


def test_the_same_call_is_the_same_value(tmp_path):
    text = """
    calls = []

    @target
    def deps(python: str = "3", extras: list[str] = [], flag: bool = False):
        calls.append(python)
        return scratch()

    @target
    def app():
        assert deps() is deps("3") is deps(python="3") is deps(extras=[])
        assert deps(extras=["a"]) is deps(extras=["a"])
        assert deps(extras=["a"]) is not deps(extras=["b"])
        assert deps(flag=True) is not deps(flag=False)
        assert calls == ["3"] * 4, calls
        return deps()
    """
    assert Door(tmp_path, text).one().name == "app"


WRONG_CALLS = [
    ("deps(3)", "`python` of deps() must be str, got int 3"),
    ('deps(jobs="2")', "`jobs` of deps() must be int, got str '2'"),
    ('deps("3", 1, 2)', "deps() takes 2 arguments, got 3"),
    ('deps(pyhton="3")', "deps() has no parameter `pyhton`"),
    ('deps(names=["a", 5])', "`names` of deps() must be list[str], got list ['a', 5]"),
    ("needy()", "needy() needs a value for `what`"),
    ('needy("c")', "`what` of needy() must be Literal['a', 'b'], got str 'c'"),
    ('deps("1", python="2")', "deps() is given `python` twice"),
    ('loop("x")', "the target loop() needs itself"),
]


@pytest.mark.parametrize(("call", "message"), WRONG_CALLS, ids=[call for call, _ in WRONG_CALLS])
def test_types_are_checked_at_the_call(tmp_path, call, message):
    text = f"""
from typing import Literal

@target
def deps(python: str = "3", jobs: int = 1, *, names: list[str] = []):
    return scratch()

@target
def needy(what: Literal["a", "b"]):
    return scratch()

@target
def loop(x: str):
    return loop(x)

@target
def app():
    return {call}
"""
    problem = failure(tmp_path, text)
    assert problem.message == message
    assert problem.at.line == (14 if "loop" in call else 18)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@target\nasync def app(): pass\n", "a target is an ordinary function, not an async one"),
        ("target(5)\n", "@target stands above a function"),
        ("@target\n@target\ndef app(): pass\n", "@target stands above a function"),
        ('@target(tags="x")\ndef app(): pass\n', "`tags` of @target must be list or tuple, got str 'x'"),
        ("@target(tags=[5])\ndef app(): pass\n", "each of `tags` of @target must be str or Text, got int 5"),
        ("@target(default=1)\ndef app(): pass\n", "`default` of @target must be bool, got int 1"),
        ("@target\ndef app(*args): pass\n", "a target cannot take *args or **kwargs"),
        ("@target\ndef app(**args): pass\n", "a target cannot take *args or **kwargs"),
        ('@target\ndef app(x: "Nope"): pass\n', "the annotation `Nope` of `x` does not work"),
    ],
)
def test_what_cannot_be_a_target(tmp_path, text, message):
    problem = failure(tmp_path, text)
    assert message in problem.message
    assert problem.at.file == "Buildfile.py"


def test_nodes_made_in_a_helper_show_the_way_there(tmp_path):
    text = """
    def apt(image, *names):
        return image.run("apt-get", "install", *names)

    @target
    def app():
        return apt(Image("base"), "gcc")
    """
    made = Door(tmp_path, text).one()
    assert str(made.step.position) == "Buildfile.py:3 in apt(), from Buildfile.py:7 in app()"
