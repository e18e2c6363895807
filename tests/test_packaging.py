"""What people install: the wheel and the source distribution, and the checkout itself as an editable install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("buildkit_py", "grammar", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE")
# The tests build and install in one process: each takes seconds, and the second needs what the first made.
pytestmark = pytest.mark.xdist_group("packaging")


def _run(*command: str | Path, cwd: Path, **env: str) -> str:
    # Nothing of the environment says where modules are: what is imported is what was installed.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYBUILD", "PIP_"))}
    done = subprocess.run(command, cwd=cwd, env={**clean, **env}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _sources(to: Path) -> Path:
    """A copy of what a checkout has for packaging: builds write next to their sources."""
    to.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, to / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, to / part)
    return to


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with both distributions; the wheel is made from the source distribution, as pip would."""
    base = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--no-isolation", "-o", base / "dist", cwd=_sources(base / "src"))
    return base / "dist"


def _environment(at: Path) -> Path:
    """A new environment that finds the dependencies, and the build backend, in the one of the tests."""
    venv.create(at, with_pip=True, symlinks=True)
    site = sysconfig.get_path("purelib", "venv", {"base": str(at), "platbase": str(at)})
    # It sorts last, so what is installed there comes before what the tests' environment has.
    Path(site, "zz-dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return at / "bin"


def _install(bin_directory: Path, *what: str | Path, cwd: Path) -> None:
    options = ("--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed", "-q")
    _run(bin_directory / "python", "-m", "pip", "install", *options, *what, cwd=cwd)


def _works(bin_directory: Path, project: Path) -> None:
    """The command starts, and reads a Buildfile: it has its grammar."""
    script = bin_directory / "pybuild"
    assert script.stat().st_mode & 0o111 == 0o111
    home = {"PYBUILD_HOME": str(project / "store")}
    version = ".".join(map(str, sys.version_info[:3]))
    assert _run(script, "--version", cwd=project, **home) == f"pybuild 0.1.0 (Python {version})\n"
    (project / "Dockerfile").write_text("# What it is.\nFROM scratch AS app\nCOPY file /\n")
    assert "app" in _run(script, "Dockerfile", "--list", cwd=project, **home)
    (project / "file").write_text("content\n")
    _run(script, "build", "-o", "out", ".", cwd=project, **home)
    assert (project / "out/file").read_text() == "content\n"


def test_what_the_distributions_hold(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    (sdist,) = built.glob("*.tar.gz")
    assert wheel.name == "buildkit_py-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(sdist) as tar:
        in_sdist = {name.partition("/")[2] for name in tar.getnames()}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "buildkit_py").rglob("*.py")}
    grammars = {f"buildkit_py/grammar/{path.name}" for path in (ROOT / "grammar").iterdir()}
    assert {"buildkit_py/grammar/buildfile.lark", "buildkit_py/grammar/buildfile.tables"} <= grammars
    wanted = modules | grammars | {"buildkit_py/py.typed"}
    assert wanted <= in_wheel
    assert wanted | {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml"} <= in_sdist
    foreign = {name for name in in_wheel if not name.startswith(("buildkit_py/", "buildkit_py-0.1.0."))}
    assert foreign == set()
    assert not [name for name in in_wheel | in_sdist if "__pycache__" in name or name.startswith("tests")]


def test_the_wheel_works(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    bin_directory = _environment(tmp_path / "venv")
    _install(bin_directory, wheel, cwd=tmp_path)
    where = _run(bin_directory / "python", "-c", "import buildkit_py; print(buildkit_py.__file__)", cwd=tmp_path)
    assert where.startswith(str(tmp_path / "venv"))
    (tmp_path / "project").mkdir()
    _works(bin_directory, tmp_path / "project")


def test_an_editable_install_works(tmp_path: Path) -> None:
    sources = _sources(tmp_path / "src")
    bin_directory = _environment(tmp_path / "venv")
    _install(bin_directory, "-e", sources, cwd=tmp_path)
    where = _run(bin_directory / "python", "-c", "import buildkit_py; print(buildkit_py.__file__)", cwd=tmp_path)
    assert where.strip() == str(sources / "buildkit_py/__init__.py")
    (tmp_path / "project").mkdir()
    _works(bin_directory, tmp_path / "project")
