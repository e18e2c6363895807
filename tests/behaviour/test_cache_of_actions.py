"""A cache in the cache of GitHub Actions: `type=gha`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.actions_server import TOKEN, ActionsServer, actions_server
from tests.behaviour.packed import is_layer, unpacked
from tests.behaviour.world import World
from tests.web_server import Handler, Request

# Who runs it makes no difference to a server.
pytestmark = pytest.mark.parametrize("world", ["root" if os.geteuid() == 0 else "user"], indirect=True)

TO, SOURCE = "--cache-to=type=gha", "--cache-from=type=gha"
# Layers of more than a KiB: smaller ones are no blobs of their own.
DOCKERFILE = """\
FROM busybox
RUN echo tools > /tools; head -c 3000 /dev/urandom > /more
COPY src /src
RUN head -c 300000 /dev/urandom > /made
"""


class Jobs:
    """One project, built in several jobs of one repository."""

    def __init__(self, world: World, layout: Path, server: ActionsServer) -> None:
        self.world = world
        self.server = server
        self._layout = layout
        world.write({"Dockerfile": DOCKERFILE, "src/a.txt": "a\n"})
        (world.project / "src/large").write_bytes(Random(1).randbytes(3000))

    def build(self, job: str, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Build in a job."""
        context = ("--build-context", f"busybox=oci-layout://{self._layout}")
        variables = {**self.server.env, **env}
        return self.world.build(*context, *argv, PYBUILD_HOME=str(self.world.top / job), **variables)

    def ran(self, done: subprocess.CompletedProcess[str]) -> int:
        """How many steps ran."""
        return len(self.world.ran(done))


@pytest.fixture
def jobs(world: World, base_layout: Path) -> Iterator[Jobs]:
    with actions_server() as server:
        yield Jobs(world, base_layout, server)


def test_another_job_runs_nothing(jobs: Jobs) -> None:
    done = jobs.build("one", TO)
    assert "exported cache" in done.stderr
    assert "warning" not in done.stderr
    assert len(jobs.server.entries) == 5  # three layers, the document, the manifest
    assert jobs.ran(jobs.build("two", SOURCE)) == 0
    done = jobs.build("two", SOURCE, "-o", "out")
    assert jobs.ran(done) == 0
    assert (jobs.world.project / "out/made").stat().st_size == 300_000


def test_the_newest_save_counts(jobs: Jobs) -> None:
    jobs.build("one", TO)
    jobs.world.write({"src/a.txt": "b\n"})
    jobs.build("two", SOURCE, TO)
    assert jobs.ran(jobs.build("three", SOURCE)) == 0
    # The first layer was there, and so was the document that the manifest patches: two layers and a manifest came.
    assert len(jobs.server.entries) == 8


def test_the_same_again_adds_nothing(jobs: Jobs) -> None:
    jobs.build("one", TO)
    before = dict(jobs.server.entries)
    assert "0 bytes sent" in jobs.build("one", TO).stderr
    assert jobs.server.entries == before


def test_scopes_are_caches_of_their_own(jobs: Jobs) -> None:
    jobs.build("one", f"{TO},scope=app-2")
    assert "there is no cache at gha://app yet" in jobs.build("two", f"{SOURCE},scope=app").stderr
    assert jobs.ran(jobs.build("three", f"{SOURCE},scope=app-2")) == 0


def test_cache_mounts_go_there_too(jobs: Jobs) -> None:
    text = "FROM busybox\nRUN --mount=type=cache,target=/c date >> /c/log; cp /c/log /log\n"
    jobs.world.write({"Dockerfile": text})
    jobs.build("one", f"{TO},mounts=true")
    jobs.world.write({"Dockerfile": text + "RUN --mount=type=cache,target=/c cp /c/log /second\n"})
    jobs.build("two", SOURCE, "-o", "out")
    assert (jobs.world.project / "out/second").read_text() == (jobs.world.project / "out/log").read_text()


