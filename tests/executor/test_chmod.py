"""`--chmod`, compared with chmod(1) of this machine."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from buildkit_py.errors import BuildfileError
from buildkit_py.executor.chmod import is_octal, parse

CHANGES = [
    "0", "7", "755", "0644", "04755", "7777", "u=rwX,go=rX", "+x", "-x", "a+x", "u+s", "g+s", "ug+s", "+t", "o+t",
    "a-s", "go=", "g=u", "o=g", "u+x-w", "a=r", "=rw", "+w", "-w", "u=rwx,g+w,o-rwx", "go-X", "+X", "u-s,g-s",
    "=", "o=u",
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_it_does_what_chmod_does(change: str, tmp_path: Path) -> None:
    for old in (0o644, 0o755, 0o600, 0o000, 0o4711, 0o2770, 0o1777, 0o070):
        for directory in (False, True):
            path = tmp_path / f"{old:o}-{directory}"
            path.mkdir() if directory else path.touch()
            path.chmod(old)
            subprocess.run(f'umask 022; chmod -- "{change}" "{path}"', shell=True, check=False, capture_output=True)
            expected = stat.S_IMODE(path.stat().st_mode)
            if is_octal(change) and directory:
                expected = int(change, 8)  # chmod(1) keeps a directory's set-id bits; --chmod says all there is
            assert oct(parse(change)(old, directory)) == oct(expected), (oct(old), directory)


@pytest.mark.parametrize("bad", ["888", "10000", "rwx", "u", "u~x", "u+q", ",", "u+x,", "a+ux", "+ 1", "0o755", "-1"])
def test_what_is_no_mode_is_refused(bad: str) -> None:
    with pytest.raises(BuildfileError, match=r"invalid chmod parameter: .* between 0 and 07777"):
        parse(bad)
