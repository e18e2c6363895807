"""`pybuild ci restore` and `ci save`: the builds of a CI job begin where the last job's ended."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.behaviour.packed import unpacked
from tests.behaviour.world import World
from tests.needs import need
from tests.registry_server import registry_server

DOCKERFILE = """\
FROM busybox AS build
COPY . /src
RUN --mount=type=cache,target=/c,key=/src/lock ls /c | sed 's/^/had: /'; cp /src/a.txt /c/; cat /src/a.txt > /made
FROM build AS test
TEST --name=made test -s /made
FROM busybox
COPY --from=build /made /made
RUN head -c 3000 /dev/urandom > /unique
"""
BUILDFILE = """\
FROM busybox AS tool
LET when = $(cat /proc/sys/kernel/random/uuid)
RUN echo $when > /when
"""


class Jobs:
    """One project whose jobs begin with a fresh checkout and an empty store, but for the directory that CI keeps."""

    def __init__(self, world: World, layout: Path) -> None:
        self.world = world
        self.layout = layout
        self.files = {"Dockerfile": DOCKERFILE, "Buildfile.tool": BUILDFILE, "a.txt": "a\n", "lock": "1"}
        self.number = 0
        self.cache = world.project / ".pybuild-cache"

    def begin(self, **env: str) -> None:
        """A new machine with what the last one's cache directory had."""
        self.number += 1
        kept = self.world.top / "kept"
        if self.cache.exists():
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(self.cache, kept)
        owner = self.world.project.stat()
        shutil.rmtree(self.world.project)
        self.world.project.mkdir()
        shutil.chown(self.world.project, owner.st_uid, owner.st_gid)
        self.world.write(self.files)
        if kept.exists():
            subprocess.run(["cp", "-a", str(kept), str(self.cache)], check=True)
            subprocess.run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", str(self.cache)], check=True)
        self.world.env = {"PYBUILD_HOME": str(self.world.top / f"store{self.number}"), **env}

    def run(self, *argv: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        return self.world.run(*argv, ok=ok)

    def build(self, *argv: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        return self.world.build("--build-context", f"busybox=oci-layout://{self.layout}", *argv, ok=ok)

    def steps(self) -> set[str]:
        """The names of all steps in the cache."""
        names = set()
        for path in (self.cache / "blobs/sha256").iterdir():
            data = unpacked(path.read_bytes())
            if data.startswith(b'{"complete":'):
                names |= {step["name"] for step in json.loads(data)["steps"]}
        return names


@pytest.fixture
def jobs(world: World, base_layout: Path) -> Jobs:
    return Jobs(world, base_layout)


def test_the_second_job_runs_nothing(jobs: Jobs) -> None:
    iids = []
    for number in range(2):
        jobs.begin()
        jobs.run("ci", "restore")
        tested = jobs.run("test", "--build-context", f"busybox=oci-layout://{jobs.layout}", "--progress=plain", ".")
        first = jobs.build("-t", "app", "--iidfile", "iid")
        second = jobs.build("-f", "Buildfile.tool", "-t", "tool")
        ran = [jobs.world.ran(done) for done in (tested, first, second)]
        iids.append((jobs.world.project / "iid").read_text())
        (jobs.world.project / "iid").unlink()
        done = jobs.run("ci", "save")
        assert [len(names) for names in ran] == ([3, 2, 2] if number == 0 else [0, 0, 0])
        if number:
            assert "0 bytes sent" in done.stderr
    assert iids[0] == iids[1]


def test_a_changed_file_runs_what_stands_on_it_with_the_mounts_of_before(jobs: Jobs) -> None:
    jobs.begin()
    jobs.run("ci", "restore")
    jobs.build("-t", "app")
    jobs.run("ci", "save")
    jobs.files["b.txt"] = "b\n"
    jobs.begin()
    jobs.run("ci", "restore")
    done = jobs.build("-t", "app")
    assert "had: a.txt" in done.stderr
    assert len(jobs.world.ran(done)) == 2  # /made is the same


def test_a_job_that_failed_keeps_what_it_did_not_reach(jobs: Jobs) -> None:
    jobs.begin()
    jobs.run("ci", "restore")
    jobs.build("-t", "app")
    jobs.run("ci", "save")
    before = jobs.steps()
    jobs.files["Dockerfile"] = DOCKERFILE.replace("AS build\n", "AS build\nRUN touch /new\nRUN false\n")
    jobs.begin()
    jobs.run("ci", "restore")
    jobs.build(ok=False)
    jobs.run("ci", "save")
    assert before < jobs.steps()
    assert any("touch /new" in name for name in jobs.steps())
    jobs.files["Dockerfile"] = DOCKERFILE
    jobs.begin()
    jobs.run("ci", "restore")
    assert jobs.world.ran(jobs.build("-t", "app")) == []
    jobs.run("ci", "save")
    assert jobs.steps() == before  # a job that went well says anew what there is


def lose_unique(data: bytes, blobs: Path) -> None:
    """Let a place lose the layer of the step that nobody but the whole build reaches."""
    found = json.loads(unpacked(data))
    layer = next(step["layer"] for step in found["steps"] if "/unique" in step["name"])
    digest = layer["digest"].removeprefix("sha256:")
    [path] = blobs.rglob(digest)
    if path.is_dir():  # of a registry
        shutil.rmtree(path)
    else:
        path.unlink()


def test_a_job_that_failed_does_not_stop_at_what_the_cache_lost(jobs: Jobs) -> None:
    jobs.begin()
    jobs.run("ci", "restore")
    jobs.build("-t", "app")
    jobs.run("ci", "save")
    before = jobs.steps()
    blobs = jobs.cache / "blobs/sha256"
    [document] = [data for path in blobs.iterdir() if b'"steps"' in unpacked(data := path.read_bytes())]
    lose_unique(document, blobs)
    jobs.files["Dockerfile"] = DOCKERFILE.replace("AS build\n", "AS build\nRUN touch /new\nRUN false\n")
    jobs.begin()
    jobs.run("ci", "restore")
    jobs.build(ok=False)
    assert "was not written" not in jobs.run("ci", "save").stderr
    assert len(jobs.steps()) == len(before)  # one more and one less
    assert any("touch /new" in name for name in jobs.steps())
    assert not any("/unique" in name for name in jobs.steps())
    jobs.files["Dockerfile"] = DOCKERFILE
    jobs.begin()
    jobs.run("ci", "restore")
    assert [name for name in jobs.world.ran(jobs.build("-t", "app")) if "/unique" not in name] == []


def test_a_registry_is_asked_what_it_lost(jobs: Jobs, tmp_path: Path) -> None:
    """It still has the manifest that names it."""
    need("docker-registry")
    with registry_server(tmp_path / "registry") as registry:
        where = f"--cache-to=type=registry,ref={registry}/team/cache:main"
        jobs.begin()
        jobs.run("ci", "restore", where)
        jobs.build("-t", "app")
        jobs.run("ci", "save")
        store = tmp_path / "registry/data"
        [document] = [data for path in store.rglob("data") if b'"steps"' in unpacked(data := path.read_bytes())]
        lose_unique(document, store / "docker/registry/v2/blobs")
        jobs.files["Dockerfile"] = DOCKERFILE.replace("AS build\n", "AS build\nRUN touch /new\nRUN false\n")
        jobs.begin()
        jobs.run("ci", "restore", where)
        jobs.build(ok=False)
        assert "was not written" not in jobs.run("ci", "save").stderr
        jobs.begin()
        jobs.run("ci", "restore", where)
        assert [name for name in jobs.world.ran(jobs.build(ok=False)) if "touch /new" in name] == []


def test_builds_outside_of_a_job_are_none_of_its(jobs: Jobs) -> None:
    github = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "1", "GITHUB_JOB": "build", "RUNNER_NAME": "a"}
    jobs.begin(**github)
    jobs.run("ci", "restore")
    jobs.world.env["GITHUB_RUN_ID"] = "2"
    jobs.build()
    done = jobs.run("ci", "save", ok=False)
    assert done.returncode == 2
    assert "no CI job began here" in done.stderr
    jobs.world.env["GITHUB_RUN_ID"] = "1"
    assert "nothing was built" in jobs.run("ci", "save").stdout
    assert not jobs.cache.exists()


def test_a_job_ends_with_its_save(jobs: Jobs) -> None:
    jobs.begin()
    jobs.run("ci", "restore")
    jobs.build("-t", "app")
    jobs.run("ci", "save")
    assert jobs.run("ci", "save", ok=False).returncode == 2
    assert list((jobs.world.top / "store1/jobs").iterdir()) == []


def test_a_job_that_begins_is_told_of_a_build_with_nothing_to_do(jobs: Jobs) -> None:
    jobs.files["Dockerfile"] = "FROM scratch\nCOPY a.txt /\n"  # a layout would be looked at anew by each build
    jobs.begin()
    for _ in range(3):
        time.sleep(0.05)  # what was written a moment ago is believed by no memo
        done = jobs.world.build("-t", "app")
    assert "up to date" in done.stderr
    jobs.run("ci", "restore")
    jobs.world.build("-t", "app")
    assert "(1 steps, " in jobs.run("ci", "save").stderr
    assert len(jobs.steps()) == 1


def test_a_pull_request_writes_no_cache_but_into_a_directory(jobs: Jobs) -> None:
    pull = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "1", "GITHUB_EVENT_NAME": "pull_request"}
    jobs.begin(**pull)
    jobs.run("ci", "restore", "--cache-to=type=http,url=http://127.0.0.1:9")
    jobs.build()
    assert "nothing is written: this job builds a pull request" in jobs.run("ci", "save").stdout
    jobs.begin(**pull)
    jobs.run("ci", "restore")
    jobs.build()
    jobs.run("ci", "save")
    assert jobs.steps()


