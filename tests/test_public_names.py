"""The names a Buildfile.py imports, and that importing the package itself costs nothing."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

import buildkit_py

NAMES = [
    "File",
    "Image",
    "Service",
    "Template",
    "Text",
    "Tree",
    "bind",
    "cache",
    "context",
    "env",
    "expand",
    "file",
    "fmt",
    "git",
]
NAMES += ["host", "platform_arg", "read", "remote", "scratch", "secret", "service", "ssh", "target", "tmpfs"]


@pytest.mark.parametrize("name", NAMES)
def test_public_names(name):
    assert getattr(buildkit_py, name) is getattr(buildkit_py, name)
    assert name in dir(buildkit_py)


@pytest.mark.parametrize("name", NAMES)
def test_no_module_has_a_public_name(name):
    """Its import would put it in the place of what a Buildfile.py means."""
    assert find_spec(f"buildkit_py.{name}") is None


def test_unknown_names():
    with pytest.raises(AttributeError, match="has no attribute 'nope'"):
        _ = buildkit_py.nope


def test_importing_the_package_imports_nothing_else():
    code = "import sys; before = set(sys.modules); import buildkit_py; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['__future__', 'buildkit_py']"


def test_a_door_without_complex_types_does_not_load_typeguard(tmp_path):
    (tmp_path / "Buildfile.py").write_text(
        "from buildkit_py import Image, target\n\n@target\ndef app(a: str = '', b: int = 1) -> Image:\n"
        "    return Image('x').run(a)\n"
    )
    code = (
        "import sys\nfrom buildkit_py.frontend.python.load import load\n"
        "class I:\n    def file(self, p): pass\n    def env(self, n, v): pass\n    def impure(self, w): pass\n"
        "m = load(sys.argv[1], I())\nm.default()(a='x')\n"
        "print([n for n in ('typeguard', 'typing', 'inspect', 'lark', 'asyncio') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "Buildfile.py")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_all_names_come_with_a_star():
    names: dict[str, object] = {}
    exec("from buildkit_py import *", names)
    assert set(NAMES) <= set(names)
