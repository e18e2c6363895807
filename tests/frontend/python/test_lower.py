"""Calling targets: names, parameters, what they return."""

import pytest

from buildkit_py.errors import BuildfileError, UsageError
from buildkit_py.frontend.outline import Outline
from buildkit_py.frontend.python.lower import call, targets
from tests.frontend.python.door import Door

SHOP = '''
@target
def deps(python: str = "3.12") -> Image:
    """The interpreter
    with our dependencies.

    More about it.
    """
    return Image("base").run(f"install {python}")


@target(default=True, tags=["shop:dev"])
def app(python: str = "3.12", *, debug: bool = False, jobs: int = 2) -> Image:
    """The web shop."""
    return deps(python).env(DEBUG=str(debug), JOBS=str(jobs))


@target(name="all")
def everything():
    return {"app": app(), "deps": deps()}


@target
def several():
    return [scratch(), Image("other")]
'''


def test_outlines_come_from_signatures_and_docstrings(tmp_path):
    door = Door(tmp_path, SHOP)
    assert targets(door.module) == (
        Outline("deps", "The interpreter with our dependencies.", False, (("python", "str", "3.12", ""),)),
        Outline(
            "app",
            "The web shop.",
            True,
            (("python", "str", "3.12", ""), ("debug", "bool", "False", ""), ("jobs", "int", "2", "")),
        ),
        Outline("all", "", False, ()),
        Outline("several", "", False, ()),
    )
    assert door.resolver.asked == []


def test_the_default_target_and_its_place(tmp_path):
    made = Door(tmp_path, SHOP).one()
    assert (made.name, made.default, made.tags, made.description) == ("app", True, ("shop:dev",), "The web shop.")
    assert str(made.position) == "Buildfile.py:12 in app()"
    assert str(made.step.position) == "Buildfile.py:9 in deps()"
    assert (made.step.stage, made.step.name) == ("deps", "[deps] RUN install 3.12")


def test_without_a_mark_the_last_target_is_the_default(tmp_path):
    text = "@target\ndef a(): return scratch()\n@target\ndef b_c(): return scratch()\n"
    assert Door(tmp_path, text).one().name == "b-c"
    assert Door(tmp_path, text).one("b_c").name == "b-c"


def test_parameters_come_as_texts(tmp_path):
    made = Door(tmp_path, SHOP).one("app", python="3.13", debug="yes", jobs="8")
    assert made.step.op.argv[-1] == "install 3.13"
    assert made.config.env[-2:] == (("DEBUG", "True"), ("JOBS", "8"))


def test_several_images(tmp_path):
    door = Door(tmp_path, SHOP)
    assert [made.name for made in door.call("all")] == ["all.app", "all.deps"]
    assert [made.name for made in door.call("several", "deps")] == ["several.0", "several.1", "deps"]


@pytest.mark.parametrize(
    ("name", "parameters", "message", "hint"),
    [
        ("ap", {}, "there is no target `ap`", "did you mean `app`?"),
        ("zzzzzz", {}, "there is no target `zzzzzz`", "the targets are deps, app, all, several"),
        ("app", {"pyton": "3"}, "the target `app` has no parameter `--pyton`", "did you mean `--python`?"),
        ("all", {"x": "3"}, "the target `all` has no parameter `--x`", "it takes none"),
        ("app", {"jobs": "many"}, "`--jobs` of `app` must be int, got `many`", ""),
        ("app", {"debug": "perhaps"}, "`--debug` of `app` must be bool, got `perhaps` (true or false)", ""),
    ],
)
def test_a_wrong_command_line(tmp_path, name, parameters, message, hint):
    with pytest.raises(UsageError) as caught:
        Door(tmp_path, SHOP).one(name, **parameters)
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("None", "the target app() returned nothing"),
        ("5", "the target app() returned int"),
        ("{}", "the target app() returned an empty dict"),
        ('{"a": 5}', "the target app() returned int as `app.a`"),
    ],
)
def test_what_is_no_image(tmp_path, value, message):
    with pytest.raises(BuildfileError) as caught:
        Door(tmp_path, f"@target\ndef app():\n    return {value}\n").one()
    assert caught.value.message == message
    assert str(caught.value.at) == "Buildfile.py:2 in app()"


