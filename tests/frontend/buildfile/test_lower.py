"""Stages, scope and targets of a whole Buildfile."""

import pytest

from buildkit_py.errors import BuildfileError, ContextError, ImageNotFound, UsageError
from buildkit_py.frontend.buildfile.lower import outline
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.outline import Outline
from buildkit_py.frontend.platform_args import this_platform
from buildkit_py.graph.op import Copy, CopyPath, GitSource, HostSource, ImageSource, LocalSource, Run
from buildkit_py.graph.step import in_order
from buildkit_py.image.config import ImageConfig
from buildkit_py.source_map import Position
from tests.frontend.buildfile.lowering import BASE, Lowered
from tests.frontend.fakes import FakeResolver, SeenInputs


def fails(text, *targets, **options):
    with pytest.raises((BuildfileError, UsageError)) as caught:
        Lowered(text, *targets, **options)
    return caught.value


def test_only_what_the_target_needs_is_resolved():
    made = Lowered("FROM other AS unused\nRUN a\nFROM base AS b\nRUN b\nFROM scratch\nCOPY --from=b / /\n")
    assert made.resolver.asked == [("base", "linux/amd64")]
    assert [step.name for step in made.steps] == [
        "[b 1/2] FROM base",
        "[b 2/2] RUN b",
        "[stage-2 1/1] COPY --from=b / /",
    ]


def test_a_stage_is_made_once_however_often_it_is_used():
    made = Lowered("FROM base AS b\nRUN b\nFROM b AS one\nRUN 1\nFROM b AS two\nRUN 2\n", "one", "two")
    one, two = made.targets
    assert one.step.base is two.step.base
    assert (one.name, two.name, one.default, two.default) == ("one", "two", False, True)


def test_the_default_target_is_the_last_stage():
    assert Lowered("FROM base AS a\nFROM base").target.name == "default"
    assert Lowered("FROM base AS a\nFROM base AS b").target.name == "b"
    assert Lowered("FROM base AS a\nFROM base", "A").target.name == "a"
    assert Lowered("FROM base AS a\nFROM base", "default").target.name == "default"


def test_an_unknown_target_names_the_nearest():
    assert fails("FROM base AS web\nFROM base AS api", "wep").hint == "did you mean `web`?"
    assert fails("FROM base AS web\nFROM base", "zzzzzzz").hint == "the targets are web, default"


def test_outline_resolves_nothing():
    tree = parse_text(
        "# VERSION which one\nARG VERSION=1\n# a the first\nFROM nowhere AS a\nFROM x\nFROM y AS z\n", "B"
    )
    parameters = (("VERSION", "str", "1", "which one"),)
    assert outline(tree, SeenInputs()) == (
        Outline("a", "the first", False, parameters),
        Outline("z", "", True, parameters),
    )


def test_global_args():
    made = Lowered("ARG TAG=1\nARG NAME=ba\nARG IMAGE=${NAME}se:$TAG\nFROM $IMAGE\nRUN x")
    assert made.resolver.asked == [("base:1", "linux/amd64")]
    assert "IMAGE" not in dict(made.op.env)
    given = Lowered("ARG TAG=1\nFROM base:$TAG", build_args=(("TAG", "2"),))
    assert given.resolver.asked == [("base:2", "linux/amd64")]


def test_a_base_that_comes_to_nothing():
    problem = fails("ARG BASE\nFROM $BASE\n")
    assert problem.message == "FROM $BASE comes to nothing"
    assert str(problem.at) == "Buildfile:2:6"


def test_platforms():
    made = Lowered("FROM --platform=$BUILDPLATFORM base AS a\nFROM a\nRUN x", platform="linux/arm64")
    assert made.resolver.asked == [("base", this_platform())]
    assert made.target.platform == made.op.platform == this_platform()
    assert Lowered("FROM base", platform="linux/arm64").target.platform == "linux/arm64"
    assert fails("FROM --platform=$NOPE base").message == "--platform=$NOPE comes to nothing"
    assert "is not a platform" in fails("FROM --platform=a/b/c/d base").message
    # A stage made from nothing is for the target, whatever its own flag says.
    assert Lowered("FROM --platform=linux/s390x scratch").target.platform == "linux/amd64"


