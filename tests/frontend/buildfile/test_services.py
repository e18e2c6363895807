"""SERVICE and --with: what they make of the graph, where they may stand, and what is said of those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.errors import BuildfileError, PybuildError
from buildkit_py.frontend.buildfile import own_words
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.graph.op import ImageSource, Run, Service
from buildkit_py.image.config import Healthcheck, ImageConfig
from tests.frontend.buildfile.lowering import BASE, Lowered
from tests.frontend.fakes import FakeResolver

POSTGRES = ImageConfig(
    env=(("PATH", "/bin"), ("PGDATA", "/data")),
    entrypoint=("entry",),
    cmd=("postgres",),
    user="postgres",
    working_dir="/data",
    stop_signal="SIGINT",
)
PLAIN = "SERVICE db FROM postgres:16\nFROM base\nRUN --with=db x"


def lower(text: str, *targets: str, **options: object) -> Lowered:
    checked = POSTGRES.replace(healthcheck=Healthcheck(("CMD-SHELL", "up")), shell=("/bin/ash", "-c"))
    resolver = FakeResolver(base=BASE, postgres=POSTGRES, checked=checked, nothing=ImageConfig())
    return Lowered(text, *targets, resolver=resolver, **options)


def services(text: str, *targets: str, **options: object) -> tuple[Service, ...]:
    op = lower(text, *targets, **options).op
    assert isinstance(op, Run)
    return op.services


def test_the_tree() -> None:
    text = "# db holds it\nSERVICE db FROM postgres:$V \\\n"
    text += '  --port=5432 --ready="a b" --env=A=1 --env=B=2 --seed=\'x "y"\''
    (node,) = parse_text(text, "Buildfile").instructions
    assert isinstance(node, own_words.Service)
    assert (node.name, node.image.text, node.doc, node.line_end) == ("db", "postgres:$V", "holds it", 3)
    flags = [(flag.name, flag.value) for flag in node.flags]
    assert flags == [("port", "5432"), ("ready", "a b"), ("env", "A=1"), ("env", "B=2"), ("seed", 'x "y"')]


def test_it_is_what_the_image_would_run() -> None:
    made = lower("SERVICE db FROM postgres:16 --port=5432 --ready='is up' --env=PGDATA=/d --timeout=3m\n" + PLAIN[28:])
    env = (("PATH", "/bin"), ("PGDATA", "/d"), ("HOSTNAME", "db"))
    assert isinstance(made.op, Run)
    assert made.op.services == (
        Service(
            "db",
            0,
            ("entry", "postgres"),
            env,
            "/data",
            "postgres",
            5432,
            ("/bin/sh", "-c", "is up"),
            180_000,
            "SIGINT",
        ),
    )
    (source,) = made.target.step.sources
    assert isinstance(source.op, ImageSource)
    assert source.op.reference == "postgres:16"


def test_without_ready_the_health_check_counts() -> None:
    (service,) = services("SERVICE db FROM checked\nFROM base\nRUN --with=db x")
    assert service.ready == ("/bin/ash", "-c", "up")


def test_the_image_of_a_service_that_no_step_asks_for_is_not_resolved() -> None:
    assert [name for name, _ in lower("SERVICE db FROM gone\nFROM base\nRUN x").resolver.asked] == ["base"]


def test_names_are_in_any_case_and_keep_their_order() -> None:
    text = "SERVICE A FROM postgres\nservice b from postgres\nFROM base\nRUN --with=B --with=a x"
    assert [(one.name, one.source) for one in services(text)] == [("b", 0), ("a", 1)]


def test_a_seed_is_a_step_of_its_own_that_users_share() -> None:
    made = lower(
        "SERVICE db FROM postgres --seed='make  it'\nFROM base AS one\nRUN --with=db x\nFROM base\n"
        "COPY --from=one /x /\nRUN --with=db y"
    )
    seeds = [step for step in made.steps if isinstance(step.op, Run) and step.op.seeds is not None]
    assert [step.name for step in seeds] == ["[service db] SEED make it"]
    (step,) = seeds
    assert isinstance(step.op, Run)
    assert (step.op.argv, step.op.user, step.op.cwd) == (("/bin/sh", "-c", "make  it"), "postgres", "/data")
    assert step.base is not None
    assert isinstance(step.base.op, ImageSource)
    assert made.target.step.sources == (step,)


def test_mounts_and_inputs_keep_their_places() -> None:
    text = (
        "SERVICE db FROM postgres\nFROM base AS one\nRUN a\nFROM base\nCOPY x /\n"
        "RUN --inputs=/x --mount=from=one,target=/m --with=db x"
    )
    made = lower(text)
    assert isinstance(made.op, Run)
    assert (made.op.mounts[0].source, made.op.services[0].source, len(made.target.step.sources)) == (0, 1, 3)


def test_it_starts_from_a_stage_wherever_it_stands() -> None:
    text = "SERVICE web FROM app\nFROM postgres AS app\nRUN a\nCMD serve\nFROM base\nRUN --with=web x"
    made = lower(text)
    assert isinstance(made.op, Run)
    assert made.op.services[0].argv == ("entry", "/bin/sh", "-c", "serve")
    assert made.target.step.sources[0].name == "[app 2/2] RUN a"


def test_variables_are_the_global_ones_and_those_of_blocks() -> None:
    text = (
        "ARG V=16\nARG PORT=1\nFOR n IN one two\n"
        "SERVICE db-$n FROM postgres:$V --port=$PORT --env=N=$n --ready='is $n'\n"
        "END\nFROM base\nFOR n IN two\nRUN --with=db-$n x\nEND"
    )
    (service,) = services(text, build_args=(("PORT", "7"),))
    assert (service.name, service.port, dict(service.env)["N"]) == ("db-two", 7, "two")
    assert service.ready[-1] == "is $n"


def test_in_a_test() -> None:
    made = lower("SERVICE db FROM postgres\nFROM base\nTEST --with=db x", testing=True)
    (test,) = made.target.tests
    assert isinstance(test.step.op, Run)
    assert [service.name for service in test.step.op.services] == ["db"]


def test_the_tests_of_a_stage_that_a_service_starts_from_belong_to_who_asks() -> None:
    text = "SERVICE web FROM app\nFROM postgres AS app\nTEST one\nFROM base\nRUN --with=web x"
    assert [test.name for test in lower(text, testing=True).target.tests] == ["one"]


def test_a_network_for_all_steps_is_not_for_one_with_services() -> None:
    made = lower(PLAIN, network="host")
    assert isinstance(made.op, Run)
    assert made.op.network == "default"


WRONG = [
    (
        "SERVICE postgres FROM postgres\nFROM base\nRUN --with=postgre x",
        "3:5: there is no service `postgre`",
        "did you mean `postgres`?",
    ),
    (
        "SERVICE a FROM postgres\nFROM base\nRUN --with=zzzzz x",
        "3:5: there is no service `zzzzz`",
        "the services are a",
    ),
    ("FROM base\nRUN --with=db x", "2:5: there is no service `db`", "define it: `SERVICE db FROM IMAGE`"),
    ("SERVICE localhost FROM x\nFROM base", "1:1: `localhost` cannot be the name of a service", "another name"),
    ("ARG N=x.localhost\nSERVICE $N FROM x\nFROM base", "2:1: `x.localhost` cannot be the name of a", "another name"),
    ("SERVICE IP6-loopback FROM x\nFROM base", "1:1: `ip6-loopback` cannot be the name of a service", "another name"),
    (
        f"SERVICE {'a' * 64} FROM x\nFROM base",
        f"1:1: `{'a' * 64}` cannot be the name of a service: it has 64 characters",
        "at most 63",
    ),
    (
        PLAIN.replace("db", "buildkitsandbox"),
        "3:5: the step itself is called `buildkitsandbox`, as one of its services",
        "give the service another name",
    ),
    (
        f"SERVICE db FROM x\n{PLAIN}",
        "2:1: there are two services `db`; the other one stands in Buildfile:1",
        "give one of",
    ),
    ("SERVICE db FROM postgres --port=http\n" + PLAIN[28:], "1:26: --port: `http` is no port", ""),
    (
        "SERVICE db FROM postgres --port=65536\n" + PLAIN[28:],
        "1:26: --port: `65536` is no port; it is a number from 1 to",
        "",
    ),
    ("SERVICE db FROM postgres --port=0\n" + PLAIN[28:], "1:26: --port: `0` is no port", ""),
    ("SERVICE db FROM postgres --env=A\n" + PLAIN[28:], "1:26: --env: `A` is no variable; write NAME=value", ""),
    ("SERVICE db FROM postgres --timeout=soon\n" + PLAIN[28:], "1:26: --timeout: `soon` is no length of time", ""),
    ("SERVICE db FROM postgres --seed=\n" + PLAIN[28:], "1:26: --seed comes to nothing", ""),
    (
        "ARG VER=1\nSERVICE db FROM postgres:$VR\n" + PLAIN[28:],
        "2:17: the variable `VR` is not set here",
        "did you mean `VER`?",
    ),
    (
        "ARG NONE\nSERVICE db FROM $NONE\n" + PLAIN[28:],
        "2:17: SERVICE db FROM $NONE comes to nothing",
        "give the ARG above it",
    ),
    ("SERVICE db FROM nothing\n" + PLAIN[28:], "1:1: the service `db` has nothing to run", "its image has neither"),
    ("SERVICE db FROM gone\n" + PLAIN[28:], "1:1: there is no image `gone`", ""),
    (PLAIN.replace("=db x", "=db,db x"), "3:5: --with names the service `db` twice", ""),
    (PLAIN.replace("=db x", "=db, x"), "3:5: --with lacks the name of a service", "write `--with=db,web`"),
    (PLAIN.replace("=db x", "=$db x"), "3:5: variables are not expanded in --with", "name the service"),
    (
        PLAIN.replace("RUN", "RUN --network=none"),
        "3:20: on the network `none` a step does not reach its services (db)",
        "without",
    ),
    (
        "SERVICE web FROM app\nFROM postgres AS app\nRUN --with=web x",
        "3:5: the stage `app` asks for a service that starts from it",
        "`FROM app AS tested`",
    ),
    (
        "SERVICE web FROM late\nFROM base AS one\nRUN --with=web x\nFROM postgres AS late\nFROM one",
        "3:5: the stage `late` is used before it is defined",
        "move it above the stage `one`",
    ),
    (
        "FROM base\nARG A=1\nIF $A == 1\nSERVICE db FROM postgres\nEND",
        "4:1: a SERVICE belongs to the file, and cannot stand in a block of a stage",
        "put it above the first FROM",
    ),
]


@pytest.mark.parametrize(("text", "said", "hint"), WRONG)
def test_what_is_wrong_is_said(text: str, said: str, hint: str) -> None:
    with pytest.raises(PybuildError) as caught:
        lower(text)
    assert f"{caught.value.at}: {caught.value.message}".startswith(f"Buildfile:{said}")
    assert hint in caught.value.hint


def test_the_name_of_a_step_is_not_for_its_services() -> None:
    assert [one.name for one in services(PLAIN.replace("db", "a" * 63))] == ["a" * 63]
    with pytest.raises(BuildfileError, match="the step itself is called `db`") as caught:
        lower(PLAIN, build_args=(("BUILDKIT_SANDBOX_HOSTNAME", "DB"),))
    assert str(caught.value.at).startswith("Buildfile:3:5")


def test_a_name_that_is_too_long_where_it_is_included(tmp_path: Path) -> None:
    (tmp_path / "lib").write_text(f"SERVICE {'a' * 60} FROM postgres\nFROM base AS b\n")
    text = "INCLUDE lib --as more\nFROM base"
    with pytest.raises(BuildfileError, match="cannot be the name of a service: it has 65 characters") as caught:
        lower(text, context=str(tmp_path), file=str(tmp_path / "Buildfile"))
    assert str(caught.value.at).endswith("Buildfile:1:9")


def test_a_test_of_the_stage_that_its_service_starts_from_needs_one_of_its_own() -> None:
    with pytest.raises(
        BuildfileError, match="the service `web` starts from the stage `app`, which is not made yet"
    ) as caught:
        lower("SERVICE web FROM app\nFROM postgres AS app\nTEST --with=web x", testing=True)
    assert "`FROM app AS tested`" in caught.value.hint


def test_a_network_of_no_step_does_not_go_with_services() -> None:
    with pytest.raises(BuildfileError, match="on the network `none` a step does not reach its services"):
        lower(PLAIN, network="none")


def test_the_services_of_a_file_that_is_included(tmp_path: Path) -> None:
    (tmp_path / "lib").write_text(
        "ARG V=9\n# db is for others\nSERVICE db FROM postgres:$V\nSERVICE web FROM app\nFROM postgres AS app\nRUN a\n"
    )
    text = "INCLUDE lib{}\nARG V=1\nFROM base\nRUN --with={} x"
    for suffix, names in (("", "db,web"), (" --as other", "other.db,other.web")):
        (tmp_path / "Buildfile").write_text(text.format(suffix, names))
        made = lower(text.format(suffix, names), context=str(tmp_path), file=str(tmp_path / "Buildfile"))
        assert isinstance(made.op, Run)
        assert [service.name for service in made.op.services] == names.split(",")
        assert [step.name for step in made.target.step.sources] == [
            "[service db] FROM postgres:9",
            f"[{'other.app' if suffix else 'app'} 2/2] RUN a",
        ]


@pytest.mark.parametrize("seed", ["", " --seed=make"])
def test_a_service_of_another_file_is_called_as_it_is_asked_for(tmp_path: Path, seed: str) -> None:
    """In its variables and where it is seeded, too; also where it is asked for by two names."""
    (tmp_path / "other").write_text(f"SERVICE db FROM postgres{seed}\n")
    (tmp_path / "lib").write_text("INCLUDE other\nFROM base AS inner\nRUN --with=db a\n")
    text = "INCLUDE lib --as lib\nFROM lib.inner\nRUN --with=lib.db b"
    (tmp_path / "Buildfile").write_text(text)
    made = lower(text, context=str(tmp_path), file=str(tmp_path / "Buildfile"))
    found = [step for step in made.steps if isinstance(step.op, Run) and step.op.services]
    for step, name in zip(found, ("db", "lib.db"), strict=True):
        assert isinstance(step.op, Run)
        (service,) = step.op.services
        assert (service.name, dict(service.env)["HOSTNAME"]) == (name, name)
        (source,) = step.sources
        if seed:
            assert isinstance(source.op, Run)
            assert source.op.seeds is not None
            assert (source.op.hostname, source.op.seeds.name, source.op.seeds.env) == (name, name, service.env)
            assert source.name == f"[service {name}] SEED make"


def test_two_services_of_one_name_in_two_files(tmp_path: Path) -> None:
    (tmp_path / "lib").write_text("SERVICE db FROM postgres\nFROM base AS b\n")
    text = "SERVICE db FROM postgres\nINCLUDE lib\nFROM base"
    with pytest.raises(BuildfileError, match="the other one stands in Buildfile:1") as caught:
        lower(text, context=str(tmp_path), file=str(tmp_path / "Buildfile"))
    assert "INCLUDE that file with `--as NAME`" in caught.value.hint


def test_a_target_of_another_file(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "Dockerfile").write_text("FROM postgres AS db\nRUN a\nTEST one\n")
    text = "SERVICE db FROM ./other+db\nFROM base\nRUN --with=db x"
    made = lower(text, context=str(tmp_path), file=str(tmp_path / "Buildfile"), testing=True)
    assert [step.name for step in made.target.step.sources] == ["[2/2] RUN a"]
    assert [test.name for test in made.target.tests] == ["one"]


def test_what_is_in_its_place_by_a_named_context() -> None:
    made = lower(PLAIN, build_contexts=(("postgres:16", "docker-image://checked"),))
    (service,) = made.op.services
    assert service.ready == ("/bin/ash", "-c", "up")


def test_a_word_of_a_function() -> None:
    text = (
        "FUNCTION database\nARG name\nSERVICE $name FROM postgres --env=N=$name\nEND\nDO database --name=one\n"
        "DO database --name=two\nFROM base\nRUN --with=one,two x"
    )
    assert [(one.name, dict(one.env)["N"]) for one in services(text)] == [("one", "one"), ("two", "two")]
