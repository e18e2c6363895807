"""Each instruction's effect on config, history and steps."""

import pytest

from buildkit_py.errors import BuildfileError
from buildkit_py.graph.op import Copy, Mkdir, Run
from buildkit_py.image.config import DEFAULT_PATH, Healthcheck
from tests.frontend.buildfile.lowering import Lowered

SECOND = 1_000_000_000

HISTORY = [
    ("ENV A=1 B='x y'", ["(ENV A=1 B=x y)"]),
    ("ENV A some  thing", ["(ENV A=some  thing)"]),
    ('LABEL a=b c="d e"', ["(LABEL a=b c=d e)"]),
    ("USER 1000:10", ["(USER 1000:10)"]),
    ("EXPOSE 443 80/udp", ["(EXPOSE map[443/tcp:{} 80/udp:{}])"]),
    ("VOLUME /a /b", ["(VOLUME [/a /b])"]),
    ('VOLUME ["/a b"]', ["(VOLUME [/a b])"]),
    ('CMD ["x", "y z"]', ['(CMD ["x" "y z"])']),
    ("CMD echo hi", ['(CMD ["/bin/sh" "-c" "echo hi"])']),
    ("ENTRYPOINT []", ["(ENTRYPOINT [])"]),
    ('ENTRYPOINT ["x"]', ['(ENTRYPOINT ["x"])']),
    ('SHELL ["/bin/bash", "-c"]\nRUN a', ["(SHELL [/bin/bash -c])", "RUN /bin/bash -c a # buildkit"]),
    ("STOPSIGNAL SIGINT", ["(STOPSIGNAL SIGINT)"]),
    ("HEALTHCHECK NONE", ["""(HEALTHCHECK &{["NONE"] "0s" "0s" "0s" "0s" '\\x00'})"""]),
    ("ONBUILD RUN x", []),
    ("MAINTAINER me & you", ["(MAINTAINER me & you)"]),
    ("RUN make", ["RUN /bin/sh -c make # buildkit"]),
    ('RUN ["make", "all"]', ["RUN make all # buildkit"]),
    ("ARG A=1\nARG B\nRUN make", ["(ARG A=1)", "(ARG B)", "RUN |2 A=1 B= /bin/sh -c make # buildkit"]),
    ("ARG A=1 B=$A", ["(ARG A=1 B=1)"]),
    ("WORKDIR /x", ["WORKDIR /x"]),
    ("WORKDIR /", ["(WORKDIR /)"]),
    ("WORKDIR a\nWORKDIR ../b", ["WORKDIR /a", "WORKDIR /b"]),
    ("COPY a b /dest/", ["COPY a b /dest/ # buildkit"]),
    (
        "COPY --from=other --link --chown=1:2 --chmod=755 --exclude=x a /d",
        ["COPY --chown=1:2 --chmod=755 a /d # buildkit"],
    ),
    ("COPY --parents a/b /d/", ["COPY --parents a/b /d/ # buildkit"]),
    ("ADD a.tar .", ["ADD a.tar . # buildkit"]),
    ("COPY <<X a /d/\nhi\nX", ["COPY a <<X /d/ # buildkit"]),
]


@pytest.mark.parametrize(("body", "expected"), HISTORY, ids=[body.replace("\n", "; ") for body, _ in HISTORY])
def test_history_is_written_as_buildkit_writes_it(body, expected):
    assert Lowered(f"FROM base\n{body}\n").history == expected


def test_the_base_images_history_and_author_come_first():
    target = Lowered("FROM base\nRUN a").target
    assert target.history[0].created_by == "ADD rootfs.tar / # buildkit"
    assert target.history[0].created == "2024-01-01T00:00:00Z"
    assert target.history[1].comment == "buildkit.dockerfile.v0"
    assert target.author == "base author"
    assert Lowered("FROM base\nMAINTAINER me").target.author == "me"


def test_env_sets_in_place_and_all_pairs_see_the_environment_before():
    made = Lowered("FROM base\nENV LANG=de NEW=$LANG\nENV $NEW=x\nRUN a")
    assert made.config.env == (("PATH", "/bin"), ("LANG", "de"), ("NEW", "C"), ("C", "x"))
    assert dict(made.op.env) == {"PATH": "/bin", "LANG": "de", "NEW": "C", "C": "x"}