def test_targetstage():
    text = "ARG TARGETSTAGE\nFROM base AS a\nARG TARGETSTAGE\nRUN x\nFROM a\nRUN y"
    first, last = Lowered(text, "a", "default").targets
    assert dict(first.step.op.env)["TARGETSTAGE"] == "a"
    assert dict(last.step.op.env)["TARGETSTAGE"] == "default"


def test_a_notice_is_given_once_however_many_targets_there_are():
    text = "ARG TARGETSTAGE\nFROM base AS a\nLABEL x=$NOPE\nFROM a AS b"
    assert len(Lowered(text, "a", "b").findings) == 1


def test_targetstage_may_choose_the_base():
    text = "FROM base AS a-base\nFROM other AS b-base\nFROM ${TARGETSTAGE}-base AS a\nFROM ${TARGETSTAGE}-base AS b"
    made = Lowered(text, "a", "b")
    assert [target.step.op.reference for target in made.targets] == ["base", "other"]


def test_from_compares_case_and_from_flags_do_not():
    made = Lowered("FROM base AS Base\nRUN x\nFROM other AS Two\nCOPY --from=BASE /a /\nFROM two\n")
    assert made.resolver.asked == [("base", "linux/amd64"), ("other", "linux/amd64")]
    with pytest.raises(ImageNotFound) as caught:
        Lowered("FROM base AS Tools\nFROM Tools\n")
    assert caught.value.hint == "did you mean `tools`?"


def test_the_last_stage_of_a_name_counts():
    made = Lowered("FROM base AS a\nRUN 1\nFROM other AS a\nRUN 2\nFROM a\nRUN 3")
    assert [step.op.argv[-1] for step in made.steps if isinstance(step.op, Run)] == ["2", "3"]


def test_a_number_is_an_index_for_copy_and_an_image_for_from():
    made = Lowered("FROM base\nRUN x\nFROM scratch\nCOPY --from=0 /a /b\n")
    assert isinstance(made.op, Copy)
    assert isinstance(made.target.step.sources[0].op, Run)
    assert fails("FROM base\nFROM base\nCOPY --from=7 a b").message == "there is no stage 7"
    with pytest.raises(ImageNotFound):
        Lowered("FROM base\nFROM 0\n")


ORDER = [
    ("FROM base AS a\nCOPY --from=b x y\nFROM base AS b\nFROM a", "`b` is used before it is defined", 2),
    ("FROM base AS a\nCOPY --from=a x y\n", "the stage `a` takes files from itself", 2),
    (
        "FROM base AS a\nCOPY --from=c x y\nFROM a AS b\nFROM b AS c\n",
        "the stages need each other: `a` → `c` → `b` → `a`",
        2,
    ),
    ("FROM base AS a\nRUN --mount=from=b,target=/x y\nFROM base AS b\nFROM a", "`b` is used before", 2),
    ("FROM base\nCOPY --from=$X a b", "variables are not expanded in --from", 2),
    ("FROM base\nRUN --mount=from=$X,target=/x y", "variables are not expanded in a mount's `from`", 2),
]


@pytest.mark.parametrize(("text", "message", "line"), ORDER)
def test_stages_that_cannot_be_had(text, message, line):
    problem = fails(text)
    assert message in problem.message
    assert problem.at.line == line


def test_a_cycle_is_found_in_stages_that_nobody_needs():
    text = "FROM base AS a\nCOPY --from=b x y\nFROM base AS b\nCOPY --from=a x y\nFROM base\n"
    assert "need each other" in fails(text).message


def test_copy_from_an_image_is_resolved_once_and_for_the_target_platform():
    made = Lowered("FROM base\nCOPY --from=other:1 a /\nCOPY --from=other:1 b /\n", platform="linux/arm64")
    assert made.resolver.asked == [("base", "linux/arm64"), ("other:1", "linux/arm64")]
    last = made.target.step
    assert last.sources[0] is last.base.sources[0]
    assert isinstance(last.sources[0].op, ImageSource)


def test_copy_from_an_empty_stage_reads_an_empty_image():
    made = Lowered("FROM scratch AS e\nFROM base\nCOPY --from=e / /x\n")
    assert made.target.step.sources[0].op == ImageSource("scratch", "linux/amd64", (), "scratch")