def test_another_cache_is_read_and_not_written(jobs: Jobs) -> None:
    jobs.begin()
    main = jobs.world.top / "main"
    jobs.build(f"--cache-to=type=local,dest={main}")
    before = sorted(main.rglob("*"))
    jobs.begin()
    jobs.run("ci", "restore", "--dir=own", f"--cache-from=type=local,src={main}")
    assert jobs.world.ran(jobs.build()) == []
    jobs.run("ci", "save")
    assert (jobs.world.project / "own/index.json").exists()
    assert sorted(main.rglob("*")) == before


def test_a_cache_that_cannot_be_written_is_a_warning(jobs: Jobs) -> None:
    jobs.begin()
    jobs.world.write({"file": ""})
    jobs.run("ci", "restore", "--dir=file/x")
    jobs.build()
    done = jobs.run("ci", "save")
    assert "warning" in done.stderr
    assert "was not written" in done.stderr


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("ci",), "needs to be told more"),
        (("ci", "store"), "has no `store`"),
        (("ci", "save", "--dir=x"), "has no `--dir`"),
        (("ci", "restore", "--dir=x", "--cache-to=type=local,dest=y"), "two places to write to"),
        (("ci", "restore", "--cache-to=type=local,dest=y,mode=min"), "keeps all steps"),
        (("ci", "restore", "--cache-from=type=x"), "has the type `x`"),
    ],
)
def test_what_makes_no_sense_is_refused(jobs: Jobs, argv: tuple[str, ...], said: str) -> None:
    jobs.begin()
    done = jobs.run(*argv, ok=False)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_job_signs_what_it_saves(jobs: Jobs) -> None:
    ran = []
    for key in ("ours", "ours", "theirs"):
        jobs.begin(PYBUILD_CACHE_KEY=key)
        jobs.run("ci", "restore")
        done = jobs.build("-t", "app")
        ran.append(len(jobs.world.ran(done)))
        saved = jobs.run("ci", "save")
        assert "stand on what nobody trusted made" not in saved.stderr
    assert ran == [4, 0, 4]
    assert "not signed" in done.stderr