def test_elsewhere_it_is_said_that_there_is_none(jobs: Jobs) -> None:
    done = jobs.build("one", SOURCE, TO, ACTIONS_RUNTIME_TOKEN="")
    assert jobs.ran(done) == 3
    assert "is not used: ACTIONS_RESULTS_URL and ACTIONS_RUNTIME_TOKEN are not set" in done.stderr
    assert "was not written: ACTIONS_RESULTS_URL" in done.stderr


def test_a_token_that_is_too_old(jobs: Jobs) -> None:
    jobs.build("one", TO)
    done = jobs.build("two", SOURCE, TO, ACTIONS_RUNTIME_TOKEN="another")
    assert jobs.ran(done) == 3
    assert "is not used: the server answers 401" in done.stderr
    assert "was not written: the server answers 401" in done.stderr


@pytest.mark.attack("R13")
def test_a_token_with_a_line_feed(jobs: Jobs) -> None:
    jobs.build(
        "one", TO, ACTIONS_RUNTIME_TOKEN=f"{TOKEN}\n", ACTIONS_RESULTS_URL=jobs.server.env["ACTIONS_RESULTS_URL"] + "\n"
    )
    assert jobs.ran(jobs.build("two", SOURCE, ACTIONS_RUNTIME_TOKEN=f"{TOKEN}\n")) == 0
    done = jobs.build("three", SOURCE, TO, ACTIONS_RUNTIME_TOKEN=f"{TOKEN}\n{TOKEN}")
    assert jobs.ran(done) == 3
    assert "is not used: what is in `ACTIONS_RUNTIME_TOKEN` is no token" in done.stderr
    assert "was not written: what is in `ACTIONS_RUNTIME_TOKEN` is no token" in done.stderr
    assert TOKEN not in done.stderr


def test_the_token_and_signatures_are_kept_and_shown_nowhere(jobs: Jobs) -> None:
    jobs.build("one", TO)
    done = jobs.build("two", SOURCE, "-o", "out")
    files = [path for path in (jobs.world.top / "two").rglob("*") if path.is_file()]
    for secret in (TOKEN, "sig=signature"):
        assert secret not in done.stderr
        assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_what_another_job_is_about_to_send_is_not_waited_for(jobs: Jobs) -> None:
    """And if it never comes, its step is done again."""
    jobs.build("one", TO)
    layers = [key for key, data in jobs.server.entries.items() if is_layer(data)]
    for key in layers:
        del jobs.server.entries[key]  # begun, and not finished
    assert "warning" not in jobs.build("one", TO).stderr
    done = jobs.build("two", SOURCE, "-o", "out")
    assert "are made again" in done.stderr
    assert (jobs.world.project / "out/tools").read_text() == "tools\n"


def test_entries_that_were_deleted_by_age(jobs: Jobs) -> None:
    jobs.build("one", TO)
    for key in [key for key, data in jobs.server.entries.items() if b"pybuild-cache-3" in unpacked(data)]:
        del jobs.server.entries[key], jobs.server.begun[key]
    done = jobs.build("two", SOURCE)
    assert "there is no cache at" in done.stderr
    jobs.build("two", TO)
    assert jobs.ran(jobs.build("three", SOURCE)) == 0


@pytest.mark.parametrize("status", [500, 429, 403])
def test_a_service_that_fails(jobs: Jobs, status: int) -> None:
    jobs.build("one", TO)

    def fails(handler: Handler, request: Request) -> bool:
        handler.answer(status)
        return True

    jobs.server.fault = fails
    done = jobs.build("two", SOURCE, TO)
    assert jobs.ran(done) == 3
    assert f"is not used: the server answers {status}" in done.stderr
    assert f"was not written: the server answers {status}" in done.stderr


def test_a_service_that_answers_nonsense(jobs: Jobs) -> None:
    def nonsense(handler: Handler, request: Request) -> bool:
        handler.answer(200, b'{"ok": true, "signed_download_url": "file:///etc/passwd"}')
        return True

    jobs.server.fault = nonsense
    done = jobs.build("one", SOURCE, TO)
    assert jobs.ran(done) == 3
    assert "is not used: the cache service answers without `signed_download_url`" in done.stderr


