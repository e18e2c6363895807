"""`pybuild convert` from outside."""

from __future__ import annotations

from tests.cli.process import pybuild

TEXT = "ARG V=1\nFROM scratch AS one\nCOPY a /a\nFROM one\nARG V\nENV A=$V\n"


def test_the_text_is_printed_or_written(tmp_path):
    (tmp_path / "Dockerfile").write_text(TEXT)
    (tmp_path / "a").write_text("a")
    printed = pybuild(tmp_path, "convert", ".")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert 'def default(v: str = "1") -> Image:' in printed.stdout
    written = pybuild(tmp_path, "convert", "Dockerfile", "-o", "Buildfile.py")
    assert (written.returncode, written.stdout, written.stderr) == (0, "", "")
    assert (tmp_path / "Buildfile.py").read_text() == printed.stdout
    again = pybuild(tmp_path, "convert", "-f", "Dockerfile", ".", "--output=Buildfile.py")
    assert again.returncode == 7
    assert "Buildfile.py: there is such a file already" in again.stderr
    (tmp_path / "Buildfile.py").write_text("old")
    assert pybuild(tmp_path, "convert", "Dockerfile", "-o", "Buildfile.py", "--force").returncode == 0
    assert (tmp_path / "Buildfile.py").read_text() == printed.stdout
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["Buildfile.py", "Dockerfile", "a"]


def test_the_context_is_relative_to_the_new_file(tmp_path):
    (tmp_path / "Dockerfile").write_text(TEXT)
    (tmp_path / "Dockerfile.dockerignore").write_text("x\n")
    (tmp_path / "deep").mkdir()
    done = pybuild(tmp_path, "convert", "Dockerfile", "-o", "deep/Buildfile.py")
    assert done.returncode == 0
    note = "note: copy `Dockerfile.dockerignore` to `deep/Buildfile.py.dockerignore`, where the ignore rules are looked"
    assert done.stderr == f"{note} for\n"
    assert 'src = context("..")' in (tmp_path / "deep/Buildfile.py").read_text()


def test_what_is_refused(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM a\nRUN --device=x y\n")
    (tmp_path / "Buildfile.py").write_text("")
    done = pybuild(tmp_path, "convert", "Dockerfile")
    assert (done.returncode, done.stdout) == (3, "")
    assert (
        "error: Dockerfile:2:5: RUN --device has no equivalent in a Buildfile.py\n  RUN --device=x y\n" in done.stderr
    )
    assert pybuild(tmp_path, "convert", ".").returncode == 2  # finds the Buildfile.py
    assert pybuild(tmp_path, "convert", "-").returncode == 2
    assert pybuild(tmp_path, "convert", "https://host.invalid/repo.git").returncode == 2
    assert pybuild(tmp_path, "convert", "gone").returncode == 4
    assert pybuild(tmp_path, "convert", "Dockerfile", "-o", "no/x.py").returncode == 3
    (tmp_path / "Dockerfile").write_text(TEXT)
    done = pybuild(tmp_path, "convert", "Dockerfile", "-o", "no/x.py")
    assert (done.returncode, "the file cannot be written: No such file" in done.stderr) == (7, True)
