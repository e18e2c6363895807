"""Texts that a command will write."""

import pytest

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.python.lower import targets
from buildkit_py.frontend.python.text import Text, fmt
from buildkit_py.graph.op import Run
from tests.frontend.python.door import Door

DESCRIBE = 'version = Image("base").run("git describe").stdout\n'


class Runner:
    """Answers every step with what `answer` makes of its command; counts."""

    def __init__(self, answer=lambda command: f"<{command}>\n"):
        self.answer = answer
        self.ran = []

    def __call__(self, step):
        assert isinstance(step.op, Run)
        assert step.op.capture
        self.ran.append(step.op.argv[-1])
        return self.answer(step.op.argv[-1])


def test_a_text_can_go_wherever_text_goes(tmp_path):
    runner = Runner(lambda command: f"{command.replace(' ', '-')}\n")
    text = (
        DESCRIBE
        + """
@target(tags=[fmt("shop:{}", version)])
def app():
    tagged = fmt("{}-{name}", version, name="x")
    return (Image("base").env(V=version).label(v=tagged).run("make", version).write("/v", fmt("{}\\n", version))
            .run(fmt("echo {}", version), env={"E": version}))
"""
    )
    made = Door(tmp_path, text, runner=runner).one()
    assert runner.ran == ["git describe"]
    assert made.config.env[-1] == ("V", "git-describe")
    assert made.config.labels == (("v", "git-describe-x"),)
    assert made.tags == ("shop:git-describe",)
    assert made.step.op.argv[-1] == "echo git-describe"
    assert dict(made.step.op.env)["E"] == "git-describe"
    assert made.step.base.op.items[0].content == b"git-describe\n"
    assert made.step.base.base.op.argv == ("make", "git-describe")
    assert not made.step.op.capture


def test_a_text_may_name_an_image_and_build_args(tmp_path):
    (tmp_path / "Dockerfile").write_text("ARG V\nFROM base:$V\n")
    text = DESCRIBE + (
        '@target\ndef app():\n    return {"a": Image(fmt("base:{}", version)),'
        ' "b": Image.from_buildfile("Dockerfile", args={"V": version})}\n'
    )
    door = Door(tmp_path, text, runner=Runner(lambda _: "7\n"))
    door.call("app")
    assert door.resolver.asked == [("base", "linux/amd64"), ("base:7", "linux/amd64"), ("base:7", "linux/amd64")]


def test_value_runs_now_and_only_once(tmp_path):
    runner = Runner(lambda _: "1.2\n\n")
    text = (
        DESCRIBE + '@target\ndef app():\n    v = version.value()\n    return Image("base").env(V=v + version.value())\n'
    )
    door = Door(tmp_path, text, runner=runner)
    assert door.one().config.env[-1] == ("V", "1.21.2")
    assert runner.ran == ["git describe"]
    # What pybuild itself does for it is no doing of the file's.
    assert door.inputs.impurities == []


def test_listing_runs_nothing(tmp_path):
    runner = Runner()
    text = DESCRIBE + "@target(tags=[version])\ndef app():\n    return scratch()\n"
    targets(Door(tmp_path, text, runner=runner).module)
    assert runner.ran == []


USES = [
    ("str(version)", "str() of a text"),
    ('f"{version}"', "an f-string of a text"),
    ('"{}".format(version)', "an f-string of a text"),
    ('"%s" % version', "str() of a text"),
    ("1 if version else 2", "a condition on a text"),
    ("len(version)", "the length of a text"),
    ("list(version)", "a loop over a text"),
    ('"a" in version', "a search in a text"),
    ('version == "1"', "a comparison with a text"),
    ('version + "x"', "`+` on a text"),
    ('"x" + version', "`+` on a text"),
    ('fmt("{:>5}", version)', "cannot be formatted further"),
    ('fmt("{}{}", version)', "there is no value for `{1}`"),
    ('fmt("{x}", version)', "there is no value named `x`"),
    ('fmt("{", version)', "fmt(): "),
    ("fmt(version)", "fmt() formats a str"),
]


@pytest.mark.parametrize(("use", "message"), USES, ids=[use for use, _ in USES])
def test_using_a_text_too_early_says_so(tmp_path, use, message):
    with pytest.raises(BuildfileError) as caught:
        Door(tmp_path, f"{DESCRIBE}@target\ndef app():\n    {use}\n", runner=Runner()).one()
    assert message in caught.value.message
    assert str(caught.value.at) == "Buildfile.py:5 in app()"
    assert caught.value.excerpt.startswith(f"      {use}\n")


@pytest.mark.parametrize("use", ["version.value()", "1"])
def test_a_text_outside_of_a_build(tmp_path, use):
    text = f'{DESCRIBE}{use}\n@target\ndef app():\n    return Image("base").env(V=version)\n'
    with pytest.raises(BuildfileError, match="nothing can be run here"):
        Door(tmp_path, text).one()


def test_only_runs_have_output(tmp_path):
    with pytest.raises(BuildfileError, match="only the image that run"):
        Door(tmp_path, 'Image("base").env(A="1").stdout\n')


def test_fmt_without_unknown_texts_is_format():
    assert fmt("{}-{b:>3}-{{}}-{0!r}", "a", b=1) == "a-  1-{}-'a'"
    assert isinstance(fmt("{}", Text(("x",))), str)
