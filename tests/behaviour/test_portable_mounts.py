"""Cache mounts that travel with `--cache-to …,mounts=true`: the next machine's steps find what the last one's left."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.behaviour.world import World
from tests.needs import need
from tests.registry_server import registry_server

DOCKERFILE = """\
FROM busybox
ARG RUN=0
RUN --mount=type=cache,target=/c ls -lR /c | sed 's/^/seen: /'; test -e /c/old && cat /c/old/file; \
    mkdir -p /c/old && echo "run $RUN" >> /c/old/file && head -c 100000 /dev/urandom > /c/blob$RUN; \
    ln -sf old/file /c/link; ln /c/blob$RUN /c/hard$RUN; chmod 750 /c/old; true
"""


class Runners:
    """One project built on machines that each begin with an empty store."""

    def __init__(self, world: World, layout: Path) -> None:
        self.world = world
        self.cache = world.top / "cache"
        self._layout = layout
        world.write({"Dockerfile": DOCKERFILE})

    def build(self, machine: str, run: str, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        context = ("--build-context", f"busybox=oci-layout://{self._layout}")
        both = (f"--cache-from=type=local,src={self.cache}", f"--cache-to=type=local,dest={self.cache},mounts=true")
        home = str(self.world.top / machine)
        return self.world.build(*context, f"--build-arg=RUN={run}", *(argv or both), PYBUILD_HOME=home, **env)

    def mounts(self) -> dict[str, dict[str, list[dict[str, object]]]]:
        """The document of the mounts."""
        index = json.loads((self.cache / "index.json").read_text())
        entry = next(one for one in index["manifests"] if one["artifactType"].endswith("mounts.v1"))
        manifest = json.loads(self.blob(entry["digest"]).read_text())
        found: dict[str, dict[str, list[dict[str, object]]]] = json.loads(
            self.blob(manifest["config"]["digest"]).read_text()
        )["mounts"]
        return found

    def blob(self, digest: object) -> Path:
        return self.cache / "blobs/sha256" / str(digest).removeprefix("sha256:")


@pytest.fixture
def runners(world: World, base_layout: Path) -> Runners:
    return Runners(world, base_layout)


def test_the_next_machine_finds_the_files(runners: Runners) -> None:
    runners.build("one", "1")
    done = runners.build("two", "2")
    for line in ("run 1", "seen: drwxr-x---", " blob1", " hard1", "link -> old/file"):
        assert line in done.stderr
    done = runners.build("three", "3")
    for line in ("run 1", "run 2", " blob1", " blob2"):
        assert line in done.stderr
    # Links are links again.
    listed = [line.partition("seen: ")[2] for line in done.stderr.splitlines() if line.endswith((" blob1", " hard1"))]
    assert [line.split()[1] for line in listed] == ["2", "2"]


def test_only_new_files_are_sent(runners: Runners) -> None:
    runners.build("one", "1")
    (mount,) = runners.mounts().values()
    (first,) = mount["packs"]
    runners.build("two", "2")
    (mount,) = runners.mounts().values()
    assert mount["packs"][0] == first
    assert len(mount["packs"]) == 2
    assert int(str(mount["packs"][1]["size"])) < 150_000
    # The same again sends nothing: no step ran, and no mount was used.
    done = runners.build("two", "2")
    assert "0 mounts" in done.stderr
    assert len(next(iter(runners.mounts().values()))["packs"]) == 2


def test_what_is_mostly_dead_is_packed_anew(runners: Runners) -> None:
    runners.build("one", "1")
    runners.world.write(
        {"Dockerfile": "FROM busybox\nARG RUN\nRUN --mount=type=cache,target=/c rm /c/b* /c/h*; ls /c\n"}
    )
    runners.build("two", "2")
    (mount,) = runners.mounts().values()
    (only,) = mount["packs"]
    assert int(str(only["size"])) < 10_000
    named = {path.name for path in (runners.cache / "blobs/sha256").iterdir()}
    assert len(named) == len([name for name in named if runners.blob(name).stat().st_size < 60_000])


def test_it_is_only_written_where_that_is_asked_for(runners: Runners) -> None:
    runners.build("one", "1", f"--cache-to=type=local,dest={runners.cache}")
    with pytest.raises(StopIteration):
        runners.mounts()


@pytest.mark.parametrize("damage", ["gone", "changed", "document", "path"])
def test_a_broken_cache_begins_empty(runners: Runners, damage: str) -> None:
    runners.build("one", "1")
    (name, mount) = next(iter(runners.mounts().items()))
    pack = runners.blob(mount["packs"][0]["digest"])
    if damage == "gone":
        pack.unlink()
    elif damage == "changed":
        pack.write_bytes(bytes(pack.stat().st_size))
    else:
        document = next(
            path for path in pack.parent.iterdir() if path.read_bytes().startswith(b'{"format":"pybuild-mounts-1"')
        )
        text = document.read_text()
        # Without a key nobody but the digest says what the document is; so it is told by its name.
        document.write_text(text.replace('"old/file"', '"../file"') if damage == "path" else text[:-10])
    done = runners.build("two", "2", f"--cache-from=type=local,src={runners.cache}")
    assert "warning" in done.stderr
    assert ("begins empty" in done.stderr) == (damage in ("gone", "changed"))
    assert "blob1" not in done.stderr
    assert name


def test_no_cache_begins_empty(runners: Runners) -> None:
    runners.build("one", "1")
    done = runners.build("two", "2", f"--cache-from=type=local,src={runners.cache}", "--no-cache")
    assert "blob1" not in done.stderr


def test_a_key_is_asked_for(runners: Runners) -> None:
    runners.build("one", "1", PYBUILD_CACHE_KEY="ours")
    done = runners.build("two", "2", f"--cache-from=type=local,src={runners.cache}", PYBUILD_CACHE_KEY="theirs")
    assert "cache mounts" in done.stderr and "not signed" in done.stderr  # noqa: PT018 — one notice
    assert "blob1" not in done.stderr


def test_through_a_registry(runners: Runners, tmp_path: Path) -> None:
    need("docker-registry")
    with registry_server(tmp_path) as registry:
        ref = f"{registry}/team/cache:main"
        runners.build("one", "1", f"--cache-to=type=registry,ref={ref},mounts=true")
        done = runners.build("two", "2", f"--cache-from={ref}", f"--cache-to=type=registry,ref={ref},mounts=true")
        assert " blob1" in done.stderr
        done = runners.build("three", "3", f"--cache-from={ref}")
        assert " blob2" in done.stderr
