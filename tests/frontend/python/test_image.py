"""Wrong use of images: every error at the user's line, naming the parameter, the type and the value."""

import pytest

from buildkit_py.digest import canonical
from buildkit_py.errors import BuildfileError
from buildkit_py.freeze import freeze, thaw
from buildkit_py.graph.step import in_order
from buildkit_py.solver.keys import op_parts
from tests.frontend.python.door import Door

HALVES = [
    'base.write("f", "\\ud800")',
    'base.write("f\\ud800", "x")',
    'base.run("echo \\ud800")',
    'base.arg(A="\\ud800")',
    'base.env({"\\ud800": "x"})',
    'base.copy(file("f", "\\ud800"))',
    'base.copy(src["\\ud800"])',
    'base.run("x", mounts=[cache("/\\ud800")])',
    'expand("\\ud800")',
]

WRONG = [
    ("Image(5)", "an image's name must be str or Text, got int 5"),
    ('Image(" ")', "an image needs a name"),
    ('Image("x", platform=1)', "`platform` of Image() must be str, got int 1"),
    ("base.run()", "run() needs a command"),
    ("base.run(5)", "the words of run() must be str, got int 5"),
    ('base.run("a", 5)', "the words of run() must be str, got int 5"),
    ("base.run([])", "run() needs a command"),
    ('base.run("a", mounts=["/c"])', "each of `mounts` of run() must be CacheMount or SecretMount"),
    ('base.run("a", network="lan")', "`network` of run() must be one of default, none, host"),
    ('base.run("a", env={"A": 1})', "`A` of `env` of run() must be str, got int 1"),
    ('base.copy("a")', "the first argument of copy() must be Tree or Image or File, got str 'a'"),
    ('base.copy(src["a"], 5)', "`dest` of copy() must be str, got int 5"),
    ('base.copy(src, exclude="*.o")', "`exclude` of copy() must be a list of str, got str '*.o'"),
    ('base.copy(src, link="yes")', "`link` of copy() must be bool, got str 'yes'"),
    ("src[5]", "a tree is indexed by paths, got int 5"),
    ('src[""]', "a tree is indexed by paths, got str ''"),
    ('src["a", "b"]["c"]', "a tree of several paths cannot be narrowed further"),
    ("list(src)", "cannot be looped over"),
    ("list(base)", "an image cannot be looped over"),
    ('context("gone")', "the context `gone` is not a directory"),
    ('context(".", ignore="x")', "`ignore` of context() must be a list of str"),
    ('base.write("/d/", "x")', "write() needs the name of a file"),
    ('base.write("/d/..", "x")', "write() needs the name of a file"),
    ('base.write("/d", 5)', "`text` of write() must be str or bytes or Text, got int 5"),
    ("base.workdir(None)", "`path` of workdir() must be str, got None"),
    ('base.output("a", "../x")', "output() writes below the project"),
    ('base.output("a", "/x")', "output() writes below the project"),
    ("base.env(A=1)", "`A` of env() must be str, got int 1"),
    ('base.env("A=1")', "env() takes a dict of str, got str 'A=1'"),
    ("base.label({1: 'a'})", "the names of label() must be str, got int 1"),
    ("base.user(0)", "`name` of user() must be str, got int 0"),
    ('base.expose("x")', "is not a port"),
    ("base.expose(1.5)", "each port of expose() must be int or str, got float 1.5"),
    ("base.volume(1)", "each path of volume() must be str, got int 1"),
    ("base.shell()", "shell() needs at least one word"),
    ('base.healthcheck("x", interval="soon")', "`interval` of healthcheck()"),
    ('base.healthcheck("x", retries="3")', "`retries` of healthcheck() must be int"),
    ("base.stop_signal(9)", "`signal` of stop_signal() must be str"),
    ("base.x = 5", "an image is immutable, `x` cannot be set"),
    ('Image.from_buildfile("f", args=["a"])', "`args` of Image.from_buildfile() takes a dict of str"),
    ("cache(5)", "`path` of cache() must be str"),
    ('cache("/c", sharing="x")', "`sharing` of cache() must be one of shared, private, locked"),
    ('secret("")', "secret() needs an id"),
    ("secret(5)", "`id` of secret() must be str"),
    ('cache("/c", key=5)', "`key` of cache() must be str"),
    ('cache("/c", key=["a", ""])', "`key` of cache() names no file"),
    ("cache('/c', source='x')", "`source` of cache() must be Tree or Image"),
    ('file("a/b", "x")', "file() needs a plain name, got 'a/b'"),
    ('file("..", "x")', "file() needs a plain name, got '..'"),
    ('file("a", 5)', "`content` of file() must be str, got int 5"),
    ("base.copy([])", "copy() is given nothing to copy"),
    ("base.arg(A=1)", "`A` of arg() must be str, got int 1"),
    ("base.env(A=None)", "`A` of env() must be str, got None"),
    ('tmpfs("/t", size="1g")', "`size` of tmpfs() must be int"),
    ('bind("a", "/b")', "the first argument of bind() must be Tree or Image"),
    ('bind(src["a", "b"], "/b")', "bind() mounts one path"),
    ("env(5)", "`name` of env() must be str"),
    ('env("PYBUILD_TEST_UNSET")', "the environment variable `PYBUILD_TEST_UNSET` is not set"),
    ('read("gone")', "cannot read `gone`: No such file or directory"),
    ('base.on_build("BOGUS x")', "`BOGUS x` cannot be a trigger: unknown instruction `BOGUS`"),
    ('base.on_build("")', "`` cannot be a trigger: "),
    ('base.on_build("FROM q")', "`FROM q` cannot be a trigger: "),
    ('base.on_build("ONBUILD RUN x")', "cannot be a trigger: "),
    ('base.on_build("MAINTAINER x")', "cannot be a trigger: "),
    ('base.on_build("RUN x\\nRUN y")', "on_build() takes one instruction at a time"),
    ('base.env(A="a\\0b")', "`A` of env() has a NUL character"),
    ('base.env({"A\\0": "b"})', "of env() has a NUL character"),
    ('base.label(A="\\0")', "`A` of label() has a NUL character"),
    ('base.run("x", env={"A": "\\0"})', "`A` of `env` of run() has a NUL character"),
    ('base.run("a\\0b")', "the command of run() has a NUL character"),
    ('base.cmd("a", "b\\0")', "a word of cmd() has a NUL character"),
    ('base.entrypoint(["b\\0"])', "a word of entrypoint() has a NUL character"),
    ('base.shell("b\\0")', "a word of shell() has a NUL character"),
    ('base.healthcheck("b\\0")', "the command of healthcheck() has a NUL character"),
    ('cache("/c", uid=-5)', "`uid` of cache() cannot be int -5"),
    ('cache("/c", gid=2**32 - 1)', "`gid` of cache() cannot be int 4294967295"),
    ('cache("/c", mode=0o100000)', "`mode` of cache() cannot be int 32768"),
    ('secret("s", uid=-7)', "`uid` of secret() cannot be int -7"),
    ('secret("s", mode=0o77777)', "`mode` of secret() cannot be int 32767"),
    ('secret("s", required="no")', "`required` of secret() must be bool, got str 'no'"),
    ("ssh(mode=-2)", "`mode` of ssh() cannot be int -2"),
    ('tmpfs("/t", size=-1)', "`size` of tmpfs() cannot be int -1"),
    ('tmpfs("/t", size=True)', "`size` of tmpfs() cannot be bool True"),
    ('bind(src, "/b", read_only="no")', "`read_only` of bind() must be bool, got str 'no'"),
    *((call, "the text has half of a character ('\\ud800')") for call in HALVES),
    ('base.run("a", mount=[])', "TypeError: Image.run() got an unexpected keyword argument 'mount'"),
]