@pytest.mark.parametrize("what", ["PUT /store/", "POST /twirp/"])
def test_what_fails_once_is_asked_again_and_nothing_is_lost(jobs: Jobs, what: str) -> None:
    """An entry that was made is there for the service: who makes it anew is told of a conflict with himself."""
    failed: list[str] = []

    def once(handler: Handler, request: Request) -> bool:
        asked = f"{request.method} {request.path}"
        if not asked.startswith(what) or asked in failed:
            return False
        failed.append(asked)
        handler.answer(503)
        return True

    jobs.server.fault = once
    done = jobs.build("one", TO)
    assert "exported cache" in done.stderr
    assert "warning" not in done.stderr
    assert len(failed) == {"PUT /store/": 5, "POST /twirp/": 3}[what]  # each file, or each kind of message
    assert len(jobs.server.entries) == 5
    done = jobs.build("two", SOURCE, "-o", "out")
    assert jobs.ran(done) == 0
    assert "warning" not in done.stderr


def test_a_manifest_that_the_service_does_not_take_is_told(jobs: Jobs) -> None:
    def conflict(handler: Handler, request: Request) -> bool:
        is_last = jobs.server.asked.count("CreateCacheEntry") == 5 and jobs.server.asked[-1] == "CreateCacheEntry"
        if is_last:
            handler.answer(409)
        return is_last

    jobs.server.fault = conflict
    done = jobs.build("one", TO)
    assert "was not written: the cache service says that it has this save already" in done.stderr
    assert "exported cache" not in done.stderr


def test_a_document_whose_entry_was_begun_and_never_ended_is_written_as_another(jobs: Jobs) -> None:
    def full(handler: Handler, request: Request) -> bool:
        is_document = request.method == "PUT" and len(jobs.server.entries) == 3  # the layers are there
        if is_document:
            handler.answer(500)
        return is_document

    jobs.server.fault = full
    assert "was not written: the server answers 500" in jobs.build("one", TO).stderr
    begun = len(jobs.server.begun)
    jobs.server.fault = lambda handler, request: False
    done = jobs.build("one", TO)
    assert "exported cache" in done.stderr
    assert "warning" not in done.stderr
    assert len(jobs.server.begun) == begun + 2  # the document and the manifest
    assert jobs.ran(jobs.build("two", SOURCE)) == 0
    assert "0 bytes sent" in jobs.build("one", TO).stderr


def test_a_document_that_the_service_does_not_take_is_named_by_no_manifest(jobs: Jobs) -> None:
    def conflict(handler: Handler, request: Request) -> bool:
        is_conflict = len(jobs.server.entries) == 3 and jobs.server.asked[-1] == "CreateCacheEntry"
        if is_conflict:
            handler.answer(409)
        return is_conflict

    jobs.server.fault = conflict
    done = jobs.build("one", TO)
    assert "was not written: the cache service does not take the cache's document" in done.stderr
    assert "exported cache" not in done.stderr
    assert len(jobs.server.begun) == 3


def test_an_upload_that_was_given_up_is_taken_up_again(jobs: Jobs) -> None:
    """The entry of a layer that could not be read was begun, and is for the layer that is made again."""
    other = jobs.world.top / "other"
    jobs.build("one", f"--cache-to=type=local,dest={other}")
    for path in (other / "blobs/sha256").iterdir():
        if is_layer(path.read_bytes()):
            path.unlink()
    text = DOCKERFILE.replace("head -c 300000 /dev/urandom", "wc -c /tools")  # the same bytes when it is made again
    jobs.world.write({"Dockerfile": text})
    done = jobs.build("two", f"--cache-from=type=local,src={other}", TO, "-o", "out")
    assert "are made again" in done.stderr
    assert "was not written" not in done.stderr
    done = jobs.build("three", SOURCE, "-o", "out")
    assert jobs.ran(done) == 0
    assert "are made again" not in done.stderr
