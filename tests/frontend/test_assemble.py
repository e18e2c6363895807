"""What is not about one instruction: paths, where stages start from, and that states are values."""

import pytest

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend import assemble
from buildkit_py.frontend.assemble import Settings, join, settings_of
from buildkit_py.frontend.target import Options
from buildkit_py.image.config import Healthcheck, ImageConfig
from tests.frontend.fakes import FakeResolver

START = assemble.scratch("s", "linux/amd64", Settings())


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        ("/a", "b", "/a/b"),
        ("/a/", "./b//c/", "/a/b/c"),
        ("/a", "../../..", "/"),
        ("/", "", "/"),
        ("//a", "/b", "/a/b"),
    ],
)
def test_join_never_leaves_the_root(base, path, expected):
    assert expected == join(base, path)


def test_a_state_can_be_gone_on_from_twice():
    common = assemble.set_env(START, (("A", "1"),))
    one = assemble.run(common, ("one",))
    two = assemble.run(common, ("two",))
    assert one.step.base is two.step.base is None
    assert len(common.history) == 1
    assert [entry.created_by for entry in two.history] == ["ENV A=1", "RUN two # buildkit"]


def test_a_derived_stage_starts_clean_but_inherits():
    base = assemble.cmd(assemble.on_build(START, "RUN x"), ("c",)).replace(ignore_cache=True)
    derived = assemble.from_stage("d", base)
    assert (derived.name, derived.cmd_given, derived.ignore_cache) == ("d", False, False)
    assert derived.config == base.config.replace(on_build=())
    assert derived.history == base.history


def test_an_image_with_a_relative_directory_and_no_path():
    resolved = FakeResolver(x=ImageConfig(working_dir="app")).resolve("x", "linux/arm64", None)
    stage = assemble.from_image("s", resolved, Settings())
    assert stage.config.working_dir == "/app"
    assert [name for name, _ in stage.config.env] == ["PATH"]
    assert stage.platform == "linux/arm64"


def test_what_only_one_command_sees():
    stage = assemble.run(START, ("x",), env=(("B", "2"), ("PATH", "/p")), user="u", network="none")
    assert stage.step.op.env == (("B", "2"), ("PATH", "/p"))
    assert (stage.step.op.user, stage.step.op.network) == ("u", "none")
    assert stage.env == START.env
    assert stage.config == START.config


def test_settings_come_from_the_options():
    options = Options("", network="none", hosts=(("a", "1"),), build_args=(("No_Proxy", "x"), ("HTTPS_PROXY", "y")))
    assert settings_of(options) == Settings(
        "none",
        (("a", "1"),),
        (("HTTPS_PROXY", "y"), ("https_proxy", "y"), ("NO_PROXY", "x"), ("no_proxy", "x")),
    )


@pytest.mark.parametrize("check", [Healthcheck(("CMD", "x"), 999_999), Healthcheck(("CMD", "x"), retries=-1)])
def test_health_checks_have_limits(check):
    with pytest.raises(BuildfileError, match="health check"):
        assemble.healthcheck(START, check)
