"""What rpm keeps of packages, for tests: headers made by hand, and a database that rpm itself wrote."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.needs import need

# The types of values, by rpm's numbers.
CHAR, INT32, STRING, STRINGS = 1, 4, 6, 8

SPEC = """\
Name: {name}
Version: {version}
Release: 3
Epoch: 2
Summary: a package of a test
License: none
BuildArch: noarch
%description
%install
mkdir -p %{{buildroot}}/opt/{name}/data %{{buildroot}}/lib
head -c 3000 /dev/zero > %{{buildroot}}/opt/{name}/large
echo more > %{{buildroot}}/opt/{name}/data/more
%files
/opt/{name}
"""


def header(values: Iterable[tuple[int, int, int, bytes]]) -> bytes:
    """A header of values given as (tag, type, count, bytes)."""
    index, data = b"", b""
    for tag, kind, count, value in values:
        data += bytes(-len(data) % 4)
        index += struct.pack(">IIII", tag, kind, len(data), count)
        data += value
    return struct.pack(">II", len(index) // 16, len(data)) + index + data


def written_by_rpm(top: Path, versions: dict[str, str]) -> bytes:
    """The database of a root in which rpm installed packages with these versions; skips the test without rpm."""
    need("rpm", "rpmbuild")
    root, work = top / "rpm-root", top / "rpm-build"
    work.mkdir(parents=True)
    place = ("--root", str(root), "--dbpath", "/var/lib/rpm")
    for name, version in versions.items():
        spec = work / f"{name}.spec"
        spec.write_text(SPEC.format(name=name, version=version))
        subprocess.run(["rpmbuild", "-bb", "-D", f"_topdir {work}", str(spec)], check=True, capture_output=True)
    packages = [str(path) for path in sorted(work.glob("RPMS/noarch/*.rpm"))]
    subprocess.run(["rpm", *place, "-i", "--justdb", "--nodeps", *packages], check=True, capture_output=True)
    return (root / "var/lib/rpm/rpmdb.sqlite").read_bytes()
