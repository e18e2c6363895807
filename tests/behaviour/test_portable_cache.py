"""`--cache-to` and `--cache-from`: what one machine built another does not; no cache, however broken, fails a build."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from random import Random

import pytest

from buildkit_py.graph.step_key import FORMAT
from tests.behaviour.packed import document, is_layer, layers_of, packed, unpacked
from tests.behaviour.world import World
from tests.needs import need
from tests.registry_server import registry_server

# Layers of more than a KiB: smaller ones are no blobs of their own.
DOCKERFILE = """\
FROM busybox AS base
RUN echo tools > /tools; head -c 3000 /dev/urandom > /more
FROM base AS build
COPY src /src
RUN cat /src/a.txt > /made; head -c 3000 /dev/urandom > /unique
FROM base
COPY --from=build /unique /unique
RUN head -c 3000 /dev/urandom > /later
CMD ["true"]
"""


class Machines:
    """One project, built on several machines, each with a store of its own."""

    def __init__(self, world: World, layout: Path) -> None:
        self.world = world
        self.cache = world.top / "cache"
        self._layout = layout
        world.write({"Dockerfile": DOCKERFILE, "src/a.txt": "a\n"})
        (world.project / "src/large").write_bytes(Random(1).randbytes(3000))

    def build(self, machine: str, *argv: str, ok: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        context = ("--build-context", f"busybox=oci-layout://{self._layout}")
        return self.world.build(*context, *argv, ok=ok, PYBUILD_HOME=str(self.world.top / machine), **env)

    def image(self, machine: str, *argv: str, **env: str) -> tuple[str, list[str]]:
        """The digest of the image, and the steps that ran."""
        file = self.world.project / "iid"
        done = self.build(machine, "--iidfile", str(file), *argv, **env)
        return file.read_text(), self.world.ran(done)

    @property
    def to(self) -> str:
        return f"--cache-to=type=local,dest={self.cache}"

    @property
    def source(self) -> str:
        return f"--cache-from=type=local,src={self.cache}"

    def blobs(self, machine: str) -> set[str]:
        """The layers' blobs that a machine has."""
        names = (self.world.top / machine / "blobs/sha256").iterdir()
        return {path.name for path in names} & {path.name for path in (self.cache / "blobs/sha256").iterdir()}

    def document(self) -> Path:
        """The file of the cache document."""
        index = json.loads((self.cache / "index.json").read_text())
        manifest = self.blob(index["manifests"][0]["digest"])
        return self.blob(json.loads(manifest.read_text())["config"]["digest"])

    def blob(self, digest: str) -> Path:
        return self.cache / "blobs/sha256" / digest.removeprefix("sha256:")


@pytest.fixture
def machines(world: World, base_layout: Path) -> Machines:
    return Machines(world, base_layout)


def test_another_machine_runs_nothing_and_moves_no_layer(machines: Machines) -> None:
    first, ran = machines.image("one", machines.to)
    assert len(ran) == 5
    second, ran = machines.image("two", machines.source)
    assert (second, ran) == (first, [])
    assert not machines.blobs("two")
    assert len(machines.blobs("one")) == 5


def test_files_come_when_they_are_wanted(machines: Machines) -> None:
    machines.build("one", machines.to, "-o", "out1")
    machines.build("two", machines.source, "-o", "out2")
    one, two = machines.world.project / "out1", machines.world.project / "out2"
    assert (one / "unique").read_bytes() == (two / "unique").read_bytes()
    assert (one / "later").read_bytes() == (two / "later").read_bytes()
    # Of the stage that only made /unique nothing had to come.
    assert len(machines.blobs("two")) == 3


def test_a_changed_file_fetches_what_its_steps_stand_on(machines: Machines) -> None:
    machines.build("one", machines.to)
    before = machines.document().read_bytes()
    machines.world.write({"src/a.txt": "b\n"})
    _, ran = machines.image("two", machines.source)
    assert len(ran) == 4
    assert machines.document().read_bytes() == before
    tools = {layer["digest"].removeprefix("sha256:") for layer in layers(machines) if layer["entries"] == 2}
    assert machines.blobs("two") & tools
    assert len(machines.blobs("two")) == 1