def test_labels_and_ports_and_volumes_add_to_the_bases():
    made = Lowered("FROM base\nLABEL base=2 own=x\nEXPOSE 80\nEXPOSE 80 81\nVOLUME /a\nVOLUME /a /b")
    assert made.config.labels == (("base", "2"), ("own", "x"))
    assert made.config.ports == ("80/tcp", "81/tcp")
    assert made.config.volumes == ("/a", "/b")


def test_expose_splits_what_a_variable_holds():
    assert Lowered('FROM base\nENV P="80 81"\nEXPOSE $P 8000-8001').config.ports == (
        "80/tcp",
        "81/tcp",
        "8000/tcp",
        "8001/tcp",
    )


def test_cmd_and_entrypoint():
    inherited = Lowered('FROM base\nENTRYPOINT ["x"]').config
    assert (inherited.entrypoint, inherited.cmd) == (("x",), None)
    own = Lowered('FROM base\nCMD ["c"]\nENTRYPOINT x').config
    assert (own.entrypoint, own.cmd, own.args_escaped) == (("/bin/sh", "-c", "x"), ("c",), True)
    of_parent = Lowered('FROM base AS p\nCMD ["c"]\nFROM p\nENTRYPOINT ["x"]').config
    assert of_parent.cmd is None
    assert Lowered("FROM base\nCMD []").config.cmd == ()
    assert Lowered("FROM base\nCMD").config.cmd == ("/bin/sh", "-c", "")
    assert Lowered('FROM base\nENTRYPOINT ["x"]\nENTRYPOINT []').config.entrypoint is None


def test_health_check():
    made = Lowered("FROM base\nHEALTHCHECK --interval=1m30s --timeout=3s --retries=2 CMD curl $X")
    assert made.config.healthcheck == Healthcheck(("CMD-SHELL", "curl $X"), 90 * SECOND, 3 * SECOND, retries=2)
    assert Lowered('FROM base\nHEALTHCHECK CMD ["a"]').config.healthcheck == Healthcheck(("CMD", "a"))
    assert Lowered("FROM base\nHEALTHCHECK NONE").config.healthcheck == Healthcheck(("NONE",))


def test_shell_is_not_used_by_health_checks_and_kept_in_the_config():
    made = Lowered('FROM base\nSHELL ["/bin/bash", "-ec"]\nCMD a b\nHEALTHCHECK CMD c')
    assert made.config.shell == ("/bin/bash", "-ec")
    assert made.config.cmd == ("/bin/bash", "-ec", "a b")
    assert made.config.healthcheck == Healthcheck(("CMD-SHELL", "c"))


def test_workdir_makes_a_directory_of_the_current_user():
    made = Lowered("FROM base\nUSER app\nWORKDIR /a/b/\nWORKDIR c\nRUN x")
    assert [step.op for step in made.steps if isinstance(step.op, Mkdir)] == [
        Mkdir("/a/b/", "app"),
        Mkdir("/a/b/c", "app"),
    ]
    assert (made.op.cwd, made.op.user) == ("/a/b/c", "app")
    assert not [step for step in Lowered("FROM base\nWORKDIR /").steps if isinstance(step.op, Mkdir)]


def test_a_base_without_path_gets_one():
    made = Lowered("FROM scratch\nRUN x")
    assert made.config.env == (("PATH", DEFAULT_PATH),)
    assert made.config.working_dir == "/"
    assert made.target.step.base is None


ARGS = [
    # body, build args, what the RUN at the end sees of A
    ("ARG A=default", {}, "default"),
    ("ARG A=default", {"A": "given"}, "given"),
    ("ARG A", {"A": "given"}, "given"),
    ("ARG A", {}, None),
    ("ARG GLOBAL\nARG A=$GLOBAL", {}, "g"),
    ("ARG A=$GLOBAL", {}, ""),
    ("ARG GLOBAL=own\nARG A=$GLOBAL", {}, "own"),
    ("ARG A=1 B=$A\nARG A=$B$B", {}, "11"),
    ("ENV A=env\nARG A=arg", {}, "arg"),
    ("ARG A=arg\nENV A=env", {}, "env"),
    ("ENV A=$NONE", {}, ""),
    ("ARG TARGETARCH\nARG A=$TARGETARCH", {}, "amd64"),
    ("ARG A=${UNUSED:?not given}", {"A": "given"}, "given"),
]


