"""Cache mounts that travel with `--cache-to …,mounts=true`: the next machine's steps find what the last one's left."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.packed import document, packed, unpacked
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
        self.layout = layout
        world.write({"Dockerfile": DOCKERFILE})

    def build(self, machine: str, run: str, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        context = ("--build-context", f"busybox=oci-layout://{self.layout}")
        both = (f"--cache-from=type=local,src={self.cache}", f"--cache-to=type=local,dest={self.cache},mounts=true")
        home = str(self.world.top / machine)
        return self.world.build(*context, f"--build-arg=RUN={run}", *(argv or both), PYBUILD_HOME=home, **env)

    def mounts(self) -> list[dict[str, Any]]:
        """The document of the mounts."""
        index = json.loads((self.cache / "index.json").read_text())
        entry = next(one for one in index["manifests"] if one["artifactType"].endswith("mounts.v1"))
        manifest = json.loads(self.blob(entry["digest"]).read_text())
        found: list[dict[str, Any]] = document(self.blob(manifest["config"]["digest"]))["mounts"]
        return found

    def blobs(self) -> dict[str, int]:
        """All blobs of the cache, with their sizes."""
        return {path.name: path.stat().st_size for path in (self.cache / "blobs/sha256").iterdir()}

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
    (mount,) = runners.mounts()
    (first,) = mount["packs"]
    runners.build("two", "2")
    (mount,) = runners.mounts()
    assert mount["packs"][0] == first
    assert len(mount["packs"]) == 2
    # The new blob of 100,000 bytes, which is under two names, and a file that got a line more.
    assert 100_000 < mount["packs"][1]["size"] < 102_000
    # The same again sends nothing: no step ran, and no mount was used.
    done = runners.build("two", "2")
    assert "0 mounts" in done.stderr
    assert len(runners.mounts()[0]["packs"]) == 2


def test_a_run_that_leaves_the_files_as_they_are_adds_no_blob(runners: Runners) -> None:
    runners.build("one", "1")
    before, (mount,) = runners.blobs(), runners.mounts()
    runners.world.write({"Dockerfile": "FROM busybox\nRUN --mount=type=cache,target=/c cat /c/old/file\n"})
    done = runners.build("two", "2")
    assert "run 1" in done.stderr
    assert "(1 mounts, 0 bytes sent)" in done.stderr
    assert runners.mounts() == [mount]
    packs = {pack["digest"].removeprefix("sha256:") for pack in mount["packs"]}
    assert packs <= set(runners.blobs()) & set(before)


def test_a_step_fetches_the_packs_of_its_own_mounts_alone(runners: Runners) -> None:
    fill = "RUN --mount=type=cache,target=/{0} head -c 100000 /dev/urandom > /{0}/blob\n"
    runners.world.write({"Dockerfile": "FROM busybox\n" + fill.format("a") + fill.format("b")})
    runners.build("one", "1")
    of = {mount["id"]: runners.blob(mount["packs"][0]["digest"]) for mount in runners.mounts()}
    of["/b"].unlink()
    runners.world.write({"Dockerfile": "FROM busybox\nRUN --mount=type=cache,target=/a wc -c /a/blob\n"})
    done = runners.build("two", "2", f"--cache-from=type=local,src={runners.cache}")
    assert "100000 /a/blob" in done.stderr
    assert "begins empty" not in done.stderr


def test_what_was_used_last_travels_where_not_all_may(runners: Runners) -> None:
    # Of four megabytes only three may travel; the second run reads the first file, so the second one goes.
    most = f"--cache-to=type=local,dest={runners.cache},mounts=true,mounts-max=3m"
    source = f"--cache-from=type=local,src={runners.cache}"
    mount = "FROM busybox\nARG RUN\nRUN --mount=type=cache,target=/c "
    make = "head -c 1000000 /dev/urandom > /c/{0}; touch -d 2020-01-0{0} /c/{0}; touch -a -d 2020-01-0{0} /c/{0}"
    runners.world.write({"Dockerfile": mount + "; ".join(make.format(number) for number in (1, 2, 3)) + "\n"})
    done = runners.build("one", "1", most)
    assert "left out" not in done.stderr
    runners.world.write({"Dockerfile": mount + "cat /c/1 > /dev/null; head -c 1000000 /dev/urandom > /c/4\n"})
    done = runners.build("two", "2", source, most)
    assert "the cache mount `/c` is larger than may travel: 1 files (1000000 bytes)" in done.stderr
    (kept,) = runners.mounts()
    assert set(kept["files"]) == {"1", "3", "4"}
    assert sum(pack["size"] for pack in kept["packs"]) < 3 << 20
    runners.world.write({"Dockerfile": mount + "echo /c/*\n"})
    assert "/c/1 /c/3 /c/4" in runners.build("three", "3", source).stderr


KEYED = """\
FROM busybox
WORKDIR /app
COPY lock ./
RUN --mount=type=cache,target=/c,key=lock echo "had: $(echo $(ls /c))"; f="/c/$(cat lock)"; test -e $f || touch $f
"""


def test_the_same_key_goes_before_the_last(runners: Runners) -> None:
    runners.world.write({"Dockerfile": KEYED, "lock": "a"})
    had = re.compile(r"had: (.*)")

    def begun(machine: str, lock: str) -> list[str]:
        runners.world.write({"lock": lock})
        done = runners.build(machine, "", *both)
        return [line for line in had.findall(done.stderr) if "$" not in line]

    both = (f"--cache-from=type=local,src={runners.cache}", f"--cache-to=type=local,dest={runners.cache},mounts=true")
    assert begun("one", "a") == [""]
    assert begun("two", "b") == ["a"]  # the last one, in place of its own
    assert begun("three", "c") == ["a b"]
    # Another command, for these have run. What was saved with the key of `b` has no `c`.
    runners.world.write({"Dockerfile": KEYED.replace("echo", "true; echo")})
    assert begun("four", "b") == ["a b"]
    assert begun("five", "a") == ["a"]
    assert begun("six", "d") == ["a b c"]
    assert len({mount["key"] for mount in runners.mounts()}) == 4
    # What several keys have is there once.
    assert len({pack["digest"] for mount in runners.mounts() for pack in mount["packs"]}) == 4


def test_of_many_keys_the_last_are_kept(runners: Runners) -> None:
    runners.world.write({"Dockerfile": KEYED})
    for number in range(7):
        runners.world.write({"lock": f"lock {number}"})
        runners.build("one", "")
    assert len(runners.mounts()) == 5


def test_a_key_may_be_a_mounted_file_a_directory_or_a_wildcard(runners: Runners) -> None:
    runners.world.write(
        {
            "Dockerfile": "FROM busybox\nWORKDIR /app\nCOPY locks /app/locks\n"
            "RUN --mount=type=bind,source=go.sum,target=go.sum --mount=type=bind,source=more,target=/m "
            "--mount=type=cache,target=/c,key=go.sum,key=/m/x.lock,key=locks/*.txt,key=locks true\n",
            "go.sum": "1",
            "more/x.lock": "2",
            "locks/a.txt": "3",
            "locks/b.md": "4",
        }
    )
    runners.build("one", "")
    keys = [runners.mounts()[-1]["key"]]
    for name in ("go.sum", "more/x.lock", "locks/a.txt", "locks/b.md"):
        runners.world.write({name: "changed"})
        runners.build("one", "", f"--cache-to=type=local,dest={runners.cache},mounts=true", "--no-cache")
        keys.append(runners.mounts()[-1]["key"])
    assert len(set(keys)) == 5


def test_a_cache_that_is_mounted_twice_has_the_keys_of_both(runners: Runners) -> None:
    mounts = "--mount=type=cache,id=c,target=/c,key=/a --mount=type=cache,id=c,target=/d,key=/b,sharing=locked"
    runners.world.write({"Dockerfile": f"FROM busybox\nCOPY a b /\nRUN {mounts} touch /c/$RANDOM\n"})
    keys = []
    for a, b in (("1", "1"), ("2", "1"), ("2", "2")):
        runners.world.write({"a": a, "b": b})
        runners.build("one", "")
        keys.append(runners.mounts()[-1]["key"])
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("gone", "the key `gone` of the cache mount `/c` is not there"),
        ("*.lock", "the key `*.lock` of the cache mount `/c` matches nothing"),
        ("[", "bad pattern"),
        ("", "names no file"),
        ("/", "names no file"),
    ],
)
def test_a_key_that_names_nothing_is_an_error(runners: Runners, key: str, said: str) -> None:
    runners.world.write({"Dockerfile": f"FROM busybox\nRUN --mount=type=cache,target=/c,key={key} true\n"})
    done = runners.world.build("--build-context", f"busybox=oci-layout://{runners.layout}", ok=False)
    assert done.returncode == 3
    assert "Dockerfile:2:" in done.stderr
    assert said in done.stderr


def test_another_key_does_not_run_a_step_again(runners: Runners) -> None:
    text = "FROM busybox\nCOPY lock /\nRUN --mount=type=cache,target=/c{0} true\n"
    runners.world.write({"Dockerfile": text.format(""), "lock": "a"})
    runners.build("one", "")
    runners.world.write({"Dockerfile": text.format(",key=/lock")})
    assert runners.world.ran(runners.build("one", "")) == []


def test_what_is_mostly_dead_is_packed_anew(runners: Runners) -> None:
    runners.build("one", "1")
    runners.world.write(
        {"Dockerfile": "FROM busybox\nARG RUN\nRUN --mount=type=cache,target=/c rm /c/b* /c/h*; ls /c\n"}
    )
    runners.build("two", "2")
    (mount,) = runners.mounts()
    (only,) = mount["packs"]
    assert only["size"] < 10_000
    named = {path.name for path in (runners.cache / "blobs/sha256").iterdir()}
    assert len(named) == len([name for name in named if runners.blob(name).stat().st_size < 60_000])


def test_it_is_only_written_where_that_is_asked_for(runners: Runners) -> None:
    runners.build("one", "1", f"--cache-to=type=local,dest={runners.cache}")
    with pytest.raises(StopIteration):
        runners.mounts()


@pytest.mark.parametrize("damage", ["gone", "changed", "document", "path"])
def test_a_broken_cache_begins_empty(runners: Runners, damage: str) -> None:
    runners.build("one", "1")
    (mount,) = runners.mounts()
    pack = runners.blob(mount["packs"][0]["digest"])
    if damage == "gone":
        pack.unlink()
    elif damage == "changed":
        pack.write_bytes(bytes(pack.stat().st_size))
    else:
        path = next(path for path in pack.parent.iterdir() if b'"pybuild-mounts-2"' in unpacked(path.read_bytes()))
        text = unpacked(path.read_bytes()).decode()
        # Without a key nobody but the digest says what the document is; so it is told by its name.
        other = text.replace('"old/file"', '"../file"')
        path.write_bytes(packed(json.loads(other)) if damage == "path" else path.read_bytes()[:-10])
    done = runners.build("two", "2", f"--cache-from=type=local,src={runners.cache}")
    assert "warning" in done.stderr
    assert ("begins empty" in done.stderr) == (damage in ("gone", "changed"))
    assert "blob1" not in done.stderr


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
