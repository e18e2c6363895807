"""Services of a Buildfile.py: what they make of the graph, and what is said of values that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.errors import BuildfileError
from buildkit_py.graph.op import Copy, CopyPath, Mount, Run, Service
from buildkit_py.image.config import Healthcheck, ImageConfig
from tests.frontend.buildfile.lowering import Lowered
from tests.frontend.fakes import FakeResolver
from tests.frontend.python.door import BASE, Door

POSTGRES = ImageConfig(env=(("PATH", "/bin"),), entrypoint=("entry",), cmd=("postgres",), user="pg", working_dir="/d")
IMPORT = "from buildkit_py import Service, check, service\n"


def resolver() -> FakeResolver:
    return FakeResolver(base=BASE, postgres=POSTGRES)


def step(
    directory: Path,
    definition: str,
    run: str = 'services={"db": db}',
    before: str = "",
    images: FakeResolver | None = None,
) -> Run:
    text = f"{IMPORT}{before}\n@target\ndef app():\n    db = {definition}\n    return Image('base').run('x', {run})\n"
    target = Door(directory, text, resolver=images or resolver()).one()
    assert target.step is not None
    assert isinstance(target.step.op, Run)
    return target.step.op


def test_it_is_what_a_buildfile_makes(tmp_path: Path) -> None:
    made = step(tmp_path, "service('postgres:16', port=5432, ready='up', env={'A': '1'}, timeout='3m')")
    text = "SERVICE db FROM postgres:16 --port=5432 --ready=up --env=A=1 --timeout=3m\nFROM base\nRUN --with=db x"
    assert made == Lowered(text, resolver=resolver()).op


def test_a_seed_is_what_a_buildfile_makes(tmp_path: Path) -> None:
    text = f"{IMPORT}@target\ndef app():\n    db = service('postgres', seed='make it')\n"
    text += "    return Image('base').run('x', services={'db': db}).run('y', services={'db': db})\n"
    target = Door(tmp_path, text, resolver=resolver()).one()
    other = Lowered("SERVICE db FROM postgres --seed='make it'\nFROM base\nRUN --with=db y", resolver=resolver()).target
    assert target.step is not None
    assert other.step is not None
    (seed,), (same,) = target.step.sources, other.step.sources
    assert (seed.op, seed.name) == (same.op, same.name)
    assert target.step.base is not None
    assert target.step.base.sources == (seed,), "both commands begin with the same"


def test_files_of_a_seed_are_copied_to_their_place(tmp_path: Path) -> None:
    text = f"{IMPORT}src = context('.')\n@target\ndef app():\n"
    text += "    db = service('postgres', port=1, seed=src['a.sql', 'more/'])\n"
    text += "    return Image('base').run('x', services={'db': db})\n"
    target = Door(tmp_path, text, resolver=resolver()).one()
    assert target.step is not None
    (seed,) = target.step.sources
    assert isinstance(seed.op, Run)
    place = "/docker-entrypoint-initdb.d"
    assert (seed.op.argv, seed.op.mounts) == ((), (Mount("bind", place, 0, place),))
    assert seed.sources[0].op == Copy((CopyPath("a.sql"), CopyPath("more/")), place + "/")
    assert seed.name == "[service db] SEED with files"


def test_a_command_finds_its_files_at_another_place(tmp_path: Path) -> None:
    text = f"{IMPORT}src = context('.')\n@target\ndef app():\n"
    text += "    db = service('postgres', seed=['load', 'it'], seed_files=src['a.sql'])\n"
    text += "    return Image('base').run('x', services={'db': db})\n"
    target = Door(tmp_path, text, resolver=resolver()).one()
    assert target.step is not None
    (seed,) = target.step.sources
    assert isinstance(seed.op, Run)
    assert (seed.op.argv, seed.op.mounts[0].target) == (("load", "it"), "/run/pybuild/seed")


def test_it_starts_from_an_image_that_was_made(tmp_path: Path) -> None:
    made = step(tmp_path, "service(Image('base').run('a').cmd('serve'), ready=['up', 'now'])")
    assert made.services == (
        Service("db", 0, ("/bin/sh", "-c", "serve"), (("PATH", "/bin"), ("HOSTNAME", "db")), ready=("up", "now")),
    )


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ("service(1)", "the image of service() must be str or Text or Image, got int 1"),
        ("service('x', port='5432')", "`port` of service() must be int, got str '5432'"),
        ("service('x', port=70000)", "`port`: `70000` is no port; it is a number from 1 to 65535"),
        ("service('x', port=-1)", "`port`: `-1` is no port"),
        ("service('x', port=True)", "`port`: `True` is no port"),
        ("service('x', ready=1)", "`ready` of service() must be a str or a list of str, got int 1"),
        ("service('x', seed=['a', 1])", "`seed` of service() must be a str or a list of str, got list"),
        ("service('x', env=['A'])", "`env` of service() takes a dict of str, got list"),
        ("service('x', env={'A': 1})", "`A` in `env` of service() must be str or Text, got int 1"),
        ("service('x', timeout='soon')", "`timeout`: `soon` is no length of time"),
        ("service('x', seed_files=context('.'))", "`seed_files` of service() are for a command"),
        ("service('x', seed=context('.'), seed_files=context('.'))", "service() takes its files as `seed` or as"),
    ],
)
def test_a_value_that_cannot_be_is_told_at_its_line(tmp_path: Path, definition: str, said: str) -> None:
    with pytest.raises(BuildfileError) as caught:
        step(tmp_path, definition)
    assert caught.value.message.startswith(said)
    assert str(caught.value.at).startswith("Buildfile.py:6")


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("services=[db]", '`services` of run() is a dict, as in {"db": db}, got list'),
        ("services={'db': 'postgres'}", "the service `db` of run() must be Service, got str 'postgres'"),
        ("services={1: db}", "each name in `services` of run() must be str, got int 1"),
        ("services={'a b': db}", "`a b` cannot be the name of a service"),
        ("services={'../x': db}", "`../x` cannot be the name of a service"),
        ("services={'localhost': db}", "`localhost` cannot be the name of a service: every host calls itself so"),
        ("services={'a' * 64: db}", f"`{'a' * 64}` cannot be the name of a service: it has 64 characters"),
        ("services={'buildkitsandbox': db}", "the step itself is called `buildkitsandbox`, as one of its services"),
        ("services={'db': db}, network='none'", "on the network `none` a step does not reach its services (db)"),
    ],
)
def test_services_that_cannot_be(tmp_path: Path, run: str, said: str) -> None:
    with pytest.raises(BuildfileError) as caught:
        step(tmp_path, "service('postgres')", run)
    assert caught.value.message.startswith(said)


def test_files_as_a_seed_need_something_that_says_when_they_were_taken(tmp_path: Path) -> None:
    with pytest.raises(BuildfileError, match="nothing says when the service `db` has taken the files") as caught:
        step(tmp_path, "service('postgres', seed=context('.'))")
    assert str(caught.value.at).startswith("Buildfile.py:6")
    assert caught.value.hint == "give it `port`, which opens when that is done, or `ready`"
    for said in ("port=1", "ready='up'"):
        assert step(tmp_path, f"service('postgres', seed=context('.'), {said})").services
    checked = resolver()
    checked.configs["postgres"] = POSTGRES.replace(healthcheck=Healthcheck(("CMD", "up")))
    assert step(tmp_path, "service('postgres', seed=context('.'))", images=checked).services


def test_an_image_with_nothing_to_run(tmp_path: Path) -> None:
    with pytest.raises(BuildfileError, match="the service `db` has nothing to run"):
        step(tmp_path, "service('base')")


def test_annotations_know_the_type(tmp_path: Path) -> None:
    before = "def db() -> Service:\n    return service('postgres')\n"
    assert [one.name for one in step(tmp_path, "db_of()", before=before.replace("def db", "def db_of")).services] == [
        "db"
    ]