@pytest.mark.parametrize(("body", "given", "expected"), ARGS)
def test_where_an_arg_has_its_value_from(body, given, expected):
    made = Lowered(f"ARG GLOBAL=g\nFROM base\n{body}\nRUN x\n", build_args=tuple(given.items()))
    assert dict(made.op.env).get("A") == expected


def test_an_arg_reaches_commands_but_not_the_image():
    made = Lowered("FROM base\nENV A=env\nARG A=arg B=b\nRUN x")
    assert made.config.env == (("PATH", "/bin"), ("LANG", "C"), ("A", "env"))
    assert made.op.env == (("PATH", "/bin"), ("LANG", "C"), ("A", "arg"), ("B", "b"))


def test_a_derived_stage_inherits_args_but_its_env_comes_back_to_the_config():
    made = Lowered("FROM base AS p\nENV A=env\nARG A=arg B=b\nFROM p\nRUN x")
    assert dict(made.op.env) == {"PATH": "/bin", "LANG": "C", "A": "env", "B": "b"}
    assert made.history[-1] == "RUN /bin/sh -c x # buildkit"


@pytest.mark.attack("H4")
def test_history_shows_an_args_default_and_not_its_value():
    made = Lowered("ARG G=g\nFROM base\nARG G V='de fault' B=${X:?}\nRUN x", build_args=(("V", "given"), ("B", "b")))
    assert made.history == ["(ARG G V=de fault B=${X:?})", "RUN |3 G=g V=given B=b /bin/sh -c x # buildkit"]


def test_proxy_variables_reach_commands_beside_the_key_unless_declared():
    plain = Lowered("FROM base\nRUN x", build_args=(("HTTP_PROXY", "p"),))
    assert plain.op.proxy_env == (("HTTP_PROXY", "p"), ("http_proxy", "p"))
    assert "HTTP_PROXY" not in dict(plain.op.env)
    assert plain.history == ["RUN /bin/sh -c x # buildkit"]
    declared = Lowered("FROM base\nARG HTTP_PROXY\nRUN x", build_args=(("HTTP_PROXY", "p"),))
    assert dict(declared.op.env)["HTTP_PROXY"] == "p"
    assert declared.op.proxy_env == (("http_proxy", "p"),)


def test_the_options_of_every_run():
    made = Lowered(
        "FROM base\nRUN a\nRUN --network=none b",
        network="host",
        hosts=(("db", "10.0.0.1"),),
        build_args=(("BUILDKIT_SANDBOX_HOSTNAME", "box"),),
    )
    first, second = (step.op for step in made.steps if isinstance(step.op, Run))
    assert (first.network, second.network) == ("host", "none")
    assert first.hosts == (("db", "10.0.0.1"),)
    assert first.hostname == "box"
    assert first.platform == "linux/amd64"


def test_undefined_variables_are_noticed_with_what_was_meant():
    made = Lowered("FROM base\nENV FOOBAR=1\nARG DECLARED\nLABEL a=$FOBAR b=$DECLARED c=${UNSET:-ok}")
    assert made.findings == [
        ("UndefinedVar", "Usage of undefined variable '$FOBAR' (did you mean $FOOBAR?)", "Buildfile:4:7"),
        ("UndefinedVar", "Usage of undefined variable '$UNSET'", "Buildfile:4:28"),
    ]


def test_build_args_that_nothing_declares_are_noticed():
    made = Lowered("FROM base\nARG VERSION", build_args=(("VERSIO", "1"), ("TARGETARCH", "x"), ("no_proxy", "a")))
    assert made.notices == [("the build arg `VERSIO` is declared nowhere", "Buildfile:1:1", "did you mean `VERSION`?")]