def layers(machines: Machines) -> list[dict[str, object]]:
    found = document(machines.document())
    return [step["layer"] for step in found["steps"] if step["name"].startswith("[base")]


def test_a_step_that_comes_out_the_same_ends_the_wave_there_too(machines: Machines) -> None:
    text = DOCKERFILE.replace("; head -c 3000 /dev/urandom > /unique", "; head -c 1 /src/a.txt > /unique")
    machines.world.write({"Dockerfile": text})
    first, _ = machines.image("one", machines.to)
    machines.world.write({"src/a.txt": "a, and what nobody takes\n"})
    second, ran = machines.image("two", machines.source)
    assert second == first
    assert len(ran) == 2  # COPY src and the RUN on it


def test_the_least_mode_keeps_what_is_in_the_image(machines: Machines) -> None:
    first, _ = machines.image("one", machines.to + ",mode=min")
    names = [step["name"] for step in document(machines.document())["steps"]]
    assert len(names) == 3
    assert not any("[build" in name for name in names)
    assert machines.image("two", machines.source) == (first, [])


def test_a_failed_build_keeps_what_went_well(machines: Machines) -> None:
    machines.world.write({"Dockerfile": DOCKERFILE + "RUN false\n"})
    assert machines.build("one", machines.to, ok=False).returncode == 1
    machines.world.write({"Dockerfile": DOCKERFILE})
    assert machines.image("two", machines.source)[1] == []


def test_a_cache_is_passed_on_to_another(machines: Machines) -> None:
    first, _ = machines.image("one", machines.to)
    other = machines.world.top / "other"
    machines.build("two", machines.source, f"--cache-to=type=local,dest={other}")
    shutil.rmtree(machines.cache)
    assert machines.image("three", f"--cache-from=type=local,src={other}") == (first, [])
    machines.build("three", f"--cache-from=type=local,src={other}", "-o", "out")
    assert (machines.world.project / "out/later").exists()


def test_what_no_record_names_is_deleted(machines: Machines) -> None:
    machines.build("one", machines.to)
    other = machines.to + ",name=other"
    machines.world.write({"src/a.txt": "of the other\n"})
    machines.build("one", other)
    both = {path.name for path in (machines.cache / "blobs/sha256").iterdir()}
    (machines.cache / "blobs/sha256" / hashlib.sha256(b"").hexdigest()).write_bytes(b"")
    machines.world.write({"src/a.txt": "third\n"})
    machines.build("one", machines.to)
    named = {path.name for path in (machines.cache / "blobs/sha256").iterdir()}
    assert both - named  # of the first build
    index = json.loads((machines.cache / "index.json").read_text())
    wanted = set()
    for entry in index["manifests"]:
        manifest = json.loads(machines.blob(entry["digest"]).read_text())
        digests = [entry["digest"], manifest["config"]["digest"], *(one["digest"] for one in manifest["layers"])]
        wanted |= {digest.removeprefix("sha256:") for digest in digests}
    assert named == wanted
    machines.world.write({"src/a.txt": "of the other\n"})
    assert machines.image("two", machines.source + ",name=other")[1] == []


def test_it_is_written_the_same_again(machines: Machines) -> None:
    machines.build("one", machines.to)
    before = {path: path.read_bytes() for path in machines.cache.rglob("*") if path.is_file()}
    done = machines.build("one", machines.to)
    assert "0 bytes sent" in done.stderr
    assert {path: path.read_bytes() for path in machines.cache.rglob("*") if path.is_file()} == before


def test_what_stands_on_this_machine_is_not_written(world: World) -> None:
    if world.mode == "user":
        pytest.skip("needs no second user")
    world.write(
        {
            "Buildfile.py": "from buildkit_py import Image, host, target\n"
            "@target(default=True)\n"
            "def app() -> Image:\n"
            "    return host().workdir('/tmp/x').run('echo made > /tmp/x/made')\n"
        }
    )
    world.run("Buildfile.py", "--progress=plain", f"--cache-to=type=local,dest={world.top}/cache")
    [only] = [
        found
        for path in (world.top / "cache/blobs/sha256").iterdir()
        if b"pybuild-cache-3" in (found := unpacked(path.read_bytes()))
    ]
    assert json.loads(only) == {
        "complete": True,
        "format": "pybuild-cache-3",
        "keys": FORMAT,
        "steps": [],
    }