@pytest.mark.parametrize(("expression", "message"), WRONG, ids=[expression for expression, _ in WRONG])
def test_wrong_use(tmp_path, expression, message):
    text = f"""
base = Image("base")
src = context(".")

@target
def app():
    {expression}
"""
    with pytest.raises(BuildfileError) as caught:
        Door(tmp_path, text).one()
    problem = caught.value
    assert message in problem.message
    assert (problem.at.file, problem.at.line, problem.at.function) == ("Buildfile.py", 7, "app")
    assert problem.excerpt.startswith(f"      {expression}\n")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ('base.stop_signal("NOPE")', "`NOPE` is not a signal"),
        ('base.copy(context("."), chmod="9")', "`9` is not a mode"),
        ('base.run("x", mounts=[tmpfs("/")])', "cannot cover the whole filesystem"),
        ('base.healthcheck("x", interval="1us")', "0 or at least 1ms"),
        ('base.volume("")', "cannot be an empty path"),
        ('Image("base", platform="a/b/c/d")', "is not a platform"),
        ('Image("nowhere")', "there is no image `nowhere`"),
    ],
)
def test_what_only_the_lowering_sees_is_placed_too(tmp_path, expression, message):
    from buildkit_py.errors import PybuildError

    with pytest.raises(PybuildError) as caught:
        Door(tmp_path, f'base = Image("base")\n\n@target\ndef app():\n    return {expression}\n').one()
    assert message in caught.value.message
    assert str(caught.value.at) == "Buildfile.py:6 in app()"
    assert caught.value.excerpt.startswith(f"      return {expression}\n")


