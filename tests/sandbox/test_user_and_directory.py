"""Who the command runs as, and where."""

from __future__ import annotations

import pytest

from buildkit_py.sandbox.spec import SandboxMount
from tests.sandbox.conftest import Box


@pytest.mark.parametrize(
    ("user", "ids", "home"),
    [
        ("", "0 0 0", "/root"),
        ("root", "0 0 0", "/root"),
        ("alice", "1000 1001 1001 50 51", "/home/alice"),
        ("1000", "1000 1001 1001 50 51", "/home/alice"),
        ("alice:staff", "1000 50 50", "/home/alice"),
        ("alice:77", "1000 77 77", "/home/alice"),
        ("1000:0", "1000 0 0", "/home/alice"),
        ("4242", "4242 0 0", "/"),
        ("nohome", "1002 1002 1002", "/"),
    ],
)
def test_users(box: Box, user: str, ids: str, home: str) -> None:
    if box.single_id and not ids.startswith("0"):
        result = box.sh("true", user=user)
        assert result.error == f"cannot become the user `{user}`: invalid argument"
        assert "/etc/subuid" in result.hint
        return
    script = "echo $(id -u) $(id -g) $(grep Groups: /proc/self/status | cut -f2); echo $HOME"
    numbers, place = box.lines(script, user=user)
    wanted = ids.split()
    got = numbers.split()
    assert place == home
    assert got[:2] == wanted[:2]
    if not box.single_id:
        assert sorted(got[2:]) == sorted(wanted[2:])


def test_ids_that_are_not_mapped_are_told_with_those_that_are(box: Box) -> None:
    if not box.userns:
        return  # root has them all
    unmapped = 1 if box.single_id else 2_000_000_000
    hint = "only one user id is mapped here" if box.single_id else "the ids 0 to "
    result = box.sh("true", user=str(unmapped))
    assert result.error == f"cannot become the user `{unmapped}`: invalid argument"
    assert result.hint.startswith(hint)
    secret = SandboxMount("file", "/run/secrets/s", data=b"s", uid=unmapped, gid=6, mode=0o400)
    result = box.sh("true", mounts=(secret,))
    assert result.error == f"cannot give the file to {unmapped}:6: invalid argument"
    assert result.hint.startswith(hint)


def test_the_host_database_is_not_asked(box: Box) -> None:
    result = box.sh("true", user="daemon")
    assert "unable to find user daemon" in result.error


@pytest.mark.parametrize("data", [b"", b"\n:::\nroot\nroot:x:zero:0::/:\n", b"\xff\xfe:x:1:1::/:\n" * 10])
@pytest.mark.attack("S18")
def test_odd_passwd_files(box: Box, data: bytes) -> None:
    assert box.lines("id -u", layers=[{"etc/passwd": data, "etc/group": data}], user="0") == ["0"]


def test_a_fifo_as_passwd_does_not_block(box: Box) -> None:
    result = box.sh("true", layers=[{"etc/passwd": b"->/proc/1/fd/0"}], user="root")
    assert result.error  # a magic link is refused, whatever it leads to


def test_a_missing_directory_is_made_for_good(box: Box) -> None:
    result = box.sh("pwd; touch here", cwd="/a/b")
    assert result.out == "/a/b\n"
    assert sorted(result.upper) == ["a", "a/b", "a/b/here"]
    assert result.upper["a"][:3] == (0o040755, 0, 0)


def test_a_directory_behind_links(box: Box) -> None:
    layer = {"link": b"->/var/empty", "out": b"->../../../../etc", "loop": b"->/loop", "gone": b"->/new/place"}
    assert box.lines("pwd -P", cwd="/link", layers=[layer]) == ["/var/empty"]
    assert box.lines("pwd -P", cwd="/out", layers=[layer]) == ["/etc"]
    assert box.lines("pwd -P", cwd="/gone/x", layers=[layer]) == ["/new/place/x"]
    assert "too many" in box.sh("true", cwd="/loop", layers=[layer]).error


@pytest.mark.parametrize("cwd", ["/proc/self/fd/8", "/proc/1/cwd", "/proc/self/root/etc", "/link", "relative"])
@pytest.mark.attack("S1")
def test_no_way_out_through_the_directory(box: Box, cwd: str) -> None:
    result = box.sh("pwd; ls ..", cwd=cwd, layers=[{"link": b"->/proc/self/fd/9"}])
    assert result.error.startswith(("cannot enter the working directory", "enter the working directory"))