def test_a_dockerfiles_error_keeps_its_own_place(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM base\nSTOPSIGNAL NOPE\n")
    text = '@target\ndef app():\n    return Image.from_buildfile("Dockerfile")\n'
    with pytest.raises(BuildfileError) as caught:
        Door(tmp_path, text).one()
    assert str(caught.value.at).startswith("Dockerfile:2:12, from Buildfile.py:")


def told(door, **options):
    """What calling the default target tells, and the words of the first command."""
    notices = []
    (made,) = call(
        door.module,
        [("", options.pop("given", {}))],
        door.options.replace(build_args=tuple(options.items())),
        door.resolver,
        door.inputs,
        notice=lambda message, at, hint, rule: notices.append((message, str(at), hint)),
    )
    return notices, made.step.name


def test_a_build_arg_is_a_parameter_of_that_name(tmp_path):
    door = Door(tmp_path, SHOP)
    assert told(door, PYTHON="3.13") == ([], "[deps] RUN install 3.13")
    assert told(door, python="3.11") == ([], "[deps] RUN install 3.11")
    assert told(door, python="3.11", given={"python": "3.10"}) == ([], "[deps] RUN install 3.10")
    assert told(door, TARGETARCH="arm64", HTTP_PROXY="x", BUILDKIT_X="1") == ([], "[deps] RUN install 3.12")
    with pytest.raises(UsageError, match="`--jobs` of `app` must be int"):
        told(door, JOBS="many")


def test_a_build_arg_that_nothing_takes_is_told(tmp_path):
    notices, name = told(Door(tmp_path, SHOP), PYTHN="3.13")
    assert notices == [
        ("the build arg `PYTHN` is declared nowhere", "Buildfile.py:12 in app()", "did you mean `PYTHON`?")
    ]
    assert name == "[deps] RUN install 3.12"


def test_a_name_is_that_of_a_target_before_it_is_a_functions(tmp_path):
    text = """
    @target(name="x")
    def b():
        return scratch().label(which="x")

    @target(name="b")
    def a():
        return scratch().label(which="b")

    def made(number):
        @target(name=f"t{number}")
        def t():
            return scratch().label(which=f"t{number}")
        return t

    t1, t2 = made(1), made(2)
    """
    door = Door(tmp_path, text)
    for name, which in (("x", "x"), ("b", "b"), ("a", "b"), ("t2", "t2")):
        assert door.one(name).config.labels == (("which", which),)
    with pytest.raises(UsageError, match="there is no target `t`"):
        door.one("t")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ('{1: scratch(), "1": scratch()}', "the target app() returned two images that are named `app.1`"),
        ('{"x/../../up": scratch()}', "returned an image named 'app.x/../../up', which cannot be the name of a file"),
        ('{"\\n": scratch()}', "returned an image named 'app.\\n', which cannot be the name of a file"),
    ],
)
def test_names_of_images_that_cannot_be(tmp_path, returned, message):
    with pytest.raises(BuildfileError) as caught:
        Door(tmp_path, f"@target\ndef app():\n    return {returned}\n").call("app")
    assert message in caught.value.message
    assert str(caught.value.at) == "Buildfile.py:2 in app()"


@pytest.mark.parametrize("name", ["..", "a/b", "/x", "a\n"])
def test_names_of_targets_that_cannot_be(tmp_path, name):
    with pytest.raises(BuildfileError, match="cannot be the name of a target") as caught:
        Door(tmp_path, f"@target(name={name!r})\ndef app():\n    return scratch()\n")
    assert str(caught.value.at) == "Buildfile.py:2:1"


@pytest.mark.parametrize("tag", ["Bad Tag!", "a@sha256:" + "0" * 64, "-x"])
def test_tags_that_cannot_be(tmp_path, tag):
    with pytest.raises(BuildfileError) as caught:
        Door(tmp_path, f"@target(tags=[{tag!r}])\ndef app():\n    return scratch()\n").one()
    assert str(caught.value.at) == "Buildfile.py:2 in app()"


def test_tags_of_a_target_of_several_images(tmp_path):
    door = Door(tmp_path, "@target(tags=['x'])\ndef app():\n    return {'a': scratch(), 'b': scratch()}\n")
    with pytest.raises(BuildfileError, match="the tags of app\\(\\) name one image, and it returned several") as caught:
        door.call("app")
    assert str(caught.value.at) == "Buildfile.py:2 in app()"
