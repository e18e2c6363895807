"""The short way to pybuild's own modules: what it loads is what Python would load, of sources as they are now."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).parents[2] / "buildkit_py"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A package of that name with little in it, whose compiled files are there."""
    package = tmp_path / "buildkit_py"
    (package / "cli").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    shutil.copy(PACKAGE / "cli" / "own_modules.py", package / "cli")
    (package / "cli" / "__init__.py").write_text("")
    (package / "part").mkdir()
    (package / "part" / "__init__.py").write_text("WHAT = 'a package'\n")
    (package / "part" / "one.py").write_text('"""A module."""\n\nVALUE = 1\n\n\ndef fails():\n    raise ValueError\n')
    _load(tmp_path, "buildkit_py.part.one")
    assert list((package / "part" / "__pycache__").iterdir())
    return tmp_path


_PROGRAM = """
import sys, json
sys.path.insert(0, sys.argv[1])
if sys.argv[2] == "short":
    from buildkit_py.cli import own_modules
    own_modules.install()
import buildkit_py.part
module = __import__(sys.argv[3], fromlist=["x"])
spec = module.__spec__
try:
    module.fails()
except ValueError as problem:
    trace = problem.__traceback__.tb_next
    place = trace.tb_frame.f_code.co_filename, trace.tb_lineno
print(json.dumps({
    "value": module.VALUE, "file": module.__file__, "cached": module.__cached__, "package": module.__package__,
    "doc": module.__doc__, "origin": spec.origin, "name": spec.name, "parent": spec.parent, "place": place,
    "has_location": spec.has_location, "source": spec.loader.get_source(module.__name__),
    "path": list(buildkit_py.part.__path__), "what": buildkit_py.part.WHAT, "init": buildkit_py.part.__file__,
    "short": type(spec.loader).__module__ == "buildkit_py.cli.own_modules",
}))
"""


def _load(place: Path, name: str, how: str = "short", *options: str) -> dict[str, Any]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, *options, "-c", _PROGRAM, str(place), how, name],
        capture_output=True,
        text=True,
        check=True,
        cwd=place,
        env=env,
    )
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded


def test_a_module_is_as_python_would_have_it(copy: Path) -> None:
    ours, theirs = _load(copy, "buildkit_py.part.one"), _load(copy, "buildkit_py.part.one", "usual")
    assert (ours.pop("short"), theirs.pop("short")) == (True, False)
    assert ours == theirs


def test_what_changed_is_noticed(copy: Path) -> None:
    source = copy / "buildkit_py" / "part" / "one.py"
    before = source.stat()
    source.write_text(source.read_text().replace("VALUE = 1", "VALUE = 22"))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert _load(copy, "buildkit_py.part.one")["value"] == 22, "of another size"
    source.write_text(source.read_text().replace("VALUE = 22", "VALUE = 33"))
    os.utime(source, (before.st_atime, before.st_mtime + 5))
    assert _load(copy, "buildkit_py.part.one")["value"] == 33, "of another time"
    assert _load(copy, "buildkit_py.part.one")["value"] == 33


@pytest.mark.parametrize("damage", ["absent", "empty", "version", "flags"])
def test_a_compiled_file_that_is_not_whole_is_made_again(copy: Path, damage: str) -> None:
    (compiled,) = (copy / "buildkit_py" / "part" / "__pycache__").glob("one.*")
    data = compiled.read_bytes()
    if damage == "absent":
        compiled.unlink()
    else:
        ways = {
            "empty": b"",
            "version": b"\0\0\r\n" + data[4:],
            "flags": data[:4] + b"\3" + data[5:8] + bytes(8) + data[16:],  # checked by a hash, and it is the wrong one
        }
        compiled.write_bytes(ways[damage])
    assert _load(copy, "buildkit_py.part.one")["value"] == 1
    assert compiled.read_bytes() == data or damage == "flags"  # such a file is made again as one of its kind


def test_python_that_keeps_compiled_files_elsewhere_goes_its_own_way(copy: Path) -> None:
    assert not _load(copy, "buildkit_py.part.one", "short", "-O")["short"]
    assert not _load(copy, "buildkit_py.part.one", "short", "-X", f"pycache_prefix={copy / 'kept'}")["short"]


def test_what_is_not_there_is_not_found(copy: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(copy)!r})\n"
        "from buildkit_py.cli import own_modules\n"
        "own_modules.install(); own_modules.install()\n"
        "assert sum(one is own_modules._Finder for one in sys.meta_path) == 1\n"
        "import buildkit_py.part.two\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError: No module named 'buildkit_py.part.two'" in done.stderr