BAD = [
    ("STOPSIGNAL NOPE", "`NOPE` is not a signal", 2, 12),
    ("EXPOSE 80 x", "`x` is not a port", 2, 11),
    ("COPY --chmod=9 a b", "`9` is not a mode", 2, 1),
    ("COPY --chmod=77777 a b", "`77777` is not a mode", 2, 1),
    ("COPY https://x/y b", "COPY cannot take files from a URL", 2, 6),
    ("COPY https://x/y.git b", "COPY cannot take files from git", 2, 6),
    ("ADD https:///y b", "names no host", 2, 5),
    ("ADD https://x/y.git#-z b", "does not begin with `-`", 2, 5),
    ("ADD --checksum=sha256:0 https://x/y b", "is no checksum of a file", 2, 25),
    ("ADD --checksum=sha256:0 https://x/y a b/", "is no checksum of a file", 2, 25),
    ("ADD --checksum=sha256:0 a b", "--checksum is for sources", 2, 5),
    ("RUN --mount=type=ssh,source=a x", "a mount of type ssh takes no `source`", 2, 5),
    ("RUN --security=insecure x", "--security=insecure` is not allowed", 2, 5),
    ("RUN []", "RUN has no command", 2, 1),
    ("LABEL a=${X:?gone}", "X: gone", 2, 7),
    ("VOLUME [1]", "holds only strings", 2, 8),
    ('COPY ["a", 1]', "holds only strings", 2, 6),
    ("HEALTHCHECK CMD [null]", "holds only strings", 2, 17),
    ("RUN --network=$N x", "`--network` cannot be `$N`", 2, 5),
    ("VOLUME $NOTHING", "cannot be an empty path", 2, 1),
]


@pytest.mark.parametrize(("body", "message", "line", "column"), BAD, ids=[case[0] for case in BAD])
def test_errors_say_where(body, message, line, column):
    with pytest.raises(BuildfileError) as caught:
        Lowered(f"FROM base\n{body}\n")
    assert message in caught.value.message
    assert (caught.value.at.line, caught.value.at.column) == (line, column)


def test_an_error_shows_the_line_of_the_file(tmp_path):
    file = tmp_path / "Buildfile"
    text = "FROM base\nRUN true\nSTOPSIGNAL\tNOPE\n"
    file.write_text(text)
    with pytest.raises(BuildfileError) as caught:
        Lowered(text, file=str(file))
    assert caught.value.excerpt == "  STOPSIGNAL\tNOPE\n            \t^^^^"


def test_step_names_count_the_steps():
    made = Lowered(
        "FROM base AS a\nRUN --mount=type=tmpfs,target=/t make  all\nFROM a AS b\nWORKDIR /x\nCOPY f $LANG/\n"
    )
    assert [step.name for step in made.steps] == [
        "[a 1/2] FROM base",
        "[a 2/2] RUN --mount=type=tmpfs,target=/t make all",
        "[b 1/2] WORKDIR /x",
        "[b 2/2] COPY f C/",
    ]
    assert [step.stage for step in made.steps] == ["a", "a", "b", "b"]
    assert [str(step.position) for step in made.steps] == [
        "Buildfile:1:1",
        "Buildfile:2:1",
        "Buildfile:4:1",
        "Buildfile:5:1",
    ]
    single = Lowered("FROM base\n" + "RUN x\n" * 9)
    assert single.steps[1].name == "[ 2/10] RUN x"


def test_no_cache_is_for_runs_of_the_stages_named():
    text = "FROM base AS a\nRUN x\nCOPY f /\nFROM a AS b\nRUN y\n"

    def ignoring(**options):
        steps = Lowered(text, **options).steps
        return [step.op.argv[-1] for step in steps if isinstance(step.op, Run) and step.op.ignore_cache]

    assert ignoring() == []
    assert ignoring(no_cache=True) == ["x", "y"]
    assert ignoring(no_cache_filter=("A",)) == ["x"]
    assert ignoring(no_cache_filter=("b",)) == ["y"]


def test_copy_makes_its_destination_absolute():
    def dest(workdir, word):
        made = Lowered(f"FROM base\nWORKDIR {workdir}\nCOPY a {word}\n")
        assert isinstance(made.op, Copy)
        return made.op.dest

    assert dest("/w", ".") == "/w/"
    assert dest("/w", "./") == "/w/"
    assert dest("/w", "x") == "/w/x"
    assert dest("/w", "x/") == "/w/x/"
    assert dest("/w", "x/.") == "/w/x/."
    assert dest("/w", "../x") == "/x"
    assert dest("/w", "/abs//x/") == "/abs//x/"
    assert dest("/", ".") == "/"