def test_what_is_not_believed_is_said_and_not_counted(jobs: Jobs) -> None:
    jobs.begin()
    jobs.run("ci", "restore")
    jobs.build("-t", "app")
    jobs.run("ci", "save")
    jobs.begin(PYBUILD_CACHE_KEY="ours")
    done = jobs.run("ci", "restore")
    assert f"the cache {jobs.cache} is not used: it is not signed with the key in PYBUILD_CACHE_KEY" in done.stderr
    assert done.stdout == ""
    jobs.files["Dockerfile"] += "RUN false\n"
    jobs.world.write(jobs.files)
    jobs.build(ok=False)
    assert "is not used: it is not signed" in jobs.run("ci", "save").stderr


def test_a_damaged_cache_is_written_anew(jobs: Jobs) -> None:
    jobs.begin()
    jobs.run("ci", "restore")
    jobs.build("-t", "one")
    jobs.run("ci", "save")
    (jobs.cache / "index.json").write_text("")
    jobs.begin()
    assert "is not used" in jobs.run("ci", "restore").stderr
    jobs.build("-t", "one")
    done = jobs.run("ci", "save")
    assert "warning" not in done.stderr
    jobs.begin()
    jobs.run("ci", "restore")
    assert jobs.world.ran(jobs.build("-t", "one")) == []