# -- caches that are broken


def broken_index(machines: Machines) -> None:
    (machines.cache / "index.json").write_text("{")


def lost_manifest(machines: Machines) -> None:
    index = json.loads((machines.cache / "index.json").read_text())
    machines.blob(index["manifests"][0]["digest"]).unlink()


def changed_document(machines: Machines) -> None:
    path = machines.document()
    path.write_bytes(packed(json.loads(unpacked(path.read_bytes()).replace(b"tools", b"toolz"))))


def pipe_for_a_document(machines: Machines) -> None:
    path = machines.document()
    path.unlink()
    os.mkfifo(path)


def other_version(machines: Machines) -> None:
    rewrite(machines, lambda value: value.update(format="pybuild-cache-9"))


def hostile_layer(machines: Machines) -> None:
    def change(value: dict[str, object]) -> None:
        layers_of(value)[0]["id"] = "../../../etc"

    rewrite(machines, change)


def rewrite(machines: Machines, change: object) -> None:
    """Another document in place of the one that is there, with all digests right."""
    assert callable(change)
    value = document(machines.document())
    change(value)
    index = json.loads((machines.cache / "index.json").read_text())
    manifest = json.loads(machines.blob(index["manifests"][0]["digest"]).read_text())
    for place, data in ((manifest["config"], packed(value)), (index["manifests"][0], b"")):
        data = data or json.dumps(manifest).encode()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        machines.blob(digest).write_bytes(data)
        place.update(digest=digest, size=len(data))
    (machines.cache / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    "damage", [broken_index, lost_manifest, changed_document, pipe_for_a_document, other_version, hostile_layer]
)
def test_a_broken_cache_is_said_and_not_used(machines: Machines, damage: object) -> None:
    assert callable(damage)
    machines.build("one", machines.to)
    damage(machines)
    done = machines.build("two", machines.source, "-o", "out")
    assert len(machines.world.ran(done)) == 5
    assert "warning: the cache " in done.stderr
    assert "is not used" in done.stderr
    assert ("write the cache anew with this pybuild" in done.stderr) == (damage is other_version)
    assert (machines.world.project / "out/later").exists()


def test_no_cache_yet_is_no_warning(machines: Machines) -> None:
    done = machines.build("one", machines.source)
    assert "there is no cache at" in done.stderr
    assert "warning" not in done.stderr


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def exchanged(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [truncated, exchanged, gone])
def test_a_layer_that_cannot_be_had_is_made_again(machines: Machines, damage: object) -> None:
    assert callable(damage)
    machines.build("one", machines.to)
    for layer in layers_of(document(machines.document())):
        damage(machines.blob(layer["digest"]))
    done = machines.build("two", machines.source, "-o", "out")
    assert "are made again" in done.stderr
    assert (machines.world.project / "out/tools").read_text() == "tools\n"
    assert (machines.world.project / "out/later").exists()
    # And what the store knows then is whole.
    machines.build("two", "-o", "type=oci,dest=image.tar")
    assert machines.world.run("cache", "verify", PYBUILD_HOME=str(machines.world.top / "two")).returncode == 0


@pytest.mark.parametrize("damage", [truncated, exchanged, gone])
def test_a_blob_that_was_made_again_is_whole_for_the_next_machine(machines: Machines, damage: object) -> None:
    assert callable(damage)
    machines.world.write({"Dockerfile": "FROM busybox\nCOPY src /src\nRUN tr a b < /src/large > /made\n"})
    machines.build("one", machines.to, SOURCE_DATE_EPOCH="0")
    layers = [machines.blob(layer["digest"]) for layer in layers_of(document(machines.document()))]
    assert layers
    for path in layers:
        damage(path)
    done = machines.build("two", machines.source, machines.to, "-o", "out", SOURCE_DATE_EPOCH="0")
    assert "are made again" in done.stderr
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in layers] == [path.name for path in layers]
    done = machines.build("three", machines.source, machines.to, "-o", "out", SOURCE_DATE_EPOCH="0")
    assert machines.world.ran(done) == []
    assert "warning" not in done.stderr


