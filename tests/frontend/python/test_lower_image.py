"""What the methods of an image mean."""

import re

import pytest

from buildkit_py.errors import BuildfileError, ContextError
from buildkit_py.frontend.target import Output
from buildkit_py.graph.op import (
    Copy,
    CopyPath,
    GitSource,
    HostSource,
    HttpSource,
    ImageSource,
    Inline,
    LocalSource,
    Mkdir,
    Mount,
    Pipe,
    Run,
)
from buildkit_py.graph.step import in_order
from buildkit_py.image.config import DEFAULT_PATH, Healthcheck
from tests.frontend.fakes import FakeResolver
from tests.frontend.python.door import BASE, Door, image

SECOND = 1_000_000_000

CONFIG = [
    ('env(A="1", B="2")', "env", (("PATH", "/bin"), ("A", "1"), ("B", "2")), "ENV A=1 B=2"),
    ('env({"A.b": "1"})', "env", (("PATH", "/bin"), ("A.b", "1")), "ENV A.b=1"),
    ('label({"org.x": "y"}, z="1")', "labels", (("org.x", "y"), ("z", "1")), "LABEL org.x=y z=1"),
    ('user("app:app")', "user", "app:app", "USER app:app"),
    ('expose(80, "53/udp")', "ports", ("80/tcp", "53/udp"), "EXPOSE map[53/udp:{} 80/tcp:{}]"),
    ('volume("/a", "/b")', "volumes", ("/a", "/b"), "VOLUME [/a /b]"),
    ('cmd("python", "-m", "app")', "cmd", ("python", "-m", "app"), 'CMD ["python" "-m" "app"]'),
    ('cmd("exec app")', "cmd", ("/bin/sh", "-c", "exec app"), 'CMD ["/bin/sh" "-c" "exec app"]'),
    ('cmd(["app"])', "cmd", ("app",), 'CMD ["app"]'),
    ('entrypoint(["app"])', "entrypoint", ("app",), 'ENTRYPOINT ["app"]'),
    ("entrypoint([])", "entrypoint", None, "ENTRYPOINT []"),
    ('shell("/bin/bash", "-c")', "shell", ("/bin/bash", "-c"), "SHELL [/bin/bash -c]"),
    ('env([("A", "1"), ("A", "2")])', "env", (("PATH", "/bin"), ("A", "2")), "ENV A=1 A=2"),
    ('arg(A="1", B=None)', "env", (("PATH", "/bin"),), "ARG A=1 B"),
    ('stop_signal("INT")', "stop_signal", "INT", "STOPSIGNAL INT"),
    (
        'healthcheck("curl x", interval="1m30s", retries=3)',
        "healthcheck",
        Healthcheck(("CMD-SHELL", "curl x"), 90 * SECOND, retries=3),
        """HEALTHCHECK &{["CMD-SHELL" "curl x"] "1m30s" "0s" "0s" "0s" '\\x03'}""",
    ),
    (
        'healthcheck(["x"])',
        "healthcheck",
        Healthcheck(("CMD", "x")),
        """HEALTHCHECK &{["CMD" "x"] "0s" "0s" "0s" "0s" '\\x00'}""",
    ),
    (
        "healthcheck(None)",
        "healthcheck",
        Healthcheck(("NONE",)),
        """HEALTHCHECK &{["NONE"] "0s" "0s" "0s" "0s" '\\x00'}""",
    ),
]


@pytest.mark.parametrize(("method", "field", "value", "created_by"), CONFIG, ids=[case[0] for case in CONFIG])
def test_config(tmp_path, method, field, value, created_by):
    made = image(tmp_path, f'Image("base").{method}')
    assert getattr(made.config, field) == value
    assert made.history[-1].created_by == created_by
    assert made.history[-1].empty_layer