def test_the_context_is_one_step_with_its_ignore_rules(tmp_path):
    (tmp_path / ".dockerignore").write_text("# no\n*.log\n!keep.log\n")
    made = Lowered("FROM base\nCOPY a /\nCOPY b /\n", context=str(tmp_path))
    source = made.target.step.sources[0]
    assert source is made.target.step.base.sources[0]
    assert source.op == LocalSource("context", str(tmp_path), ("*.log", "!keep.log"))
    assert made.inputs.files == [str(tmp_path / ".dockerignore")]


def test_the_buildfiles_own_ignore_file_replaces_the_contexts_even_when_empty(tmp_path):
    (tmp_path / ".dockerignore").write_text("*.log\n")
    file = tmp_path / "Web.Buildfile"
    without = Lowered("FROM base\nCOPY a /\n", context=str(tmp_path), file=str(file))
    assert without.target.step.sources[0].op.ignore == ("*.log",)
    assert without.inputs.files == [f"{file}.dockerignore", str(tmp_path / ".dockerignore")]
    (tmp_path / "Web.Buildfile.dockerignore").write_text("")
    own = Lowered("FROM base\nCOPY a /\n", context=str(tmp_path), file=str(file))
    assert own.target.step.sources[0].op.ignore == ()
    assert own.inputs.files == [f"{file}.dockerignore"]


def test_a_bad_ignore_pattern_names_its_file(tmp_path):
    (tmp_path / ".dockerignore").write_text("a\n# b\n!\n")
    assert fails("FROM base\nCOPY a /", context=str(tmp_path)).at == Position(str(tmp_path / ".dockerignore"), 3)


def test_no_context_and_a_missing_one(tmp_path):
    with pytest.raises(ContextError, match="no context to copy from"):
        Lowered("FROM base\nCOPY a /", context="")
    with pytest.raises(ContextError, match="does not exist"):
        Lowered("FROM base\nCOPY a /", context=str(tmp_path / "gone"))
    assert Lowered("FROM base\nCOPY <<X /x\nhi\nX\n", context="").target.step.sources == ()


def triggers(*texts):
    return FakeResolver(base=BASE.replace(on_build=texts), other=BASE)


def test_triggers_of_the_base_image_run_first_and_once():
    resolver = triggers("RUN from-base $V", "ENV T=1", "COPY --from=tools /a /b")
    made = Lowered(
        "FROM other AS tools\nFROM base AS a\nARG V=1\nRUN own\nFROM a\nRUN grandchild",
        resolver=resolver,
    )
    runs = [step for step in made.steps if isinstance(step.op, Run)]
    assert [step.op.argv[-1] for step in runs] == ["from-base $V", "own", "grandchild"]
    assert "V" not in dict(runs[0].op.env)
    assert dict(runs[1].op.env)["T"] == "1"
    assert runs[0].name == "[a 2/5] ONBUILD RUN from-base $V"
    assert str(runs[0].position) == "Buildfile:2:1"
    assert made.config.on_build == ()
    assert made.history[:2] == ["RUN /bin/sh -c from-base $V # buildkit", "(ENV T=1)"]


def test_triggers_of_a_stage_run_in_stages_made_from_it():
    made = Lowered("FROM base AS p\nONBUILD RUN x\nRUN p\nFROM p AS c\nRUN c\nFROM c\nRUN g", "p", "default")
    assert made.targets[0].config.on_build == ("RUN x",)
    runs = [step.op.argv[-1] for step in in_order([made.target.step]) if isinstance(step.op, Run)]
    assert runs == ["p", "x", "c", "g"]
    assert made.target.config.on_build == ()


def test_a_heredoc_in_a_trigger():
    made = Lowered("FROM base", resolver=triggers("RUN <<E\na\nb\nE"))
    assert made.op.argv == ("/bin/sh", "-c", "a\nb\n")


@pytest.mark.parametrize("trigger", ["NOPE x", "RUN a\nRUN b", "COPY a"])
def test_a_broken_trigger_points_at_the_from(trigger):
    problem = fails("FROM other AS x\nFROM base", resolver=triggers(trigger))
    assert "ONBUILD trigger" in problem.message
    assert str(problem.at) == "Buildfile:2:1"


def test_host():
    made = Lowered("FROM host:// AS h\nRUN x\nFROM h AS d\nRUN y\nFROM base AS i\nCOPY --from=d /a /\n", "d", "i")
    derived, image = made.targets
    assert derived.host
    assert not image.host  # files may be copied out of the host into a real image
    assert any(isinstance(step.op, HostSource) for step in made.steps)
    assert "/etc/os-release" in made.inputs.files
    assert made.resolver.asked == [("base", "linux/amd64")]


