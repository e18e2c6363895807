"""Signed portable caches: `trust=main` believes what main signed; strangers and forgeries change nothing.

Main is who has main's private key. What it wrote is read by who knows only
the public one, and a pull request is who has neither key of main.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from buildkit_py.report import units
from tests.behaviour.cache_machines import Bucket
from tests.behaviour.packed import document, layers_of
from tests.behaviour.test_portable_cache import DOCKERFILE, Machines, rewrite
from tests.behaviour.world import REPOSITORY, World
from tests.needs import need, need_package
from tests.registry_server import registry_server
from tests.web_server import web_server

ALL = 5  # steps


class Trusting(Machines):
    """Two pairs of keys, of `main` and of a `stranger`, of whom everybody knows main's public one."""

    def __init__(self, world: World, layout: Path) -> None:
        super().__init__(world, layout)
        need_package("cryptography")
        self.files = {name: str(world.project / f"{name}.pem") for name in ("main", "stranger")}
        self.keys = {name: world.run("cache", "keygen", path).stdout.strip() for name, path in self.files.items()}
        world.write({".dockerignore": "*.pem\n"})
        world.env["PYBUILD_TRUST"] = f"main={self.keys['main']}"
        self.main = {"PYBUILD_SIGNING_KEY_FILE": self.files["main"]}
        self.stranger = {"PYBUILD_SIGNING_KEY_FILE": self.files["stranger"]}

    def other(self, name: str) -> str:
        """Where `name` keeps a cache of its own."""
        return f"type=local,dest={self.world.top}/{name}"

    @property
    def trusted(self) -> str:
        return self.source + ",trust=main"

    def signatures(self) -> list[str]:
        return [step.get("signature", "") for step in document(self.document())["steps"]]


@pytest.fixture
def machines(world: World, base_layout: Path) -> Trusting:
    return Trusting(world, base_layout)


def warnings(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if "warning:" in line]


def test_what_main_signed_runs_nowhere_again(machines: Trusting) -> None:
    first, _ = machines.image("main", machines.to, **machines.main)
    assert all(one.startswith(machines.keys["main"] + ":") for one in machines.signatures())
    done = machines.build("reader", machines.trusted, "-o", "out")
    assert (machines.world.ran(done), warnings(done)) == ([], [])
    assert machines.image("another", machines.trusted) == (first, [])


def test_main_believes_itself_and_writes_the_same_again(machines: Trusting) -> None:
    first, _ = machines.image("main", machines.to, **machines.main)
    before = machines.document().read_bytes()
    assert machines.image("two", machines.source, machines.to, **machines.main) == (first, [])
    assert machines.document().read_bytes() == before


def test_a_key_in_a_variable_signs_as_well(machines: Trusting) -> None:
    machines.build("main", machines.to, PYBUILD_SIGNING_KEY=Path(machines.files["main"]).read_text())
    assert machines.world.ran(machines.build("reader", machines.trusted)) == []


@pytest.mark.parametrize("who", ["nobody", "stranger"])
def test_what_others_wrote_is_not_used_and_said_once(machines: Trusting, who: str) -> None:
    machines.build("other", machines.to, **(machines.stranger if who == "stranger" else {}))
    done = machines.build("reader", machines.trusted, "-o", "out")
    assert len(machines.world.ran(done)) == ALL
    [line] = warnings(done)
    assert f"the cache {machines.cache} is not used: it is not signed by `main`" in line
    # Who asks for nobody's signature believes it.
    assert machines.world.ran(machines.build("careless", machines.source)) == []


def test_of_two_writers_one_is_believed(machines: Trusting) -> None:
    """A stranger goes on from main's cache, with a step more: of its document only what main made is used."""
    machines.build("main", machines.to, **machines.main)
    machines.world.write({"Dockerfile": DOCKERFILE + "RUN echo mine > /mine\n"})
    machines.build("stranger", machines.trusted, machines.to, **machines.stranger)
    assert {one.rpartition(":")[0] for one in machines.signatures()} == set(machines.keys.values())
    done = machines.build("reader", machines.trusted, "-o", "out")
    assert len(machines.world.ran(done)) == 1
    [line] = warnings(done)
    assert f"of the cache {machines.cache}, 1 of 6 records are not used: they are not signed by `main`" in line
    assert (machines.world.project / "out/mine").read_text() == "mine\n"