def test_run_forms(tmp_path):
    def argv(expression):
        return image(tmp_path, f'Image("base").{expression}').step.op.argv

    assert argv('run("make all")') == ("/bin/sh", "-c", "make all")
    assert argv('run("make", "all")') == ("make", "all")
    assert argv('run(["make"])') == ("make",)
    assert argv('shell("/bin/bash", "-ec").run("x")') == ("/bin/bash", "-ec", "x")


def test_run_arguments(tmp_path):
    made = image(
        tmp_path,
        """(Image("base").workdir("/w").user("app").run("x", network="none", env={"A": "1"}, user="root", mounts=[
            cache("/c"), cache("d", id="x", sharing="locked", mode=0o700),
            cache("/k", key="go.sum"), cache("/l", key=["a", fmt("{}.lock", "b")]), secret("s"), secret("t", env="T"),
            secret("u", target="/u", required=False), tmpfs("/t", size=5),
            ssh(), ssh("d", target="a", uid=7), bind(Image("other")["/bin"], "/b"),
            bind(context("."), "/src", read_only=False)]))""",
    )
    op = made.step.op
    assert op.mounts == (
        Mount("cache", "/c", read_only=False, id="/c"),
        Mount("cache", "/w/d", read_only=False, id="x", sharing="locked", mode=0o700),
        Mount("cache", "/k", read_only=False, id="/k", keys=("go.sum",)),
        Mount("cache", "/l", read_only=False, id="/l", keys=("a", "b.lock")),
        Mount("secret", "/run/secrets/s", id="s", required=True),
        Mount("secret", "", id="t", env="T", required=True),
        Mount("secret", "/u", id="u"),
        Mount("tmpfs", "/t", read_only=False, size=5),
        Mount("ssh", "/run/buildkit/ssh_agent.0", id="default", required=True),
        Mount("ssh", "/w/a", id="d", uid=7, required=True),
        Mount("bind", "/b", 0, "/bin"),
        Mount("bind", "/src", 1, "/", read_only=False),
    )
    assert isinstance(made.step.sources[0].op, ImageSource)
    assert made.step.sources[1].op == Copy((CopyPath("/", wildcard=False),), "/")
    assert (op.network, op.user, op.cwd, dict(op.env)["A"]) == ("none", "root", "/w", "1")
    assert made.config.env == (("PATH", "/bin"),)


def test_copy(tmp_path):
    (tmp_path / ".dockerignore").write_text("*.log\n")
    made = image(
        tmp_path,
        'Image("base").workdir("/app").copy(context(".", ignore=["tests"])["a", "b/"], chown="1", chmod="755",'
        ' exclude=["*.o"], parents=True)',
    )
    assert made.step.op == Copy(
        (CopyPath("a"), CopyPath("b/")), "/app/", owner="1", mode="755", exclude=("*.o",), parents=True
    )
    assert made.step.sources[0].op == LocalSource("context", str(tmp_path), ("*.log", "tests"))
    assert isinstance(made.step.base.op, Mkdir)
    assert made.history[-1].created_by == "COPY --parents --chown=1 --chmod=755 a b/ ./ # buildkit"


def test_copy_from_images_and_add(tmp_path):
    whole = image(tmp_path, 'scratch().copy(Image("other"), "/")')
    assert whole.step.op == Copy((CopyPath("/"),), "/")
    assert isinstance(whole.step.sources[0].op, ImageSource)
    assert image(tmp_path, 'Image("base").copy(Image("other")["/usr"]["bin", "lib"])').step.op.items == (
        CopyPath("/usr/bin"),
        CopyPath("/usr/lib"),
    )
    added = image(tmp_path, 'Image("base").add(context()["x.tar"], "/d/")')
    assert added.step.op.unpack
    assert added.history[-1].created_by == "ADD x.tar /d/ # buildkit"


