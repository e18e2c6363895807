"""ADD from git: refs, directories, submodules, `.git`, pinned commits, rebuilds, and repositories that mean harm."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.world import World
from tests.git_server import Repository, serve
from tests.needs import need
from tests.web_server import Web, web_server

SOURCE = 4
BUILDFILE = 3
COMMITTED = 1_600_000_000


class Project:
    """A world, a server of repositories, and one repository with some history."""

    def __init__(self, world: World, web: Web, top: Path) -> None:
        self.world = world
        self.web = web
        self.top = top
        self.repository = Repository(top, "repo")
        self.first = self.repository.commit({"a": "one\n", "d/b": "b\n", "run.sh": "#!/bin/sh\n"})
        (self.repository.tree / "run.sh").chmod(0o755)
        (self.repository.tree / "link").symlink_to("a")
        self.second = self.repository.commit({"a": "two\n"})
        self.repository.tag("v1", annotated=True)
        self.repository.tag("light")
        serve(web, top / "served")
        self.url = f"{web.url}/git/repo.git"

    def add(self, words: str, *options: str) -> Path:
        """The filesystem of a build that has one ADD."""
        self.world.write({"Dockerfile": f"FROM scratch\nADD {words.replace('URL', self.url)} /x/\n"})
        return self.world.out(*options) / "x"

    def refused(self, words: str, code: int = SOURCE) -> str:
        """What a build says that must fail."""
        self.world.write({"Dockerfile": f"FROM scratch\nADD {words.replace('URL', self.url)} /x/\n"})
        done = self.world.build(ok=False)
        assert done.returncode == code, done.stderr
        assert "Dockerfile:2:" in done.stderr
        return done.stderr

    def questions(self) -> int:
        """How many requests the server got since this was last asked."""
        count = len(self.web.requests)
        self.web.requests.clear()
        return count


@pytest.fixture
def project(world: World, tmp_path: Path) -> Iterator[Project]:
    need("git")
    with web_server() as web:
        yield Project(world, web, tmp_path)


def test_a_checkout(project: Project) -> None:
    made = project.add("URL")
    assert sorted(os.listdir(made)) == ["a", "d", "link", "run.sh"]
    assert (made / "a").read_text() == "two\n"
    assert os.readlink(made / "link") == "a"
    for path, mode in (("a", 0o644), ("run.sh", 0o755), ("d", 0o755)):
        assert (made / path).stat().st_mode & 0o7777 == mode
    assert (made / "a").stat().st_mtime == COMMITTED


REFS = {
    "URL#main": "two\n",
    "URL#v1": "two\n",
    "URL#light": "two\n",
    "URL#refs/tags/v1": "two\n",
    "URL#refs/heads/other": "other\n",
    "URL#other": "other\n",
    "URL#FIRST": "one\n",
    "URL?ref=other": "other\n",
    "URL?branch=other": "other\n",
    "URL?tag=v1&submodules=false": "two\n",
    "URL?commit=FIRST": "one\n",
    "--checksum=FIRST URL": "one\n",
    "--checksum=FIRST URL#FIRST": "one\n",
}


def test_refs(project: Project) -> None:
    project.repository("checkout", "-q", "-b", "elsewhere")
    project.repository.commit({"a": "other\n"}, branch="other")
    project.repository("push", "-q", "origin", "HEAD:refs/heads/deep/main")
    words = [text.replace("FIRST", project.first).replace("URL", project.url) for text in REFS]
    lines = "".join(f"ADD {text} /{number}/\n" for number, text in enumerate(words))
    project.world.write({"Dockerfile": f"FROM scratch\n{lines}"})
    out = project.world.out()
    assert [(out / str(number) / "a").read_text() for number in range(len(REFS))] == list(REFS.values())


def test_a_directory_of_it(project: Project) -> None:
    assert os.listdir(project.add("URL#:d")) == os.listdir(project.add("URL?subdir=x/../../d")) == ["b"]


def test_a_rebuild_asks_for_the_ref_alone(project: Project) -> None:
    project.add("URL#main")
    project.questions()
    project.world.build()
    assert 0 < project.questions() <= 3, "the refs, and no files"
    third = project.repository.commit({"a": "three\n"})
    assert (project.add("URL#main") / "a").read_text() == "three\n"
    project.questions()
    project.repository("tag", "again")
    project.repository("push", "-q", "origin", "again")
    project.world.write({"Dockerfile": f"FROM scratch\nADD {project.url}#again /x/\n"})
    assert project.world.ran(project.world.build()) == [], f"{third} is here, by whatever name"


def test_a_commit_by_its_id_needs_no_server_again(project: Project) -> None:
    project.add(f"URL#{project.first}")
    project.questions()
    time.sleep(0.05)
    project.world.build()
    time.sleep(0.05)
    assert "up to date" in project.world.build().stderr
    assert project.questions() == 0


def test_servers_that_give_out_no_commit_by_its_id(project: Project) -> None:
    # The older protocol, in which a server may refuse it.
    project.repository.config("uploadpack.allowAnySHA1InWant", "false")
    project.repository.config("protocol.version", "0")
    serve_old = project.web.below["/git/"]

    def page(handler, request):  # type: ignore[no-untyped-def]
        request.headers.pop("git-protocol", None)
        serve_old(handler, request)

    project.web.below["/git/"] = page
    assert (project.add(f"URL#{project.first}") / "a").read_text() == "one\n"
    assert (project.add(f"--checksum={project.second} URL#v1") / "a").read_text() == "two\n"


def test_checksums(project: Project) -> None:
    assert (project.add(f"--checksum={project.second[:10]} URL#main") / "a").read_text() == "two\n"
    says = project.refused(f"--checksum={project.first[:10]} URL#main")
    assert f"`main` is {project.second}, and not {project.first[:10]}" in says
    missing = "0" * 40
    assert f"the repository has no commit {missing}" in project.refused(f"--checksum={missing} URL")


def test_what_is_not_there(project: Project) -> None:
    assert "has no branch and no tag `mian`" in project.refused("URL#mian")
    assert "has no directory `gone`" in project.refused("URL#main:gone")
    assert "has no directory `a`" in project.refused("URL#main:a")
    says = project.refused("URL/../gone.git")
    assert "git could not ask for the refs" in says
    assert "note: git: fatal" in says


def test_the_git_directory(project: Project) -> None:
    made = project.add("--keep-git-dir=true URL#v1")

    def git(*arguments: str) -> str:
        command = ["git", "-c", "safe.directory=*", *arguments]
        done = subprocess.run(command, cwd=made, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert git("rev-parse", "HEAD") == project.second
    assert git("status", "--porcelain") == ""
    assert git("describe", "--tags") == "v1"
    assert git("remote", "get-url", "origin") == project.url
    assert not list((made / ".git").glob("*_HEAD"))
    assert not (made / ".git/hooks").exists()
    assert ".git" in os.listdir(project.add("URL?keep-git-dir=1"))
    assert ".git" not in os.listdir(project.add("--keep-git-dir=false URL"))
    assert os.listdir(project.add("--keep-git-dir URL#main:d")) == ["b"]
    assert "different things" in project.refused("--keep-git-dir=false URL?keep-git-dir=true", BUILDFILE)


def test_submodules(project: Project) -> None:
    inner = Repository(project.top, "inner")
    inner.commit({"inner.txt": "inner\n"})
    outer = Repository(project.top, "outer")
    (outer.tree / ".gitmodules").write_text('[submodule "sub"]\n\tpath = sub\n\turl = ../inner.git\n')
    outer("add", ".gitmodules")
    outer("update-index", "--add", "--cacheinfo", f"160000,{inner('rev-parse', 'HEAD')},sub")
    outer("commit", "-q", "-m", "with a submodule")
    outer("push", "-q", "origin", "HEAD:refs/heads/main")
    url = f"{project.web.url}/git/outer.git"
    assert (project.add(url) / "sub/inner.txt").read_text() == "inner\n"
    assert os.listdir(project.add(f"{url}?submodules=false") / "sub") == []


@pytest.mark.attack("C13")
def test_a_repository_cannot_reach_this_machine(project: Project) -> None:
    """Submodules of local paths and of helper protocols, and links out of it, get nothing of the builder's."""
    secret = project.world.project / "secret"
    subprocess.run(["git", "init", "-q", str(secret)], check=True)
    head = project.repository("rev-parse", "HEAD")
    for target in (f"file://{secret}", str(secret), "ext::sh -c 'touch /tmp/pybuild-was-here'", "-u./x"):
        (project.repository.tree / ".gitmodules").write_text(f'[submodule "s"]\n\tpath = s\n\turl = "{target}"\n')
        project.repository("update-index", "--add", "--cacheinfo", f"160000,{head},s")
        project.repository("add", ".gitmodules")
        project.repository("commit", "-q", "-m", target)
        project.repository("push", "-q", "origin", "HEAD:refs/heads/evil")
        assert "git could not" in project.refused("URL#evil")
    assert not Path("/tmp/pybuild-was-here").exists()
    project.repository("checkout", "-q", "-f", project.second)
    (project.repository.tree / "out").symlink_to("/etc")
    project.repository.commit({}, branch="links")
    assert "has no directory `out`" in project.refused("URL#links:out")