def test_several_names_are_believed(machines: Trusting) -> None:
    machines.build("stranger", machines.to, **machines.stranger)
    known = machines.world.env["PYBUILD_TRUST"] + f",friends={machines.keys['stranger']}"
    done = machines.build("reader", machines.source + ",trust=main+friends", PYBUILD_TRUST=known)
    assert machines.world.ran(done) == []


def test_names_are_those_of_the_configuration_too(machines: Trusting) -> None:
    machines.build("main", machines.to, **machines.main)
    config = machines.world.top / "home/.config/pybuild/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'[trust.release]\nkeys = ["{machines.keys["main"]}"]\n')
    assert machines.world.ran(machines.build("reader", machines.source + ",trust=release")) == []


def test_who_passes_a_cache_on_needs_no_key(machines: Trusting) -> None:
    machines.build("main", machines.to, **machines.main)
    machines.build("two", machines.trusted, "--cache-to=" + machines.other("copy"))
    shutil.rmtree(machines.cache)
    done = machines.build("three", f"--cache-from=type=local,src={machines.world.top}/copy,trust=main")
    assert (machines.world.ran(done), warnings(done)) == ([], [])


# -- forgeries


def other_text(step: dict[str, object]) -> None:
    step["text"] = "poison"


def other_maker(step: dict[str, object]) -> None:
    step["maker"] = "somebody else"


def younger(step: dict[str, object]) -> None:
    step["created"] = (1 << 33) - 1


def other_key(step: dict[str, object]) -> None:
    step["contentKey"] = "0" * 64


def other_signature(step: dict[str, object]) -> None:
    key = str(step["signature"]).rpartition(":")[0]
    step["signature"] = key + ":" + "A" * 86 + "=="


def no_base64(step: dict[str, object]) -> None:
    step["signature"] = str(step["signature"]) + "\x1b[31m"


@pytest.mark.parametrize("forge", [other_text, other_maker, younger, other_key, other_signature, no_base64])
@pytest.mark.attack("H9")
def test_a_forged_record_is_not_used_and_said_once(machines: Trusting, forge: object) -> None:
    assert callable(forge)
    machines.build("main", machines.to, **machines.main)
    rewrite(machines, lambda value: [forge(step) for step in value["steps"]])
    done = machines.build("reader", machines.trusted, "-o", "out")
    assert len(machines.world.ran(done)) == ALL
    assert (machines.world.project / "out/tools").read_text() == "tools\n"
    [line] = warnings(done)
    assert "with a wrong signature, and it is not used" in line


@pytest.mark.parametrize("field", ["diffId", "digest", "content"])
@pytest.mark.attack("H9")
def test_files_that_main_did_not_sign_do_not_get_into_a_result(machines: Trusting, field: str) -> None:
    """The description of a layer is part of what is signed: another layer's bytes do not stand in for it."""
    machines.build("main", machines.to, **machines.main)

    def exchange(value: dict[str, Any]) -> None:
        first, second, *_ = layers_of(value)
        first[field], second[field] = second[field], first[field]

    rewrite(machines, exchange)
    done = machines.build("reader", machines.trusted, "-o", "out")
    assert "with a wrong signature" in done.stderr
    assert (machines.world.project / "out/tools").read_text() == "tools\n"
    assert (machines.world.project / "out/unique").stat().st_size == 3000


def test_a_secret_does_not_stand_in_for_a_key(machines: Trusting) -> None:
    machines.build("other", machines.to, PYBUILD_CACHE_KEY="secret")
    done = machines.build("reader", machines.trusted, PYBUILD_CACHE_KEY="secret")
    assert len(machines.world.ran(done)) == ALL
    assert "is not signed by `main`" in done.stderr


# -- who signs