def test_what_failed_does_not_run_again_where_a_layer_of_another_step_was_lost(machines: Machines) -> None:
    tools = "FROM busybox AS tools\nRUN echo tools > /tools; head -c 3000 /dev/urandom > /more\n"
    machines.world.write({"Dockerfile": tools})
    machines.build("one", machines.to)
    for layer in layers_of(document(machines.document())):
        machines.blob(layer["digest"]).unlink()
    machines.world.write(
        {
            "Dockerfile": "FROM busybox AS broken\n"
            "RUN --mount=type=cache,target=/c echo ran >> /c/count; exit 3\n"
            f"{tools}RUN cat /tools > /read\n"
            "FROM busybox\nCOPY --from=broken /etc/passwd /x\nCOPY --from=tools /read /y\n"
        }
    )
    done = machines.build("two", machines.source, "--keep-going", "-j1", ok=False)
    assert done.returncode == 1
    assert "are made again" in done.stderr
    assert "ended with exit code 3" in done.stderr
    assert any("cat /tools" in name for name in machines.world.ran(done))
    context = ("--build-context", f"busybox=oci-layout://{machines._layout}")
    place = str(machines.world.top / "two")
    said = machines.world.run("shell", *context, "broken@count", "--", "cat", "/c/count", PYBUILD_HOME=place)
    assert said.stdout == "ran\n"


def test_an_image_of_lost_layers_is_made_again(machines: Machines) -> None:
    machines.build("one", machines.to)
    _, ran = machines.image("two", machines.source)
    assert ran == []
    shutil.rmtree(machines.cache)
    done = machines.build("two", "-o", "type=oci,dest=image.tar")
    assert "are made again" in done.stderr
    assert len(machines.world.ran(done)) >= 3
    assert (machines.world.project / "image.tar").stat().st_size > 1000


def test_the_second_cache_helps_where_the_first_one_lost_a_layer(machines: Machines) -> None:
    other = machines.world.top / "other"
    _first, _ = machines.image("one", machines.to, f"--cache-to=type=local,dest={other}")
    for layer in layers_of(document(machines.document())):
        machines.blob(layer["digest"]).unlink()
    done = machines.build("two", machines.source, f"--cache-from=type=local,src={other}", "-o", "out")
    assert machines.world.ran(done) == []
    assert (machines.world.project / "out/later").exists()


def test_a_cache_that_cannot_be_written_is_said(machines: Machines) -> None:
    machines.cache.write_text("a file")
    done = machines.build("one", machines.to)
    assert "warning: the cache " in done.stderr
    assert "was not written" in done.stderr


# -- signatures


def test_only_documents_of_the_same_key_are_believed(machines: Machines) -> None:
    first, _ = machines.image("one", machines.to, PYBUILD_CACHE_KEY="ours")
    assert machines.image("two", machines.source, PYBUILD_CACHE_KEY="ours") == (first, [])
    assert machines.image("three", machines.source) == (first, [])  # who has no key believes all
    done = machines.build("four", machines.source, PYBUILD_CACHE_KEY="theirs")
    assert "is not signed with the key" in done.stderr
    assert len(machines.world.ran(done)) == 5


def test_a_document_without_a_signature_is_not_believed_by_who_has_a_key(machines: Machines) -> None:
    machines.build("one", machines.to)
    done = machines.build("two", machines.source, PYBUILD_CACHE_KEY="ours")
    assert "is not signed with the key" in done.stderr
    assert len(machines.world.ran(done)) == 5


# -- registries