def test_named_contexts(tmp_path):
    (tmp_path / ".dockerignore").write_text("x\n")
    contexts = (
        ("base", "docker-image://other:2"),
        ("files", str(tmp_path)),
        ("layout", "oci-layout:///somewhere"),
        ("docker.io/library/alpine:latest", "docker-image://other:3"),
    )
    resolver = FakeResolver(base=BASE, other=BASE, **{"oci_layout": BASE})
    made = Lowered(
        "FROM base AS a\nCOPY --from=files a /\nRUN --mount=from=files,source=b,target=/b x\n"
        "FROM alpine\nCOPY --from=a / /\nCOPY --from=layout / /\n",
        resolver=resolver,
        build_contexts=contexts,
    )
    assert resolver.asked == [
        ("other:2", "linux/amd64"),
        ("other:3", "linux/amd64"),
        ("oci-layout:///somewhere", "linux/amd64"),
    ]
    local = [step for step in in_order([made.target.step]) if isinstance(step.op, LocalSource)]
    assert [step.op for step in local] == [LocalSource("files", str(tmp_path), ("x",))]


def test_a_named_context_takes_the_place_of_a_stage(tmp_path):
    text = "FROM base AS a\nRUN x\nFROM other\nCOPY --from=a f /\nRUN --mount=from=a,target=/a y\n"
    made = Lowered(text, build_contexts=(("a", str(tmp_path)),))
    assert made.resolver.asked == [("other", "linux/amd64")]
    copied = made.target.step.base
    assert copied.sources[0].op == LocalSource("a", str(tmp_path))
    sealed = made.target.step.sources[0]
    assert sealed.op == Copy((CopyPath("/", wildcard=False),), "/")
    as_base = Lowered("FROM base AS a\nRUN x\nFROM a\nRUN y\n", build_contexts=(("a", str(tmp_path)),))
    assert as_base.target.step.base.op == Copy((CopyPath("/", wildcard=False),), "/")
    as_image = Lowered(text, build_contexts=(("a", "docker-image://other"),))
    assert as_image.resolver.asked == [("other", "linux/amd64"), ("other", "linux/amd64")]


def test_named_contexts_may_refer_to_each_other():
    chained = Lowered("FROM a", build_contexts=(("a", "docker-image://b"), ("b", "docker-image://base:1")))
    assert chained.resolver.asked == [("base:1", "linux/amd64")]
    own = Lowered("FROM base", build_contexts=(("base", "docker-image://base:9"), ("base:9", "docker-image://base")))
    assert own.resolver.asked == [("base", "linux/amd64")]


def test_a_named_context_of_git_may_be_a_base():
    made = Lowered("FROM a\nRUN x\n", build_contexts=(("a", "https://x/y.git#v1"),))
    assert isinstance(made.target.step.base.op, GitSource)
    assert made.target.step.base.name == "[context a] https://x/y.git#v1"


def test_a_kind_of_named_context_that_is_of_other_tools():
    assert "bake" in fails("FROM a", build_contexts=(("a", "target:b"),)).message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ARG A=1\n", "has no FROM"),
        ("ENV A=1\nFROM base\n", "ENV stands before the first FROM"),
    ],
)
def test_a_file_without_stages(text, message):
    with pytest.raises(BuildfileError, match="FROM"):
        Lowered(text)
    with pytest.raises(BuildfileError) as caught:
        outline(parse_text(text, "B"), SeenInputs())
    assert message in caught.value.message


def test_a_chain_of_many_stages_is_lowered_without_deep_recursion():
    text = "FROM base AS s0\n" + "".join(f"FROM s{i} AS s{i + 1}\nRUN {i}\n" for i in range(1500))
    made = Lowered(text)
    assert len(made.steps) == 1501


def test_an_image_config_of_the_base_is_kept():
    config = ImageConfig(
        env=(("A", "1"),),
        cmd=("c",),
        entrypoint=("e",),
        user="u",
        working_dir="/w",
        stop_signal="INT",
        extra=(("X", 1),),
    )
    made = Lowered("FROM base\nRUN x", resolver=FakeResolver(base=config))
    assert made.config.replace(env=config.env) == config
    assert made.config.env[1][0] == "PATH"
    assert (made.op.cwd, made.op.user) == ("/w", "u")