def test_what_stands_on_a_strangers_files_is_not_signed(machines: Trusting) -> None:
    """A store that believed a stranger once does not lend it main's name later."""
    machines.build("stranger", "--cache-to=" + machines.other("theirs"), **machines.stranger)
    machines.build("main", f"--cache-from=type=local,src={machines.world.top}/theirs")  # with no key and no trust
    machines.world.write({"Dockerfile": DOCKERFILE + "RUN echo more > /more\n"})
    done = machines.build("main", machines.to, **machines.main)
    assert len(machines.world.ran(done)) == 1
    assert "1 records of the cache" in done.stderr
    assert "are not signed: they stand on what nobody trusted made" in done.stderr
    assert sum(one.startswith(machines.keys["stranger"]) for one in machines.signatures()) == ALL
    assert machines.signatures().count("") == 1
    done = machines.build("reader", machines.trusted)
    assert len(machines.world.ran(done)) == ALL + 1


def test_what_is_found_by_its_content_is_signed_again(machines: Trusting) -> None:
    """A step of main's that another definition came to is still main's."""
    text = DOCKERFILE.replace("; head -c 3000 /dev/urandom > /unique", "; head -c 1 /src/a.txt > /unique")
    machines.world.write({"Dockerfile": text})
    first, _ = machines.image("one", machines.to, **machines.main)
    machines.world.write({"src/a.txt": "a, and what nobody takes\n"})
    second, ran = machines.image("two", machines.trusted, machines.to, **machines.main)
    assert (second, len(ran)) == (first, 2)
    assert all(one.startswith(machines.keys["main"] + ":") for one in machines.signatures())
    done = machines.build("three", machines.trusted)
    assert (machines.world.ran(done), warnings(done)) == ([], [])


def test_a_pull_request_reads_and_does_not_write(machines: Trusting) -> None:
    """One command line for both: without main's key it writes nothing."""
    both = (machines.trusted, machines.to + ",trust=main")
    first, _ = machines.image("main", *both, **machines.main)
    before = {path: path.read_bytes() for path in machines.cache.rglob("*") if path.is_file()}
    assert machines.image("request", *both, PYBUILD_SIGNING_KEY="") == (first, [])
    machines.world.write({"src/a.txt": "of the request\n"})
    for env in ({}, machines.stranger):
        done = machines.build("request", *both, **env)
        assert f"the cache {machines.cache} is not written: this build has no key of `main`" in done.stderr
        assert warnings(done) == []
    assert {path: path.read_bytes() for path in machines.cache.rglob("*") if path.is_file()} == before


def test_the_commands_of_the_how_to(machines: Trusting) -> None:
    """Main writes, a request reads it and keeps a cache of its own, and main has nothing of the request's."""
    page = (REPOSITORY / "docs/how-to/trust-a-cache.md").read_text()
    commands = [line.split()[2:-1] for line in page.splitlines() if line.startswith("    pybuild build ")]
    one_for_both, with_its_own = commands
    first, _ = machines.image("main", *one_for_both, **machines.main)
    machines.world.write({".dockerignore": "*.pem\ncache\nrequests\n"})
    machines.world.write({"Dockerfile": DOCKERFILE + "RUN echo mine > /mine\n"})
    done = machines.build("request", *one_for_both)
    assert len(machines.world.ran(done)) == 1
    assert "this build has no key of `main`" in done.stderr
    assert machines.world.ran(machines.build("request", *with_its_own)) == []
    assert machines.world.ran(machines.build("request-again", *with_its_own)) == []
    assert len(machines.world.ran(machines.build("main-again", *one_for_both, **machines.main))) == 1
    machines.world.write({"Dockerfile": DOCKERFILE})
    assert machines.image("main-again", *one_for_both, **machines.main) == (first, [])


def test_a_request_sends_nothing_to_a_server(machines: Trusting) -> None:
    """Not while it builds either, when layers of others are already on their way."""
    with web_server() as web:
        bucket = Bucket(web)
        place = f"type=http,url={bucket.url},trust=main"
        both = (f"--cache-from={place}", f"--cache-to={place}")
        machines.build("main", *both, **machines.main)
        assert machines.world.ran(machines.build("request", *both)) == []
        bucket.asked.clear()
        machines.world.write({"src/a.txt": "of the request\n"})
        done = machines.build("request", *both, "--cache-policy=all")
        assert len(machines.world.ran(done)) == ALL - 1
        assert "this build has no key of `main`" in done.stderr
        assert {line.split()[0] for line in bucket.asked} == {"GET"}


