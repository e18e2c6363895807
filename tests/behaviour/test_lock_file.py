"""`pybuild.lock`: names elsewhere stand for what it says until `pybuild update`; `--locked` and `--offline`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.world import World
from tests.git_server import Repository, serve
from tests.needs import need
from tests.registry_server import registry_server
from tests.web_server import Web, web_server


class Elsewhere:
    """A registry with an image `base:1`, a web server with a file and a repository of git."""

    def __init__(self, world: World, registry: str, web: Web, repository: Repository, layout: Path) -> None:
        self.world = world
        self.base = f"{registry}/base:1"
        self.web = web
        self.repository = repository
        self._layout = layout
        self.push("one")
        web.pages["/file"] = b"one\n"
        repository.commit({"f": "one\n"})
        self.file = f"{web.url}/file"
        self.git = f"{web.url}/git/repository.git"
        world.write({"Dockerfile": f"FROM {self.base}\nADD {self.file} /file\nADD {self.git}#main /git/\n"})

    def push(self, text: str) -> None:
        """Let the tag stand for another image."""
        self.world.write({"base/Dockerfile": f"FROM busybox\nRUN echo {text} > /base\n"})
        context = ("--build-context", f"busybox=oci-layout://{self._layout}")
        home = str(self.world.top / "other-store")
        self.world.run("build", *context, "-t", self.base, "--push", "base", PYBUILD_HOME=home)

    def move(self) -> None:
        """Let everything stand for something else."""
        self.push("two")
        self.web.pages["/file"] = b"second\n"  # of another length: the server says that it is as old
        self.repository.commit({"f": "two\n"})

    def seen(self, *argv: str, store: str = "store") -> tuple[str, str, str]:
        """Build, and look at what each of them was."""
        self.world.run(
            "build", "-o", "out", "--pull", *argv, ".", PYBUILD_HOME=str(self.world.top / store)
        )  # --pull asks for tags where nothing is pinned
        out = self.world.project / "out"
        return tuple((out / name).read_text().strip() for name in ("base", "file", "git/f"))  # type: ignore[return-value]

    @property
    def lock(self) -> Path:
        return self.world.project / "pybuild.lock"


@pytest.fixture
def elsewhere(world: World, base_layout: Path, tmp_path: Path) -> Iterator[Elsewhere]:
    need("docker-registry", "git")
    with registry_server(tmp_path / "registry") as registry, web_server() as web:
        repository = Repository(tmp_path, "repository")
        serve(web, repository.bare.parent)
        yield Elsewhere(world, registry, web, repository, base_layout)


def test_pins_hold_until_they_are_moved(elsewhere: Elsewhere) -> None:
    world = elsewhere.world
    said = world.run("update", ".").stdout.splitlines()
    assert [line.partition(" is ")[0] for line in said] == sorted(
        [elsewhere.base, f"{elsewhere.git}#main", elsewhere.file]
    )
    assert elsewhere.seen("--locked") == ("one", "one", "one")
    elsewhere.move()
    assert elsewhere.seen() == ("one", "one", "one")
    # A machine that has never seen it gets the image and the commit; a file of the web has gone with its content.
    done = world.run("build", ".", ok=False, PYBUILD_HOME=str(world.top / "new-machine"))
    assert done.returncode == 4
    assert "pybuild.lock" in done.stderr
    moved = world.run("update", ".", elsewhere.file).stdout
    assert moved.startswith(f"{elsewhere.file} moved from sha256:")
    assert elsewhere.seen() == ("one", "second", "one")
    assert len(world.run("update", ".").stdout.splitlines()) == 2
    assert elsewhere.seen() == ("two", "second", "two")
    assert "nothing moved: 3 pins" in world.run("update", ".").stderr


def test_with_a_lock_no_server_is_asked(elsewhere: Elsewhere) -> None:
    world = elsewhere.world
    world.run("update", ".")
    elsewhere.seen()
    elsewhere.web.requests.clear()
    done = world.run("build", "--progress=plain", "--offline", "--locked", ".")
    assert world.ran(done) == []
    assert not elsewhere.web.requests
    # And nothing is left that each build would have to ask for: the second one is answered from memory.
    assert world.run("build", "-q", "--offline", ".").stdout == world.run("build", "-q", "--offline", ".").stdout


def test_without_a_lock_everything_moves(elsewhere: Elsewhere) -> None:
    assert elsewhere.seen() == ("one", "one", "one")
    elsewhere.move()
    assert elsewhere.seen() == ("two", "second", "two")
    assert not elsewhere.lock.exists()


def test_locked_names_what_is_not_pinned(elsewhere: Elsewhere) -> None:
    world = elsewhere.world
    done = world.build("--locked", ok=False)
    assert done.returncode == 4
    assert "Dockerfile:1:1: there is no lock file (`pybuild.lock`)" in done.stderr
    world.run("update", ".")
    text = (world.project / "Dockerfile").read_text()
    world.write({"Dockerfile": text + f"ADD {elsewhere.web.url}/other /other\n"})
    elsewhere.web.pages["/other"] = b"x"
    done = world.build("--locked", ok=False)
    assert done.returncode == 4
    assert f"Dockerfile:4:5: `{elsewhere.web.url}/other` is not pinned in `pybuild.lock`" in done.stderr
    done = world.build()
    assert "warning" in done.stderr
    assert "is not pinned in pybuild.lock" in done.stderr
    world.run("update", ".", f"{elsewhere.web.url}/other")
    world.build("--locked")


def test_a_name_that_nothing_needs_goes(elsewhere: Elsewhere) -> None:
    world = elsewhere.world
    world.run("update", ".")
    world.write({"Dockerfile": f"FROM {elsewhere.base}\n"})
    said = world.run("update", "--dry-run", ".").stdout
    assert said.count("is not needed any more") == 2
    assert "[[http]]" in elsewhere.lock.read_text()
    world.run("update", ".")
    assert list(tomllib.loads(elsewhere.lock.read_text())) == ["version", "image"]


def test_offline_says_what_is_missing(elsewhere: Elsewhere) -> None:
    world = elsewhere.world
    for number, what in enumerate((elsewhere.base, elsewhere.file, elsewhere.git), 1):
        done = world.build("--offline", ok=False)
        assert done.returncode == 4
        assert f"Dockerfile:{number}:" in done.stderr
        assert "--offline" in done.stderr
        assert what in done.stderr
        lines = (world.project / "Dockerfile").read_text().splitlines()
        lines[number - 1] = "FROM scratch" if number == 1 else "ENV A=b"
        world.write({"Dockerfile": "\n".join(lines) + "\n"})
    world.build("--offline")


def test_an_unknown_name_is_refused(elsewhere: Elsewhere) -> None:
    done = elsewhere.world.run("update", ".", "debian:trixie", ok=False)
    assert done.returncode == 2
    assert "`debian:trixie` is nothing that the targets name" in done.stderr
    assert not elsewhere.lock.exists()


def test_a_buildfile_in_python(elsewhere: Elsewhere) -> None:
    world = elsewhere.world
    world.write(
        {
            "Buildfile.py": "from buildkit_py import Image, target\n"
            "@target\n"
            "def other(version: str) -> Image:\n"
            "    return Image(f'nowhere.invalid/other:{version}')\n"
            "@target(default=True)\n"
            "def app() -> Image:\n"
            "    return Image.from_buildfile('Dockerfile')\n"
        }
    )
    world.run("update", ".")
    elsewhere.seen("-f", "Buildfile.py")
    elsewhere.move()
    assert elsewhere.seen("--locked", "-f", "Buildfile.py") == ("one", "one", "one")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = 2\n", "its version is 2"),
        ("versio = 1\n", "its version is None"),
        ("version = 1\nimages = 3\n", "`images` is not known"),
        ("version = 1\nimage = 3\n", "is no list of tables"),
        ('version = 1\n[[image]]\nname = "x"\ndigest = "y"\n', "`y` is no digest"),
        ('version = 1\n[[image]]\ndigest = "y"\n', "has no `name`"),
        ('version = 1\n[[git]]\nurl = "x"\ncommit = "main"\n', "`main` is no id of a commit"),
        ("version = 1\n[[image]\n", "the lock file is wrong"),
        (b"\xff", "the lock file is wrong"),
    ],
)
def test_a_wrong_lock_file_is_an_error(world: World, text: str | bytes, message: str) -> None:
    world.write({"Dockerfile": "FROM scratch\n", "pybuild.lock": text})
    done = world.build(ok=False)
    assert done.returncode == 4
    assert message in done.stderr
    assert "pybuild.lock" in done.stderr


def test_a_damaged_lock_file_is_made_anew(elsewhere: Elsewhere) -> None:
    world = elsewhere.world
    world.run("update", "Dockerfile")
    path = world.project / "pybuild.lock"
    sound = path.read_text()
    path.write_text("<<<<<<< HEAD\n" + sound)
    done = world.run(
        "update", "Dockerfile", elsewhere.base, ok=False
    )  # the others' pins are to stay, and cannot be read
    assert (done.returncode, "make it anew with `pybuild update FILE`" in done.stderr) == (4, True)
    world.run("update", "Dockerfile")
    assert path.read_text() == sound


def test_one_without_pins_is_made_anew_too(world: World) -> None:
    world.write({"Dockerfile": "FROM scratch\n", "pybuild.lock": "no lock file"})
    world.run("update", "Dockerfile")
    assert "version = 1" in (world.project / "pybuild.lock").read_text()


def test_a_command_that_gives_a_variable_stands_on_what_is_pinned(elsewhere: Elsewhere) -> None:
    world = elsewhere.world
    text = (
        f"FROM {elsewhere.base}\nADD {elsewhere.git}#main /git\nLET v = $(cat /git/f)\nRUN echo $v > /v\nOUTPUT /v ./\n"
    )
    world.write({"Dockerfile": text})
    world.run("update", ".")
    world.run("build", ".")
    assert (world.project / "v").read_text() == "one\n"
    elsewhere.move()
    for argv in ((), ("--locked",), ("--no-cache",)):
        world.run("build", *argv, ".")
        assert (world.project / "v").read_text() == "one\n"
    world.run("update", ".")
    world.run("build", ".")
    assert (world.project / "v").read_text() == "two\n"
