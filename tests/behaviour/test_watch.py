"""`pybuild watch`: what makes it build again and what does not, runs that restart, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.watched import leftovers, watch
from tests.behaviour.world import World
from tests.needs import need, need_package

# Nobody waits this long: it turns a hang into a message.
PATIENCE = 60
ROOT = Path(__file__).parent.parent.parent
WAITING = "note: waiting for changes"
DOCKERFILE = "FROM busybox\nCOPY src /src\nCOPY *.cfg /\nRUN echo built $(cat /src/a)\n"
SERVER = """FROM busybox
COPY src /src
CMD ["sh", "-c", "trap 'echo stopped; exit 0' TERM; echo serving $(cat /src/a) $X; sleep 300 & wait"]
"""


class Watching:
    """A `pybuild watch` that runs, and all that it has said."""

    def __init__(self, world: World, *argv: str, cwd: Path, env: dict[str, str]) -> None:
        self.said = ""
        self._seen = 0
        self._more = threading.Condition()
        self.process = subprocess.Popen(
            world.command("watch", *argv),
            cwd=cwd,
            env=world.environment(**env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        while piece := os.read(self.process.stdout.fileno(), 1 << 16):
            with self._more:
                self.said += piece.decode()
                self._more.notify()

    def until(self, text: str) -> str:
        """Wait for a text behind the one that was waited for before; all that was said between them."""
        with self._more:
            found = self._more.wait_for(lambda: text in self.said[self._seen :], PATIENCE)
            assert found, f"no {text!r} in:\n{self.said}"
            before = self._seen
            self._seen = self.said.index(text, before) + len(text)
            return self.said[before : self._seen]

    def end(self) -> int:
        """Send what Ctrl-C sends, and wait; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.over()

    def over(self) -> int:
        """Wait until it ends; the exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        assert "Traceback" not in self.said, self.said
        return code


class Project:
    """A project that can be watched, of which every watch is ended."""

    def __init__(self, world: World, base_layout: Path) -> None:
        self.world = world
        self.base = f"--build-context=busybox=oci-layout://{base_layout}"
        self.started: list[Watching] = []

    def watch(self, *argv: str, cwd: Path | None = None, **env: str) -> Watching:
        """Begin to watch the project."""
        watching = Watching(self.world, "--progress=plain", self.base, *argv, cwd=cwd or self.world.project, env=env)
        self.started.append(watching)
        return watching


@pytest.fixture
def project(world: World, base_layout: Path) -> Iterator[Project]:
    need_package("watchfiles")
    world.write({"Dockerfile": DOCKERFILE, "src/a": "one", "x.cfg": "x", "README": "r", "other/o": "o"})
    made = Project(world, base_layout)
    yield made
    for watching in made.started:
        if watching.process.poll() is None:
            watching.end()


def test_a_change_of_an_input_builds_again(project: Project) -> None:
    watching = project.watch(".", "-t", "app")
    assert "built one" in watching.until(WAITING)
    first = project.world.run("images", "--format=name").stdout
    for change, said in (
        ({"src/a": "two"}, "note: src/a changed"),
        ({"src/new": "n"}, "note: src/new changed"),
        ({"y.cfg": "y"}, "note: y.cfg changed"),
        ({".dockerignore": "README\n"}, "note: .dockerignore changed"),
        ({"Dockerfile": DOCKERFILE + "RUN echo more\n"}, "note: Dockerfile changed"),
    ):
        project.world.write(change)
        watching.until(said)
        watching.until(WAITING)
    assert "built two" in watching.said
    (project.world.project / "src/a").chmod(0o600)
    watching.until("note: src/a changed")
    watching.until(WAITING)
    (project.world.project / "src/new").unlink()
    watching.until("note: src/new changed")
    watching.until(WAITING)
    assert first == project.world.run("images", "--format=name").stdout
    assert watching.end() == 128 + signal.SIGINT
    assert leftovers(project.world) == []


def test_nothing_else_does(project: Project) -> None:
    project.world.write({".dockerignore": "src/ignored\n"})
    watching = project.watch(".")
    watching.until(WAITING)
    project.world.write({"README": "changed", "other/o": "changed", "other/new": "n", "src/ignored": "i"})
    (project.world.project / "src").touch()
    # The next change is heard after these, which have passed without a word then.
    project.world.write({"src/a": "two"})
    assert "README" not in watching.until("note: src/a changed")
    watching.until(WAITING)
    assert watching.said.count(" changed\n") == 1
    watching.end()


def test_many_changes_at_once_are_few_builds(project: Project) -> None:
    watching = project.watch(".")
    watching.until(WAITING)
    project.world.write({f"src/{number}": "x" for number in range(200)})
    project.world.write({"src/a": "last"})
    watching.until("built last")
    watching.until(WAITING)
    assert watching.said.count(" changed\n") < 20
    watching.end()


def test_a_build_under_way_is_begun_anew(project: Project) -> None:
    project.world.write({"Dockerfile": DOCKERFILE + "RUN echo begun; test $(cat /src/a) = two || sleep 300\n"})
    watching = project.watch(".")
    watching.until("begun")  # the first build, of which nothing is known but what it is going to take
    project.world.write({"src/a": "three"})
    watching.until("note: src/a changed")
    watching.until("begun")
    project.world.write({"src/a": "two"})
    watching.until("note: src/a changed")
    watching.until(WAITING)
    assert watching.end() == 128 + signal.SIGINT
    assert leftovers(project.world) == []


def test_a_failure_waits_for_what_mends_it(project: Project) -> None:
    project.world.write({"Dockerfile": "FROM busybox\nRUN test -e /nothing\nCOPY src /src\n"})
    watching = project.watch(".")
    assert "ended with exit code 1" in watching.until(WAITING)
    # Also what a step would have taken that it did not come to.
    project.world.write({"src/a": "two"})
    watching.until("note: src/a changed")
    assert "ended with exit code 1" in watching.until(WAITING)
    project.world.write({"Dockerfile": "FROM busybox\nCOPY missing /\n"})
    assert "`missing` not found" in watching.until(WAITING)
    project.world.write({"missing": "here"})
    watching.until("note: missing changed")
    assert "DONE" in watching.until(WAITING)
    project.world.write({"Dockerfile": "FRM busybox\n"})
    assert "unknown instruction" in watching.until(WAITING)
    project.world.write({"Dockerfile": DOCKERFILE})
    assert "built two" in watching.until(WAITING)
    watching.end()


def test_what_a_build_writes_is_no_input(project: Project) -> None:
    project.world.write({"Dockerfile": "FROM busybox\nCOPY . /all\nRUN cp /all/src/a /made\nOUTPUT /made made\n"})
    watching = project.watch(".", "-o", "out", "--iidfile", "id")
    watching.until(WAITING)
    assert (project.world.project / "out/made").read_text() == "one"
    project.world.write({"src/a": "two"})
    watching.until("note: src/a changed")
    watching.until(WAITING)
    project.world.write({"src/a": "three"})
    watching.until("note: src/a changed")
    watching.until(WAITING)
    assert watching.said.count(" changed\n") == 2
    assert (project.world.project / "made").read_text() == "three"
    watching.end()


def test_what_is_said_into_a_file_of_the_project_is_no_input(project: Project) -> None:
    text = "import os, sys\nsys.path[:0] = [os.getcwd()]\nfrom buildkit_py.cli.watched import Watching\n"
    with open(project.world.project / "log", "w") as log:
        command = [sys.executable, "-c", text + "print(*Watching().outputs, file=sys.stderr)"]
        done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.PIPE, text=True, check=True)
    assert done.stderr.split() == [str(project.world.project / "log")]


def test_files_of_a_buildfile_py(project: Project) -> None:
    text = 'from buildkit_py import *\n@target\ndef app():\n    return Image("busybox").run("echo " + read("NAME"))\n'
    project.world.write({"Buildfile.py": text, "NAME": "one"})
    watching = project.watch("Buildfile.py")
    watching.until(WAITING)
    project.world.write({"NAME": "another"})
    watching.until("note: NAME changed")
    watching.until(WAITING)
    watching.end()


def test_what_a_buildfile_py_looks_for_appears(project: Project) -> None:
    text = (
        "import os, sys\nfrom buildkit_py import *\nhere = os.path.dirname(os.path.abspath(__file__))\n"
        "sys.path[:0] = [f'{here}/lib', f'{here}/site-packages']\nos.stat(f'{here}/looked')\n"
        "try:\n    import pybuild_optional\nexcept ImportError:\n    pass\n"
        "@target\ndef app():\n    return scratch()\n"
    )
    names = {"lib/pybuild_optional.py": "lib/pybuild_optional.py", "looked/x": "looked"}
    names["site-packages/x"] = "site-packages"
    project.world.write({"Buildfile.py": text, **{f"{name.partition('/')[0]}/before": "" for name in names}})
    watching = project.watch("Buildfile.py")
    watching.until(WAITING)
    for path, changed in reversed(names.items()):
        project.world.write({path: "A = 1\n"})
        watching.until(f"note: {changed} changed")
        watching.until(WAITING)
    watching.end()


def test_modes_as_git_has_them(project: Project) -> None:
    need("git")
    subprocess.run(["git", "init", "-q", project.world.project], check=True)
    git = ["git", "-c", "safe.directory=*", "-C", project.world.project]
    subprocess.run([*git, "add", "src"], check=True)
    project.world.write({"Dockerfile": "FROM busybox\nCOPY src /src\nRUN echo mode $(stat -c %a /src/a)\n"})
    (project.world.project / "src/a").chmod(0o600)
    watching = project.watch(".", "--normalize")
    assert "mode 644" in watching.until(WAITING)
    watching.end()


def test_a_run_is_restarted_when_the_result_is_another(project: Project) -> None:
    project.world.write({"Dockerfile": SERVER})
    watching = project.watch(".", "--run", "-e", "X=x")
    watching.until("serving one x")
    project.world.write({"src/a": "two"})
    watching.until("stopped")
    watching.until("serving two x")
    os.utime(project.world.project / "src/a")  # an input, and the same result
    watching.until("note: src/a changed")
    watching.until(WAITING)
    assert "stopped" not in watching.until("\n")
    project.world.write({"Dockerfile": "FROM busybox\nRUN false\n"})
    watching.until("ended with exit code 1")  # a failed build leaves the run alone
    watching.until(WAITING)
    project.world.write({"Dockerfile": SERVER.replace("serving", "offering")})
    watching.until("offering two x")
    assert watching.said.count("stopped") == 2
    assert watching.end() == 128 + signal.SIGINT
    assert leftovers(project.world) == []


def test_a_command_takes_the_place_of_the_image_s_own(project: Project) -> None:
    watching = project.watch(".", "--", "sh", "-c", "echo have $(cat /src/a); exit 7")
    watching.until("have one")
    watching.until("note: the command ended with exit code 7")
    project.world.write({"src/a": "two"})
    watching.until("have two")
    watching.until("note: the command ended with exit code 7")
    watching.end()


DEAF = "trap '' TERM INT; echo deaf; while :; do sleep 300; done"


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGHUP], [signal.SIGINT] * 3], ids=str)
def test_a_signal_ends_it_with_the_command_that_it_runs(
    project: Project, world: World, signals: list[signal.Signals]
) -> None:
    argv = ("watch", "--progress=plain", project.base, ".", "--", "sh", "-c", DEAF)
    end = watch(world, *argv, until="deaf\n", signals=signals)
    assert end.code == 128 + signals[0], end.output
    assert leftovers(world) == []


def test_ctrl_c_in_a_terminal(project: Project, world: World) -> None:
    world.write({"Dockerfile": DOCKERFILE + "RUN sleep 300 & echo begun; sleep 300\n"})
    end = watch(world, "watch", project.base, ".", until="begun", terminal=True, signals=[signal.SIGINT])
    assert end.code == 128 + signal.SIGINT, end.output
    assert leftovers(world) == []


def test_a_run_ends_with_a_watch_that_is_killed(project: Project, world: World) -> None:
    world.write({"Dockerfile": SERVER})
    argv = ("watch", "--progress=plain", project.base, ".", "--run")
    end = watch(world, *argv, until="serving one", signals=[signal.SIGKILL], alone=True)
    assert end.code == -signal.SIGKILL
    world.run("cache", "verify")
    assert leftovers(world) == []


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("nothing",), 4, "there is no `nothing`"),
        (("https://example.org/x.git",), 2, "only files of this machine can be watched"),
        (("-",), 2, "only files of this machine can be watched"),
        ((".", "a", "b", "--run"), 2, "only one target can be run"),
        ((".", "--no-cache"), 2, "unknown option `--no-cache`"),
        ((".", "-v", "x:y", "--run"), 2, "`-v x:y` is no `SOURCE:TARGET`"),
        ((), 2, "needs to be told more"),
    ],
    ids=str,
)
def test_what_cannot_be_watched(project: Project, argv: tuple[str, ...], code: int, said: str) -> None:
    done = project.world.run("watch", *argv, ok=False)
    assert done.returncode == code, done.stderr
    assert said in done.stderr


def test_the_library_is_asked_for_where_it_is_missing(project: Project, world: World) -> None:
    world.write({"broken/watchfiles/__init__.py": "raise ImportError\n"})
    path = f"{world.project}/broken:{world.environment()['PYTHONPATH']}"
    done = world.run("watch", ".", ok=False, PYTHONPATH=path)
    assert done.returncode == 2
    assert "needs the library watchfiles" in done.stderr
    assert "pip install watchfiles" in done.stderr


def test_the_working_directory_is_removed(project: Project, world: World) -> None:
    (world.project / "gone").mkdir()
    watching = project.watch(str(world.project), cwd=world.project / "gone")
    watching.until(WAITING)
    (world.project / "gone").rmdir()
    world.write({"src/a": "two"})
    watching.until("note: ../src/a changed")
    watching.until("the working directory was removed")
    watching.until(WAITING)
    assert watching.end() == 128 + signal.SIGINT


NO_INSTANCE = 'echo 0 > /proc/sys/user/max_inotify_instances; exec "$@"'


def test_what_the_kernel_does_not_allow(project: Project, world: World) -> None:
    argv = world.command("watch", project.base, ".")
    start = argv.index("buildkit_py") - 2
    argv[start:start] = ["unshare", "--user", "--map-root-user", "sh", "-c", NO_INSTANCE, "sh"]
    done = subprocess.run(
        argv, cwd=world.project, env=world.environment(), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 4, done.stderr
    assert "cannot be watched" in done.stderr
    assert "max_user_instances" in done.stderr


def test_what_may_not_be_polled_any_more(project: Project, world: World) -> None:
    if world.mode == "root":
        pytest.skip("root may read everything")
    watching = project.watch(".", WATCHFILES_FORCE_POLLING="1")
    watching.until(WAITING)
    try:
        (world.project / "src").chmod(0)
        watching.until("cannot be watched any more")
        assert watching.over() == 4
    finally:
        (world.project / "src").chmod(0o755)