def test_sources_from_elsewhere(tmp_path):
    made = image(tmp_path, 'Image("base").add(remote("https://host/x.tar"), "/d/")')
    assert made.step.op == Copy((CopyPath("/x.tar", wildcard=False, unpack=False),), "/d/", unpack=True)
    assert made.step.sources[0].op == HttpSource("https://host/x.tar", "x.tar")
    assert made.history[-1].created_by == "ADD https://host/x.tar /d/ # buildkit"
    digest = "sha256:" + "a" * 64
    made = image(tmp_path, f'Image("base").add(remote("https://host/x.tar", checksum="{digest}"), "/d/", unpack=True)')
    assert made.step.op.items == (CopyPath("/x.tar", wildcard=False, unpack=True),)
    assert made.step.sources[0].op.digest == digest
    made = image(tmp_path, 'Image("base").copy(remote("https://host/r.git#v1", keep_git_dir=True)["a", "b"], "/d/")')
    assert made.step.op.items == (CopyPath("a", unpack=False), CopyPath("b", unpack=False))
    source = made.step.sources[0]
    assert source.op == GitSource("https://host/r.git", "v1", keep_git_dir=True)
    two = image(tmp_path, 'Image("base").add(remote("git@host:r.git"), "/a/").add(remote("git@host:r.git"), "/b/")')
    assert two.step.sources == two.step.base.sources  # asked for once
    made = image(tmp_path, 'Image("base").run("make", mounts=[bind(remote("https://host/r.git"), "/src")])')
    assert made.step.sources[0].op == GitSource("https://host/r.git")


def test_an_address_may_be_a_text_of_the_image(tmp_path):
    made = image(tmp_path, 'Image("base").arg(V="v2").add(remote(expand("https://host/r.git#$V:d")), "/d/")')
    assert made.step.sources[0].op == GitSource("https://host/r.git", "v2", "/d")
    call = 'remote("https://host/x", checksum=expand("sha256:$S"))'
    made = image(tmp_path, f'Image("base").env(S="{"b" * 64}").add({call}, "/d/")')
    assert made.step.sources[0].op == HttpSource("https://host/x", "x", "sha256:" + "b" * 64)
    with pytest.raises(BuildfileError, match=r"remote\(\) takes an address, got 'x'"):
        image(tmp_path, 'Image("base").add(remote(expand("x$NONE")), "/d/")')


def test_things_of_several_sources_are_one_step(tmp_path):
    things = 'context()["a"], remote("https://host/x"), context()["b", "c"], Image("other")["/d"]'
    made = image(tmp_path, f'Image("base").add([{things}, file("e", "text")], "/to/")')
    assert made.step.op.items == (
        CopyPath("a"),
        CopyPath("/x", 1, wildcard=False, unpack=False),
        CopyPath("b"),
        CopyPath("c"),
        CopyPath("/d", 2),
        Inline("e", b"text"),
    )
    assert [type(source.op) for source in made.step.sources] == [LocalSource, HttpSource, ImageSource]
    assert made.history[-1].created_by == "ADD a https://host/x b c /d <<e /to/ # buildkit"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ('remote("x.tar")', "remote() takes an address, got 'x.tar'"),
        ("remote(3)", "the address of remote() must be str, got int 3"),
        ('remote("https://host/x", checksum="md5:1")', "`md5:1` is no checksum of a file"),
        ('remote("https://host/x", keep_git_dir=True)', "`keep_git_dir` is for repositories"),
        (
            'scratch().add(remote("https://host/x"), unpack="yes")',
            "`unpack` of add() must be bool or None, got str",
        ),
    ],
)
def test_wrong_sources_from_elsewhere(tmp_path, call, message):
    with pytest.raises(BuildfileError, match=re.escape(message)):
        image(tmp_path, call)


def test_write(tmp_path):
    made = image(tmp_path, 'Image("base").workdir("/w").write("etc/x.conf", "a=1\\n", mode=0o600, chown="app")')
    assert made.step.op == Copy((Inline("x.conf", b"a=1\n"),), "/w/etc/x.conf", owner="app", mode="0600")
    assert made.step.sources == ()
    assert image(tmp_path, 'Image("base").write("/b", b"\\0")').step.op.items == (Inline("b", b"\0"),)