def test_images_show_where_they_were_made(tmp_path):
    door = Door(
        tmp_path,
        'base = Image("base")\nassert repr(base) == "<Image of Buildfile.py:2:1>", base\n@target\ndef a(): pass\n',
    )
    assert door.module.targets


def test_values_of_enums_are_what_they_are(tmp_path):
    text = """
    import enum, types

    class T(enum.StrEnum):
        TRUE = "true"

    class S(str, enum.Enum):
        S = "s"

    class N(enum.IntEnum):
        FIVE = 5

    @target(name=T.TRUE, tags=[S.S])
    def app(b: T = T.TRUE, s: S = S.S):
        return (Image("base").env({T.TRUE: S.S}).label(v=b).workdir(s).write(S.S, T.TRUE, mode=N.FIVE)
                .copy(context(".", ignore=[S.S])[T.TRUE], "/" + s).expose(N.FIVE).cmd(T.TRUE, S.S)
                .run(T.TRUE, mounts=[cache("/" + T.TRUE, id=S.S, uid=N.FIVE)], env={"A": S.S}, user=S.S, retry=N.FIVE))
    """
    (made,) = Door(tmp_path, text).call("true")
    assert thaw(freeze(made)).config == made.config
    assert (made.tags, made.config.env[-1], made.config.cmd) == (("s",), ("true", "s"), ("true", "s"))
    assert [name for name, *_ in made.parameters] == ["b", "s"]
    assert [default for _, _, default, _ in made.parameters] == ["true", "s"]
    for step in in_order([made.step]):
        canonical(op_parts(step.op))


def test_texts_that_are_not_known_yet_in_mounts_and_health_checks(tmp_path):
    text = """
    t = Image("base").run("echo x").stdout

    @target
    def app():
        mounts = [secret("s", target=t), secret(t, env="E"), secret(t, target="/s"), ssh(t)]
        return Image("base").run("true", mounts=mounts).healthcheck(t)
    """
    made = Door(tmp_path, text, runner=lambda step: "/x").one()
    assert [(mount.id, mount.target) for mount in made.step.op.mounts] == [
        ("s", "/x"),
        ("/x", ""),
        ("/x", "/s"),
        ("/x", "/run/buildkit/ssh_agent.0"),
    ]
    assert made.config.healthcheck.test == ("CMD-SHELL", "/x")