def test_a_registry_that_lost_a_layer_gets_it_again(machines: Machines, tmp_path: Path) -> None:
    need("docker-registry")
    with registry_server(tmp_path) as registry:
        ref = f"{registry}/team/cache:main"
        machines.build("one", f"--cache-to=type=registry,ref={ref}")
        layers = [path for path in (tmp_path / "data").rglob("data") if is_layer(path.read_bytes())]
        assert len(layers) == 5
        shutil.rmtree(layers[0].parent)
        done = machines.build("one", f"--cache-to=type=registry,ref={ref}")
        assert "warning" not in done.stderr
        assert layers[0].exists()
        done = machines.build("two", f"--cache-from={ref}", "-o", "out")
        assert machines.world.ran(done) == []


def test_through_a_registry(machines: Machines, tmp_path: Path) -> None:
    need("docker-registry")
    with registry_server(tmp_path) as registry:
        ref = f"{registry}/team/cache:main"
        first, _ = machines.image("one", f"--cache-to=type=registry,ref={ref}")
        assert machines.image("two", f"--cache-from=type=registry,ref={ref}") == (first, [])
        done = machines.build("two", f"--cache-from={ref}", "-o", "out")
        assert machines.world.ran(done) == []
        assert (machines.world.project / "out/later").exists()
        again = machines.build("one", f"--cache-to=type=registry,ref={ref}")
        assert "0 bytes sent" in again.stderr
        missing = machines.build("three", f"--cache-from={registry}/team/none:main")
        assert "there is no cache at" in missing.stderr
    # The registry is gone, and with it every layer that was not fetched before.
    done = machines.build("four", f"--cache-from={ref}")
    assert "is not used" in done.stderr
    assert len(machines.world.ran(done)) == 5


SMALL = """\
FROM busybox AS base
RUN echo tools > /tools
FROM base AS build
COPY src/a.txt /src/
RUN cat /src/a.txt /proc/sys/kernel/random/uuid > /unique
FROM base
COPY --from=build /unique /unique
RUN head -c 3000 /dev/urandom > /later
"""


def test_small_layers_travel_in_the_document(machines: Machines) -> None:
    machines.world.write({"Dockerfile": SMALL})
    first, _ = machines.image("one", machines.to)
    found = layers_of(document(machines.document()))
    assert sorted("data" in layer for layer in found) == [False, True, True, True, True]
    assert len(list((machines.cache / "blobs/sha256").iterdir())) == 3  # a layer, the document, the manifest
    assert machines.image("two", machines.source) == (first, [])
    for path in (machines.cache / "blobs/sha256").iterdir():
        path.unlink()
    # Small layers need no place any more; the other one is made again.
    done = machines.build("two", "-o", "out")
    assert [name for name in machines.world.ran(done) if "/later" not in name] == []
    machines.build("one", "-o", "out1")
    unique = [(machines.world.project / out / "unique").read_text() for out in ("out", "out1")]
    assert unique[0] == unique[1]
    assert machines.world.run("cache", "verify", PYBUILD_HOME=str(machines.world.top / "two")).returncode == 0


def test_small_layers_are_passed_on_by_who_has_no_files_of_them(machines: Machines) -> None:
    machines.world.write({"Dockerfile": SMALL})
    first, _ = machines.image("one", machines.to)
    before = document(machines.document())
    other = machines.world.top / "other"
    machines.image("two", machines.source, f"--cache-to=type=local,dest={other}")
    shutil.rmtree(machines.cache)
    assert machines.image("three", f"--cache-from=type=local,src={other}") == (first, [])
    machines.build("three", f"--cache-from=type=local,src={other}", machines.to)
    assert document(machines.document()) == before


def test_after_a_small_change_a_registry_gets_one_manifest(machines: Machines, tmp_path: Path) -> None:
    need("docker-registry")
    machines.world.write({"Dockerfile": SMALL.replace("RUN head -c 3000 /dev/urandom > /later\n", "")})
    with registry_server(tmp_path) as registry:
        ref = f"{registry}/team/cache:main"
        machines.build("one", f"--cache-to=type=registry,ref={ref}")
        for number in range(3):
            before = set((tmp_path / "data").rglob("data"))
            machines.world.write({"src/a.txt": f"{number}\n"})
            first, ran = machines.image("one", f"--cache-to=type=registry,ref={ref}")
            assert len(ran) == 3
            [manifest] = set((tmp_path / "data").rglob("data")) - before
            assert "annotations" in json.loads(manifest.read_text())
            assert machines.image(f"reader {number}", f"--cache-from={ref}") == (first, [])