def test_signatures_travel_through_a_registry(machines: Trusting, tmp_path: Path) -> None:
    need("docker-registry")
    with registry_server(tmp_path) as registry:
        ref = f"type=registry,ref={registry}/team/cache:main"
        machines.build("stranger", f"--cache-to={ref}", **machines.stranger)
        done = machines.build("reader", f"--cache-from={ref},trust=main")
        assert len(machines.world.ran(done)) == ALL
        [line] = warnings(done)
        assert "is not signed by `main`" in line
        machines.build("main", f"--cache-to={ref}", **machines.main)
        assert machines.world.ran(machines.build("another", f"--cache-from={ref},trust=main")) == []


@pytest.mark.parametrize(("who", "kept"), [("main", ALL), ("stranger", 1)])
def test_a_job_that_failed_keeps_what_is_believed(machines: Trusting, who: str, kept: int) -> None:
    """`ci save` leaves in the cache what the job did not reach, but nothing that it would not have used."""
    machines.build("other", machines.to, **{"main": machines.main, "stranger": machines.stranger}[who])
    job = {"PYBUILD_HOME": f"{machines.world.top}/job", **machines.main}
    machines.world.run("ci", "restore", f"--cache-to=type=local,dest={machines.cache}", **job)
    machines.world.write({"Dockerfile": DOCKERFILE[: DOCKERFILE.index("FROM base")] + "RUN false\n"})
    assert machines.build("job", ok=False, **machines.main).returncode == 1
    saved = machines.world.run("ci", "save", **job)
    assert ("is not used: it is not signed by" in saved.stderr) == (who == "stranger")
    signatures = machines.signatures()
    assert len(signatures) == kept
    assert all(one.startswith(machines.keys["main"] + ":") for one in signatures)


def test_a_job_counts_what_it_believes(machines: Trusting) -> None:
    machines.build("main", machines.to, **machines.main)
    layers = layers_of(document(machines.document()))
    machines.world.write({"Dockerfile": DOCKERFILE + "RUN head -c 3000000 /dev/urandom > /mine\n"})
    machines.build("stranger", machines.trusted, machines.to, **machines.stranger)
    job = {"PYBUILD_HOME": f"{machines.world.top}/job", **machines.main}
    done = machines.world.run("ci", "restore", f"--cache-to=type=local,dest={machines.cache}", **job)
    held = units.size(sum({one["digest"]: one["blobSize"] for one in layers}.values()))
    assert done.stdout == f"{machines.cache}: {ALL} steps, {len(layers)} layers ({held})\n"
    assert "1 of 6 records are not used" in done.stderr
    rewrite(machines, lambda value: [other_text(step) for step in value["steps"]])
    done = machines.world.run("ci", "restore", f"--cache-to=type=local,dest={machines.cache}", **job)
    assert done.stdout == ""
    assert done.stderr.count("with a wrong signature, and it is not used") == 1


def test_cache_mounts_of_a_stranger_are_not_restored(machines: Trusting) -> None:
    text = "FROM busybox\nARG N\nRUN --mount=type=cache,target=/c ls /c > /seen; echo $N > /c/$N\n"
    machines.world.write({"Dockerfile": text})

    def seen(machine: str, number: str, *argv: str, **env: str) -> tuple[str, subprocess.CompletedProcess[str]]:
        done = machines.build(machine, *argv, "--build-arg", f"N={number}", "-o", "out", **env)
        return (machines.world.project / "out/seen").read_text(), done

    seen("stranger", "1", machines.to + ",mounts=true", **machines.stranger)
    files, done = seen("reader", "2", machines.trusted)
    assert files == ""
    assert f"the cache mounts at {machines.cache} are not used: they are not signed by `main`" in done.stderr
    seen("main", "3", machines.to + ",mounts=true", **machines.main)
    files, done = seen("another", "4", machines.trusted)
    assert files == "3\n"
    assert "mounts at" not in done.stderr