def test_files_are_copied_and_run(tmp_path):
    made = image(tmp_path, 'Image("base").add([file("b", b"\\0"), Image("other")["/x"]], "/d/", unpack=False)')
    assert made.step.op == Copy((CopyPath("/x"), Inline("b", b"\0")), "/d/")
    made = image(tmp_path, 'Image("base").run(file("setup", "#!/bin/cat\\nhi\\n"))')
    assert made.step.op.pipes == (Pipe("setup", b"#!/bin/cat\nhi\n"),)
    assert made.step.op.argv == ("/bin/sh", "-c", "/dev/pipes/setup")


def test_arguments_are_seen_by_what_comes_later_and_by_no_container(tmp_path):
    made = image(tmp_path, 'Image("base").run("1").arg(A="1", B=expand("$A$A"), C=None).run("2")')
    assert made.step.op.env == (("PATH", "/bin"), ("A", "1"), ("B", "11"))
    assert made.step.base.op.env == (("PATH", "/bin"),)
    assert made.history[-1].created_by == "RUN |3 A=1 B=11 C= /bin/sh -c 2 # buildkit"
    assert made.config.env == (("PATH", "/bin"),)


def test_a_target_is_a_stage_for_those_that_go_on_from_it(tmp_path):
    door = Door(
        tmp_path,
        """
        @target
        def one():
            return Image("base").arg(A="1").cmd("a").on_build("RUN x").maintainer("m").run("1")

        @target
        def two():
            assert one().stdout is not None
            return one().entrypoint("b").run("2")
        """,
    )
    one, two = door.call("one", "two")
    assert (one.config.cmd, one.config.on_build, one.author) == (("/bin/sh", "-c", "a"), ("RUN x",), "m")
    # As after FROM: ENTRYPOINT takes an inherited CMD away, an ARG is a variable and no argument of the stage.
    assert (two.config.cmd, two.config.on_build) == (None, ())
    assert dict(two.step.op.env)["A"] == "1"
    assert two.history[-1].created_by == "RUN /bin/sh -c 2 # buildkit"


def test_files_of_an_image_leave_its_triggers_alone(tmp_path):
    resolver = FakeResolver(base=BASE, other=BASE.replace(on_build=("RUN trigger",)))
    made = image(tmp_path, 'Image("base").copy(Image("other")["/x"], "/")', resolver=resolver)
    assert isinstance(made.step.sources[0].op, ImageSource)
    made = image(tmp_path, 'Image("other").run("x")', resolver=resolver)
    assert made.step.base.op.argv[-1] == "trigger"


def test_mounts_of_one_path_are_one_source(tmp_path):
    made = image(
        tmp_path,
        """Image("base").run("x", mounts=[bind(context(".")["a"], "/1"), bind(context(".")["a"], "/2"),
            cache("/c", source=context(".")["a"], read_only=True), bind(context("."), "/3"),
            secret("s", uid=1, gid=2)])""",
    )
    assert [mount.source for mount in made.step.op.mounts] == [0, 0, 0, 1, -1]
    assert (made.step.op.mounts[2].path, made.step.op.mounts[2].read_only) == ("/a", True)
    assert (made.step.op.mounts[4].uid, made.step.op.mounts[4].gid) == (1, 2)


def test_where_images_start(tmp_path):
    empty = image(tmp_path, "scratch()")
    assert (empty.step, empty.config.env, empty.host) == (None, (("PATH", DEFAULT_PATH),), False)
    own = image(tmp_path, 'host().run("x")')
    assert own.host
    assert isinstance(own.step.base.op, HostSource)
    resolver = FakeResolver(base=BASE)
    made = image(tmp_path, 'Image("base:1", platform="linux/aarch64").run("x")', resolver=resolver)
    assert resolver.asked == [("base:1", "linux/arm64")]
    assert made.platform == made.step.op.platform == "linux/arm64"


