"""Contexts from git, from the web and on standard input, and named contexts from there."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit_py.api.remote_context import is_archive
from tests.behaviour.world import INTERNAL_ERROR, World
from tests.git_server import Repository, serve
from tests.needs import need
from tests.web_server import Web, web_server, with_etag

FILES = {
    "Dockerfile": "FROM scratch\nCOPY . /all/\nADD sub/f /f\n",
    "sub/f": "f\n",
    "sub/Dockerfile": "FROM scratch\nCOPY f /from-sub\n",
    "other.Dockerfile": "FROM scratch\nCOPY sub/f /other\n",
    ".dockerignore": "sub\n",
}


def tar_of(files: dict[str, str], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


class Project:
    """A world, a web server, and builds of contexts that are no directories."""

    def __init__(self, world: World, web: Web) -> None:
        self.world = world
        self.web = web
        self.out = world.project / "out"

    def build(self, *argv: str, stdin: bytes = b"", code: int = 0) -> str:
        """`pybuild build … -o out`; what it says on standard error."""
        subprocess.run(["rm", "-rf", str(self.out)], check=True)
        command = self.world.command("build", "--progress=plain", "-o", "out", *argv)
        done = subprocess.run(
            command,
            cwd=self.world.project,
            env=self.world.environment(),
            input=stdin,
            capture_output=True,
            timeout=240,
            check=False,
        )
        said = done.stderr.decode()
        assert done.returncode == code, said
        assert done.returncode != INTERNAL_ERROR
        return said

    def files(self) -> set[str]:
        """The regular files of the output."""
        return {str(path.relative_to(self.out)) for path in self.out.rglob("*") if path.is_file()}


@pytest.fixture
def project(world: World) -> Iterator[Project]:
    with web_server() as web:
        yield Project(world, web)


ALL = {"f", *(f"all/{name}" for name in FILES)}


def test_a_context_from_git(project: Project, tmp_path: Path) -> None:
    need("git")
    repository = Repository(tmp_path, "repo")
    first = repository.commit(FILES)
    serve(project.web, tmp_path / "served")
    url = f"{project.web.url}/git/repo.git"
    project.build(url)
    assert project.files() == ALL, "no ignore file counts, and there is no .git"
    project.build(f"{url}#main:sub")
    assert project.files() == {"from-sub"}
    project.build("-f", "other.Dockerfile", url)
    assert project.files() == {"other"}
    project.build("-f", "-", url, stdin=b"FROM scratch\nCOPY sub /s\n")
    assert project.files() == {"s/f", "s/Dockerfile"}
    project.world.write({"local": "FROM scratch\nCOPY sub/f /by-local\n"})
    project.build("-f", str(project.world.project / "local"), url)
    assert project.files() == {"by-local"}
    project.build("--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1", url)
    assert "all/.git/HEAD" in project.files()
    repository.commit({"Dockerfile": "FROM scratch\nCOPY sub/f /changed\n"})
    project.build(url)
    assert project.files() == {"changed"}, "the branch is asked for at each build"
    project.build(f"{url}#{first}")
    assert project.files() == ALL


def test_a_pinned_context_can_be_answered_by_the_memo(project: Project, tmp_path: Path) -> None:
    need("git")
    repository = Repository(tmp_path, "repo")
    commit = repository.commit(FILES)
    serve(project.web, tmp_path / "served")
    for address, answered in ((f"#{commit}", True), ("#main", False)):
        for _ in range(3):
            time.sleep(0.05)
            done = project.world.run("build", "--progress=plain", f"{project.web.url}/git/repo.git{address}")
        assert ("up to date" in done.stderr) == answered


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_of_the_web(project: Project, mode: str) -> None:
    project.web.pages["/context"] = with_etag(tar_of(FILES, mode))
    project.build(f"{project.web.url}/context")
    assert project.files() == ALL
    project.web.requests.clear()
    project.build("-f", "other.Dockerfile", f"{project.web.url}/context")
    assert project.files() == {"other"}
    assert len(project.web.requests) == 1
    project.web.pages["/context"] = with_etag(tar_of({"Dockerfile": "FROM scratch\nCOPY <<x /new\nx\n"}), '"2"')
    project.build(f"{project.web.url}/context")
    assert project.files() == {"new"}


def test_a_buildfile_of_the_web(project: Project) -> None:
    project.web.pages["/Some.file"] = b"FROM scratch\nCOPY context /itself\nRUM x\n"
    said = project.build(f"{project.web.url}/Some.file?secret", code=3)
    assert f"{project.web.url}/Some.file:3:1: unknown instruction `RUM`" in said
    assert "  RUM x\n" in said
    project.web.pages["/Some.file"] = b"FROM scratch\nCOPY context /itself\n"
    project.build(f"{project.web.url}/Some.file")
    assert project.files() == {"itself"}


def test_a_tar_on_standard_input(project: Project) -> None:
    for mode in ("w", "w:gz"):
        project.build("-", stdin=tar_of(FILES, mode))
        assert project.files() == ALL
    project.build("-f", "other.Dockerfile", "-", stdin=tar_of(FILES))
    assert project.files() == {"other"}
    project.build("-", stdin=tar_of({**FILES, "big": "x" * 3_000_000}))
    assert project.files() == {*ALL, "all/big"}


def test_a_buildfile_on_standard_input(project: Project) -> None:
    project.build("-", stdin=b"FROM scratch\nCOPY <<x /f\nx\n")
    assert project.files() == {"f"}
    project.world.write({"a": "a"})
    project.build("-f", "-", ".", stdin=b"FROM scratch\nCOPY a /\n")
    assert project.files() == {"a"}
    said = project.build("-", stdin=b"FROM scratch\nCOPY a /\n", code=4)
    assert "<stdin>:2:1: this build has no context" in said
    assert "  COPY a /\n" in said
    table = project.world.run("builds").stdout.splitlines()
    assert [row.split()[-2 if row.split()[-1] != "-" else -1] for row in table[1:3]] == ["-", "-"]
    assert project.world.run("why", "--build", table[2].split()[0]).stdout.startswith("-")


def test_named_contexts_from_elsewhere(project: Project, tmp_path: Path) -> None:
    need("git")
    Repository(tmp_path, "repo").commit(FILES)
    serve(project.web, tmp_path / "served")
    project.web.pages["/file"] = b"file\n"
    project.world.write(
        {
            "Dockerfile": "FROM repo AS again\nFROM scratch\nCOPY --from=repo sub/f /1\nCOPY --from=again /sub/f /2\n"
            "COPY --from=file /context /3\n"
        }
    )
    contexts = (f"repo={project.web.url}/git/repo.git#main", f"file={project.web.url}/file")
    project.build(*(f"--build-context={value}" for value in contexts), ".")
    assert project.files() == {"1", "2", "3"}
    said = project.build("--build-context=repo=target:x", "--build-context=file=input:x", ".", code=3)
    assert "target: means something to bake" in said


@pytest.mark.parametrize(
    ("argv", "stdin", "code", "says"),
    [
        (("URL/gone",), b"", 4, "there is no such file"),
        (("ftp://h/x",), b"", 2, "is no address of a context"),
        (("https://",), b"", 3, "`https://` names no host"),
        (("http://[::1",), b"", 3, "`http://[::1` is no URL: Invalid IPv6 URL"),
        (("http://h:99999/x",), b"", 3, "`http://h:99999/x` is no URL: Port out of range"),
        (("URL/r.git#-x",), b"", 3, "does not begin with `-`"),
        (("-f", "x", "-"), b"FROM scratch\n", 2, "`-f` has no place"),
        (("-f", "-", "-"), tar_of(FILES), 2, "cannot both be on standard input"),
        (("-f", "gone", "-"), tar_of(FILES), 4, "there is no file `gone` in the context"),
        (("-f", "sub", "-"), tar_of(FILES), 4, "no regular file, `sub`"),
        (("-f", "../../etc/passwd", "-"), tar_of(FILES), 4, "there is no file `../../etc/passwd`"),
        (("-f", "build.py", "-"), tar_of({"build.py": ""}), 2, "is a program"),
        (("-",), tar_of({"Buildfile.py": "", "x": ""}), 4, "the context has no Buildfile"),
        (("-",), b"", 3, ""),
        (("-",), gzip.compress(b"no tar", mtime=0), 4, "the context has no Buildfile"),
        (("-",), tar_of(FILES)[:2000], 4, "truncated"),
    ],
)
def test_what_is_no_context(project: Project, argv: tuple[str, ...], stdin: bytes, code: int, says: str) -> None:
    said = project.build(*(word.replace("URL", project.web.url) for word in argv), stdin=stdin, code=code)
    assert says in said


@pytest.mark.parametrize("target", ["TOP/Shared", "../../../../../../../../../../../../TOP/Shared"])
@pytest.mark.attack("C8", "C13")
def test_a_buildfile_that_is_a_link_out_of_such_a_context(project: Project, target: str) -> None:
    top = project.world.top
    (top / "Shared").write_text("FROM scratch\n")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        link = tarfile.TarInfo("Dockerfile")
        link.type, link.linkname = tarfile.SYMTYPE, target.replace("TOP", str(top)).replace("//", "/")
        archive.addfile(link)
    assert "the context has no Buildfile" in project.build("-", stdin=out.getvalue(), code=4)


def test_what_a_tar_is_known_by() -> None:
    assert is_archive(tar_of({"x": ""}))
    assert is_archive(gzip.compress(b""))
    assert not is_archive(b"FROM scratch\n" * 100)
    assert not is_archive(bytes(1024))
    assert not is_archive(tar_of({"x": ""})[:100])