@pytest.mark.attack("C13")
def test_an_address_that_is_refused_is_not_asked(project: Project) -> None:
    assert "does not begin with `-`" in project.refused("URL#--upload-pack=touch${IFS}x", BUILDFILE)
    assert "knows no `unknown`" in project.refused("URL?unknown=1", BUILDFILE)
    assert project.questions() == 0


def test_a_token_goes_to_its_server_and_into_no_command_line(project: Project) -> None:
    project.world.write({"Dockerfile": f"FROM scratch\nADD {project.url} /x/\n"})
    project.world.build("--secret", "id=GIT_AUTH_TOKEN,env=T", T="s3cret")
    seen = {request.headers.get("authorization") for request in project.web.requests}
    assert seen == {"basic eC1hY2Nlc3MtdG9rZW46czNjcmV0"}
    kept = subprocess.run(["grep", "-r", "s3cret", str(project.world.store)], capture_output=True, check=False)
    assert kept.returncode == 1, kept.stdout


def test_settings_of_the_user_do_not_count(project: Project) -> None:
    project.world.write({".gitconfig": '[url "http://127.0.0.1:1/"]\n\tinsteadOf = http://\n'})
    project.world.write({"Dockerfile": f"FROM scratch\nADD {project.url} /x/\n"})
    project.world.build(HOME=str(project.world.project))


def test_no_git_on_this_machine(project: Project) -> None:
    project.world.write({"Dockerfile": f"FROM scratch\nADD {project.url} /x/\n", "bin/x": ""})
    programs = project.world.project / "bin"
    for name in ("newuidmap", "newgidmap", "setpriv"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    done = project.world.build(ok=False, PATH=str(programs))
    assert done.returncode == SOURCE
    assert "there is no `git` on this machine" in done.stderr