def test_named_contexts_and_settings_reach_this_door_too(tmp_path):
    resolver = FakeResolver(other=BASE)
    made = image(
        tmp_path,
        'Image("base").run("x")',
        resolver=resolver,
        build_contexts=(("base", "docker-image://other"),),
        build_args=(("HTTP_PROXY", "p"),),
        hosts=(("h", "1"),),
        no_cache=True,
    )
    assert resolver.asked == [("other", "linux/amd64")]
    assert made.step.op.proxy_env == (("HTTP_PROXY", "p"), ("http_proxy", "p"))
    assert made.step.op.hosts == (("h", "1"),)
    assert made.step.op.ignore_cache


def test_no_cache_filter_names_targets(tmp_path):
    text = """
    @target
    def base_image():
        return Image("base").run("one")

    @target
    def app():
        return base_image().run("two")
    """
    made = Door(tmp_path, text, no_cache_filter=("base-image",)).one()
    flags = {step.op.argv[-1]: step.op.ignore_cache for step in in_order([made.step]) if isinstance(step.op, Run)}
    assert flags == {"one": True, "two": False}


def test_triggers_of_a_base_image_run(tmp_path):
    resolver = FakeResolver(base=BASE.replace(on_build=("RUN trigger", "COPY a /")))
    made = image(tmp_path, 'Image("base").run("own")', resolver=resolver)
    runs = [step.op.argv[-1] for step in in_order([made.step]) if isinstance(step.op, Run)]
    assert runs == ["trigger", "own"]
    assert made.config.on_build == ()


def test_triggers_of_a_base_image_are_where_it_is_named(tmp_path):
    (tmp_path / "Buildfile.py.dockerignore").write_text("key.pem\n")
    (tmp_path / ".dockerignore").write_text("other\n")
    told = []
    resolver = FakeResolver(base=BASE.replace(on_build=("ARG X=1", "COPY . /app", "RUN trigger")))
    made = image(
        tmp_path, 'Image("base")', resolver=resolver, build_args=(("X", "2"),), notice=lambda *one: told.append(one)
    )
    (source,) = [step.op for step in in_order([made.step]) if isinstance(step.op, LocalSource)]
    assert source.ignore == ("key.pem",)
    assert told == []
    assert {str(step.position) for step in in_order([made.step]) if isinstance(step.op, Run)} == {
        "Buildfile.py:4 in app()"
    }
    with pytest.raises(BuildfileError, match="the base image's ONBUILD trigger `BOGUS` does not parse") as caught:
        image(tmp_path, 'Image("base")', resolver=FakeResolver(base=BASE.replace(on_build=("BOGUS",))))
    assert str(caught.value.at) == "Buildfile.py:4 in app()"


def test_nothing_in_the_name_of_an_image_with_triggers_is_expanded(tmp_path):
    class Any(FakeResolver):
        def resolve(self, reference, platform, position):
            return super().resolve("base", platform, position).replace(reference=reference)

    for name in ("oci-layout:///a b", "oci-layout:///$PATH", "oci-layout:///a'b\\\"c"):
        resolver = Any(base=BASE.replace(on_build=("RUN trigger",)))
        made = image(tmp_path, f"Image({name!r})", resolver=resolver)
        assert name in [step.op.reference for step in in_order([made.step]) if isinstance(step.op, ImageSource)]


def test_outputs(tmp_path):
    made = image(tmp_path, 'Image("base").workdir("/w").output("dist/*.whl", "dist").run("x").output("/log")')
    assert tuple(one.replace(position=None) for one in made.outputs) == (
        Output("/w/dist/*.whl", "dist"),
        Output("/log", ""),
    )
    assert all(one.position for one in made.outputs)