def test_private_keys_are_nowhere_to_be_seen(machines: Trusting) -> None:
    pem = Path(machines.files["main"]).read_text()
    body = pem.splitlines()[1]
    done = machines.build("main", machines.to + ",mounts=true", "-o", "out", PYBUILD_SIGNING_KEY=pem)
    assert body not in done.stderr + done.stdout
    for path in (*machines.cache.rglob("*"), *(machines.world.top / "main").rglob("*")):
        if path.is_file() and not path.is_symlink():
            assert body.encode() not in path.read_bytes(), path


# -- what is wrong about keys is said before anything is built


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"PYBUILD_SIGNING_KEY": "UNIQUE"}, "PYBUILD_SIGNING_KEY: the signing key is no private key in PEM"),
        ({"PYBUILD_SIGNING_KEY_FILE": "/gone.pem"}, "/gone.pem: the signing key cannot be read: No such file"),
        ({"PYBUILD_TRUST": "main=UNIQUE"}, "PYBUILD_TRUST: the key 1 is no ed25519 key"),
        ({"PYBUILD_TRUST": ""}, "nobody is known by the name `main`"),
    ],
)
def test_a_wrong_key_is_an_error(machines: Trusting, env: dict[str, str], message: str) -> None:
    done = machines.build("one", machines.trusted, ok=False, **env)
    assert done.returncode == 2
    assert message in done.stderr
    assert "UNIQUE" not in done.stderr
    assert "#1" not in done.stderr


@pytest.mark.parametrize("option", ["--cache-from=type=local,src=x,trust=", "--cache-to=type=local,dest=x,trust=main+"])
def test_nobody_to_trust_is_an_error(machines: Trusting, option: str) -> None:
    done = machines.build("one", option, ok=False)
    assert done.returncode == 2
    assert "names nobody to trust" in done.stderr


def test_without_the_library_it_is_said_what_to_install(machines: Trusting) -> None:
    hidden = machines.world.project / "hidden"
    machines.world.write({"hidden/cryptography/__init__.py": "raise ImportError('not here')\n"})
    library = f"{hidden}:{machines.world.environment()['PYTHONPATH']}"
    for argv, env in (((machines.trusted,), {}), ((machines.to,), machines.main)):
        done = machines.build("one", *argv, ok=False, PYTHONPATH=library, **env)
        assert done.returncode == 2
        assert "need the package `cryptography`, which is not installed" in done.stderr
        assert "pip install 'buildkit-py[sign]'" in done.stderr
    done = machines.world.run("cache", "keygen", "new.pem", ok=False, PYTHONPATH=library)
    assert (done.returncode, done.stdout) == (2, "")
    # A secret needs nothing.
    machines.build("one", machines.to, PYTHONPATH=library, PYBUILD_CACHE_KEY="secret", PYBUILD_TRUST="")


def test_a_key_is_its_owners_and_never_written_over(machines: Trusting) -> None:
    path = Path(machines.files["main"])
    before = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    done = machines.world.run("cache", "keygen", str(path), ok=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "never written over another file" in done.stderr
    assert path.read_bytes() == before
    assert machines.world.run("cache", "keygen", "gone/key", ok=False).returncode == 7
    for argv in (("keygen",), ("keygen", "a", "b"), ("du", "a"), ("keygen", "a", "--json")):
        assert machines.world.run("cache", *argv, ok=False).returncode == 2


def test_what_stands_on_a_step_taken_over_another_base_is_signed(machines: Trusting) -> None:
    world = machines.world
    text = "FROM busybox AS a\nCOPY src/a.txt /f\nRUN cut -c1 /f > /o\nFROM busybox\nCOPY other /other\n"
    world.write({"Dockerfile": text + "COPY --link --from=a /o /o\nRUN cat /o > /z\n", "other": "1"})
    machines.build("one", machines.trusted, machines.to + ",trust=main", **machines.main)
    world.write({"other": "2"})
    done = machines.build("two", machines.trusted, machines.to + ",trust=main", "-t", "x", **machines.main)
    assert not warnings(done)
    assert all(machines.signatures())
    done = machines.build("three", machines.trusted)
    assert not warnings(done)
    assert world.ran(done) == []
    assert "WRONG" not in world.run("cache", "audit", "x", PYBUILD_HOME=str(world.top / "two")).stdout
