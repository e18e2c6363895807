"""Nothing of an image is ever run by the builder: no module, no library, whatever the image puts in their places."""

from __future__ import annotations

import os
import sys
import sysconfig
from typing import Any

import pytest

from buildkit_py.sandbox.spec import RootFilesystem
from tests.sandbox.conftest import Box

# Modules that Python likes to import late, and directories in which libraries are looked for.
_MODULES = (
    "warnings",
    "traceback",
    "linecache",
    "tokenize",
    "io",
    "os",
    "re",
    "pwd",
    "grp",
    "locale",
    "codecs",
    "contextlib",
    "subprocess",
    "encodings/__init__",
    "encodings/idna",
    "encodings/latin_1",
    "encodings/utf_8",
    "collections/__init__",
    "importlib/__init__",
)
_LIBRARIES = ("libnss_files.so.2", "libnss_files.so", "libnss_systemd.so.2", "libgcc_s.so.1", "libc.so.6")


def _poison() -> dict[str, bytes]:
    """A layer that covers this interpreter's own directories with modules that leave a mark."""
    mark = b"import posix; posix.close(posix.open('/RAN-' + __name__, 0o101))\n"
    places = {sysconfig.get_path("stdlib"), *[path for path in sys.path if path.startswith("/")]}
    places |= {f"/usr/lib/python3.{minor}" for minor in range(11, 15)}
    files = {}
    for place in places:
        for module in _MODULES:
            files[f"{place.lstrip('/')}/{module}.py"] = mark
    for directory in ("lib", "usr/lib", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64"):
        for library in _LIBRARIES:
            files[f"{directory}/{library}"] = b"not a library"
        files[f"{directory}/gconv/gconv-modules"] = b"module INTERNAL X// /RAN 1\n"
    files["etc/ld.so.preload"] = b"/lib/libnss_files.so.2\n"
    files["etc/nsswitch.conf"] = b"passwd: files systemd\ngroup: files systemd\n"
    return files


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"user": "alice:staff"},
        {"user": "nobody"},
        {"cwd": "/no/such/place"},
        {"cwd": "/proc/self/fd/3"},
        {"argv": "nope"},
        {"argv": "/proc/self/exe"},
        {"env": (("LANG", "xx_YY.ISO-8859-7"), ("LD_PRELOAD", "/lib/libnss_files.so.2"), ("PYTHONPATH", "/bad"))},
        {"env": (("bad=name", "x"),)},
        {"network": "none", "read_only_root": True},
    ],
)
@pytest.mark.attack("S19", "S20")
def test_an_image_with_poisoned_modules(box: Box, fields: dict[str, Any]) -> None:
    if fields.get("user") == "alice:staff" and box.single_id:
        pytest.skip("no other user is mapped")
    poison = _poison()
    argv = str(fields.get("argv", "true"))
    rest: dict[str, Any] = {name: value for name, value in fields.items() if name != "argv"}
    result = box.run(argv, layers=[poison], **rest)
    assert not [path for path in result.upper if path.startswith("RAN")], result
    assert "internal" not in result.error
    if argv == "true" and not result.error:
        assert (result.code, result.err) == (0, "")


def test_the_poison_would_be_seen(box: Box) -> None:
    """An interpreter inside that does import the image's modules leaves the marks that the other test looks for."""
    if not os.path.exists("/usr/bin/python3"):
        pytest.skip("no Python of the system")
    result = box.run(
        "/usr/bin/python3",
        "-I",
        "-S",
        "-c",
        "import warnings",
        root=RootFilesystem(host=True, upper="@"),
        layers=[_poison_of_usr()],
    )
    assert [path for path in result.upper if path.startswith("RAN")], result


def _poison_of_usr() -> dict[str, bytes]:
    wanted = {name: data for name, data in _poison().items() if name.startswith("usr/lib/python3")}
    return {name: data for name, data in wanted.items() if name.endswith("/warnings.py")}