def test_a_registry_that_lost_the_document_gets_another(machines: Machines, tmp_path: Path) -> None:
    need("docker-registry")
    machines.world.write({"Dockerfile": SMALL})
    with registry_server(tmp_path) as registry:
        ref = f"{registry}/team/cache:main"
        machines.build("one", f"--cache-to=type=registry,ref={ref}")
        machines.world.write({"src/a.txt": "b\n"})
        machines.build("one", f"--cache-to=type=registry,ref={ref}")
        for path in list((tmp_path / "data").rglob("data")):
            if unpacked(path.read_bytes()):
                shutil.rmtree(path.parent)
        done = machines.build("two", f"--cache-from={ref}")
        assert "is not used" in done.stderr
        first, _ = machines.image("one", f"--cache-to=type=registry,ref={ref}")
        assert machines.image("three", f"--cache-from={ref}") == (first, [])


def test_an_image_is_no_cache(machines: Machines, tmp_path: Path) -> None:
    need("docker-registry")
    with registry_server(tmp_path) as registry:
        machines.build("one", "-t", f"{registry}/team/app:1", "--push")
        done = machines.build("two", f"--cache-from={registry}/team/app:1")
        assert "no cache of pybuild" in done.stderr
        assert len(machines.world.ran(done)) == 5


# -- the command line


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--cache-from=type=local", "has no `src`"),
        ("--cache-to=type=local,src=x", "has no `dest`"),
        ("--cache-from=type=azblob", "has the type `azblob`"),
        ("--cache-from=src=x", "has no `type`"),
        ("--cache-to=type=local,dest=x,mounts-max=1g", "takes no `mounts-max`"),
        ("--cache-to=type=local,dest=x,mounts=true,mounts-max=lots", "is no size"),
        ("--cache-from=type=local,src=x,mounts-max=1g", "takes no `mounts-max`"),
        ("--cache-to=type=local,dest=x,mode=all", "has the mode `all`"),
        ("--cache-from=type=local,src=x,mode=max", "takes no `mode`"),
        ("--cache-from=type=registry,ref=a@sha256:" + "0" * 64, "names a digest"),
        ("--cache-to=type=registry,ref=", "has no `ref`"),
        ("--cache-from=type=local,sorc=x", "is not understood"),
        ("--cache-to=UPPER", "UPPER"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_built(machines: Machines, option: str, message: str) -> None:
    done = machines.build("one", option, ok=False)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_cache_in_the_context_is_no_part_of_it(machines: Machines) -> None:
    inside = machines.world.project / "sub/cache"
    machines.world.write({"Dockerfile": "FROM busybox\nCOPY . /all\nRUN ls -a /all/sub > /list\n", "sub/a": "a"})
    both = (f"--cache-from=type=local,src={inside}", f"--cache-to=type=local,dest={inside}")
    assert len(machines.image("one", *both)[1]) == 2
    (machines.world.project / "iid").unlink()
    done = machines.build("two", *both, "-o", str(machines.world.top / "out"))
    assert machines.world.ran(done) == []
    assert (machines.world.top / "out/list").read_text().split() == [".", "..", "a"]
    machines.world.write({"Dockerfile": "FROM busybox\nCOPY sub/cache/index.json /\n"})
    done = machines.build("two", *both, ok=False)
    assert "`sub/cache` is pybuild's own store or cache, which is part of no context" in done.stderr


def test_a_step_that_was_taken_over_another_base_is_no_damage(machines: Machines) -> None:
    """A linked COPY is used for what it holds, though the filesystem of the machine that made it is not here."""
    machines.world.write({"Dockerfile": "FROM scratch\nCOPY other /other\nCOPY --link src /src\n", "other": "1"})
    machines.build("one", machines.to)
    machines.world.write({"other": "2"})
    done = machines.build("two", machines.source)
    assert machines.world.ran(done) == ["[1/2] COPY other /other"]
    machines.world.run("cache", "verify", PYBUILD_HOME=str(machines.world.top / "two"))