def test_a_stage_of_a_buildfile(tmp_path):
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/Dockerfile").write_text(
        "ARG V=0\nFROM base AS web\nARG V\nRUN web $V\nCOPY f /\nFROM base\nRUN last\n"
    )
    door = Door(
        tmp_path,
        """
        @target
        def app():
            return Image.from_buildfile("docker/Dockerfile", target="web", args={"V": "1"}).run("more")
        """,
    )
    made = door.one()
    steps = [step for step in in_order([made.step]) if not isinstance(step.op, LocalSource)]
    assert [step.name for step in steps] == [
        "[web 1/3] FROM base",
        "[web 2/3] RUN web $V",
        "[web 3/3] COPY f /",
        "[app] RUN more",
    ]
    assert dict(steps[1].op.env)["V"] == "1"
    assert str(steps[1].position) == "docker/Dockerfile:4:1"
    assert steps[2].sources[0].op.root == str(tmp_path)
    assert str(tmp_path / "docker/Dockerfile") in door.inputs.files


@pytest.mark.parametrize(
    ("call", "message", "place"),
    [
        ('Image.from_buildfile("gone")', "the file `gone` does not exist", "Buildfile.py:4 in app()"),
        ('Image.from_buildfile("bad")', "NOPE", "bad:2:1, from Buildfile.py:4 in app()"),
        ('Image.from_buildfile("good", target="x")', "there is no target `x`", "Buildfile.py:4 in app()"),
    ],
)
def test_a_buildfile_that_cannot_be_used(tmp_path, call, message, place):
    (tmp_path / "bad").write_text("FROM base\nNOPE\n")
    (tmp_path / "good").write_text("FROM base\n")
    with pytest.raises(BuildfileError) as caught:
        image(tmp_path, call)
    assert message in caught.value.message
    assert str(caught.value.at) == place


def test_the_same_image_is_the_same_step(tmp_path):
    text = """
    src = context(".")

    @target
    def deps(python: str = "3"):
        return Image("base").run(f"install {python}")

    @target
    def one():
        return deps().copy(src["a"])

    @target
    def two():
        return deps(python="3").copy(src["a"])
    """
    door = Door(tmp_path, text)
    one, two = door.call("one", "two")
    assert one.step.base is two.step.base
    assert one.step.sources[0] is two.step.sources[0]
    assert door.resolver.asked == [("base", "linux/amd64")]


def test_a_context_that_goes_away(tmp_path):
    (tmp_path / "sub").mkdir()
    door = Door(tmp_path, 'src = context("sub")\n\n@target\ndef app():\n    return scratch().copy(src, "/")\n')
    (tmp_path / "sub").rmdir()
    with pytest.raises(ContextError) as caught:
        door.one()
    assert str(caught.value.at) == "Buildfile.py:2:1"


def test_a_long_chain(tmp_path):
    text = """
    @target
    def app():
        image = Image("base")
        for number in range(3000):
            image = image.env({"N": str(number)})
        return image
    """
    assert Door(tmp_path, text).one().config.env[-1] == ("N", "2999")


def test_a_script_whose_name_a_shell_would_obey(tmp_path):
    for name, word in (
        ("a-b_1.sh", "/dev/pipes/a-b_1.sh"),
        ("a;id", "'/dev/pipes/a;id'"),
        ("my x", "'/dev/pipes/my x'"),
    ):
        made = image(tmp_path, f'Image("base").run(file({name!r}, "#!/bin/x"))')
        assert made.step.op.argv[-1] == word
        assert [pipe.name for pipe in made.step.op.pipes] == [name]


def test_several_files_need_a_directory(tmp_path):
    with pytest.raises(BuildfileError, match="with more than one source, `/d` has to be a directory") as caught:
        image(tmp_path, 'Image("base").copy([file("a", "x"), file("b", "y")], "/d")')
    assert str(caught.value.at) == "Buildfile.py:4 in app()"
    assert image(tmp_path, 'Image("base").copy([file("a", "x"), file("b", "y")], "/d/")').step
