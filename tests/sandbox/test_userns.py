"""Entering a user namespace: what is mapped, and what is said where it cannot be."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from buildkit_py.sandbox import userns
from tests.sandbox.conftest import USER, WITHOUT_RANGE, Box, start_as

_SHOW = """
import sys, os
sys.path.insert(0, sys.argv[1])
from buildkit_py.errors import SandboxError
from buildkit_py.sandbox import userns
try:
    first = userns.enter()
except SandboxError as error:
    print("ERROR", error.message, "|", error.hint)
    raise SystemExit
again = userns.enter()
print(first.privileged, first.userns, first.single_id, first.uid, again.userns, again.single_id, again.uid)
print(os.getuid(), os.getgid(), userns.overlay_xattr(), first.why)
"""


def _show(mode: str, place: Path, package: Path, *before: str) -> list[str]:
    command = [*before, *start_as(mode, place, ["-c", _SHOW, str(package)])]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_root_stays_as_it_is(place: Path, package_copy: Path) -> None:
    first, second = _show("root", place, package_copy)
    if userns.in_user_namespace():
        assert first.startswith("False True")
    else:
        assert first == "True False False 0 False False 0"
        assert second == "0 0 trusted.overlay. "


def test_a_user_with_a_range(place: Path, package_copy: Path) -> None:
    first, second = _show("range", place, package_copy)
    uid = first.split()[3]
    assert first == f"False True False {uid} True False {uid}"
    assert second == "0 0 user.overlay. "


def test_a_user_without(place: Path, package_copy: Path) -> None:
    first, second = _show("single", place, package_copy)
    assert first == "False True True 54321 True True 54321"
    assert second.startswith("0 0 user.overlay. /etc/subuid has no range for this user: as root, echo 54321:")


def test_a_user_who_may_have_no_more_processes_or_files(place: Path, package_copy: Path) -> None:
    """One with a range needs another process, which stays outside."""
    for limit in ("RLIMIT_NPROC, (1, 1)", "RLIMIT_NOFILE, (5, 5)"):
        limited = f"import resource; resource.setrlimit(resource.{limit})\n"
        script = _SHOW.replace("try:\n", limited + "try:\n", 1)
        command = start_as("range", place, ["-c", script, str(package_copy)])
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.startswith("ERROR cannot start the process that maps this user's ids: "), done


def test_the_limits_of_a_single_id(box: Box) -> None:
    result = box.sh("touch /f; chown 1:1 /f; chgrp 50 /f")
    if box.single_id:
        assert result.err.count("Invalid argument") == 2
        assert "range" in box.why
    else:
        assert (result.code, result.err) == (0, "")
        assert result.upper["f"][1:3] == (1, 50)


def test_files_of_the_layer_belong_to_mapped_ids(box: Box) -> None:
    result = box.sh(
        "mkdir -m 750 /d; echo x > /d/f; ln -s f /d/l; mkdir -p /d/e; rm -rf /var; mkdir /var; touch /var/x"
    )
    assert result.upper["d"][:3] == (0o040750, 0, 0)
    assert result.upper["d/l"][3] == b"f"
    assert "var/x" in result.upper
    assert box.lines("ls /var", layers=[{"var/y": b""}]) == ["empty", "y"]


def test_refusal_names_the_setting(place: Path, package_copy: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("root sets the limit")
    # The limit belongs to the parent namespace of the one to be made, so it can be tried out in a namespace.
    script = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    command = ["unshare", "--user", "--map-users=all", "--map-groups=all", "sh", "-c", script, "sh"]
    lines = _show("single", place, package_copy, *command)
    assert lines == [
        "ERROR this user may not make a user namespace: no space left on device | "
        "as root: sysctl -w user.max_user_namespaces=15000"
    ]


def test_ranges_by_name_and_number(tmp_path: Path) -> None:
    path = tmp_path / "subuid"
    path.write_text("other:1:2\nme:100000:65536\n1000:300000:10\nme:bad:1\nme:5:0\nbroken\n")
    assert userns.read_ranges(str(path), "me", 1000) == [(100000, 65536), (300000, 10)]
    assert userns.read_ranges(str(tmp_path / "none"), "me", 1000) == []


_REFUSED = """
import sys
sys.path.insert(0, sys.argv[1])
from buildkit_py.errors import StoreError
from buildkit_py.sandbox.userns import enter
from buildkit_py.store.store import Store
enter()
try:
    Store.open(sys.argv[2])
except StoreError as problem:
    print(problem.message)
"""


@pytest.mark.parametrize("mode", ["range", "single"])
def test_a_store_of_another_user_is_refused_with_the_numbers_of_outside(
    mode: str, place: Path, package_copy: Path
) -> None:
    command = start_as(mode, place, ["-c", _REFUSED, str(package_copy), "/etc"])
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    numbers = {"range": pwd.getpwnam(USER).pw_uid, "single": WITHOUT_RANGE}
    user = numbers[mode] if os.geteuid() == 0 else os.geteuid()
    assert out == f"the store belongs to another user, and this is user {user}\n"
