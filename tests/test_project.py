"""The project's own rules, as tests: lint, types, import layers, sizes of files, links of the docs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "buildkit_py"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "grammar" not in path.parts)

# From the top down; names on one line do not import each other (docs/explanation/architecture.md).
LAYERS = [
    {"cli"},
    {"report"},
    {"api"},
    {"frontend", "runner"},
    {"solver", "exporter"},
    {"executor", "portable"},
    {"registry", "sandbox"},
    {"store"},
    {"graph", "image"},
    {"events", "config", "http"},
    {"digest", "source_map", "patterns", "freeze", "public_key", "tmpfs_spec", "ci_job"},
    {"wildcards", "byte_size", "whole_number"},
    {"errors", "record", "json_text", "named_tuple", "threads", "whole_file"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_check() -> None:
    _run(sys.executable, "-m", "ruff", "check", ".")


def test_ruff_format() -> None:
    _run(sys.executable, "-m", "ruff", "format", "--check", ".")


@pytest.mark.slow
def test_types() -> None:
    _run(sys.executable, "-m", "mypy", "--no-error-summary")


def _imports(path: Path) -> set[str]:
    text = path.read_text()
    found = re.findall(r"^\s*(?:from|import) buildkit_py\.(\w+)(?:\.(\w+))?", text, re.M)
    named = re.findall(r"^\s*from buildkit_py import (\w+)", text, re.M)
    return {first for first, _ in found} | set(named)


def _part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    part = _part(path)
    if part in ("__init__", "__main__"):
        return  # the public names, lazily, and the command
    for other in _imports(path):
        if other == part or other not in LEVEL:
            continue
        allowed = LEVEL[other] > LEVEL[part]
        # `errors` and `record` are one level, and record imports nothing.
        assert allowed or (part, other) == ("errors", "record"), f"{part} imports {other}"


def test_the_two_doors_share_only_what_lies_between_them() -> None:
    for path in (PACKAGE / "frontend" / "buildfile").rglob("*.py"):
        assert "frontend.python" not in path.read_text(), path


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_holds_one_concept(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 500, "past 500 lines a file wants splitting"
    assert text.startswith(('"""', "#!")) or path.name == "py.typed", "a file opens with the sentence that defines it"
    assert not {"utils", "helpers", "common", "manager"} & set(path.with_suffix("").parts)


def test_the_tests_mirror_the_package() -> None:
    def folders(top: Path, pattern: str) -> set[str]:
        return {str(path.parent.relative_to(top)) for path in top.rglob(pattern)}

    package, tests = folders(PACKAGE, "*.py"), folders(ROOT / "tests", "test_*.py")
    # Tests of the whole: attacks, what it does, how fast, what must stay as it is, any input, any change, and others.
    assert tests - package == {"attacks", "behaviour", "bench", "fuzz", "golden", "mutations", "peers"}
    assert package - tests <= {"graph"}, "golden/ has the tests of graph"


# What the process that enters a root may import, and the first tier of the command line: nothing else, ever.
SMALL = {
    "sandbox/init.py": {"ctypes", "os", "sys", "marshal", "select", "_signal", "_socket", "buildkit_py"},
    "store/scan.py": {"marshal", "posix", "_struct"},
    "store/checksum.py": {"_blake2"},
}


@pytest.mark.parametrize("name", SMALL)
def test_small_modules_stay_small(name: str) -> None:
    text = (PACKAGE / name).read_text()
    top = set(re.findall(r"^(?:import|from) (\w+)", text, re.M)) - {"__future__"}
    assert top <= SMALL[name]


def test_links_of_the_docs_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert pages
    broken = []
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken


def test_the_command_and_the_distribution_have_one_version() -> None:
    from buildkit_py.cli.first_tier import VERSION

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_the_grammar_is_in_the_package() -> None:
    link = PACKAGE / "grammar"
    assert link.is_symlink()
    assert link.resolve() == ROOT / "grammar"
