"""`--chown`: names from the filesystem that is copied into, numbers as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildkit_py.errors import BuildfileError, ContextError
from buildkit_py.executor.chown import find_owner
from buildkit_py.image.union import Union

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
app:x:77:1000:An app:/srv:/bin/false
short:x
odd:x:many:1:::
55:x:1:2:a name that is a number:/:/
"""
GROUP = b"root:x:0:\nstaff:x:50:app\nshort\n"


@pytest.fixture
def base(tmp_path: Path) -> Union:
    etc = tmp_path / "layer" / "etc"
    etc.mkdir(parents=True)
    (etc / "passwd").write_bytes(PASSWD)
    (etc / "group").write_bytes(GROUP)
    return Union([str(tmp_path / "layer")])


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        ("app", (77, 1000)),
        ("app:staff", (77, 50)),
        ("app:9", (77, 9)),
        ("55", (55, 55)),
        ("55:staff", (55, 50)),
        ("0:0", (0, 0)),
        ("4294967294", (4294967294, 4294967294)),
    ],
)
def test_owners(base: Union, owner: str, expected: tuple[int, int]) -> None:
    assert find_owner(owner, base) == expected


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        ("nosuch", "unable to find user nosuch"),
        ("app:nosuch", "unable to find group nosuch"),
        ("short", "unable to find user short"),
        (":staff", "unable to find user"),
        ("app:", "unable to find group"),
        ("odd", "has no number"),
        ("4294967295", "out of range"),
        ("99999999999", "out of range"),
        ("-1", "unable to find user -1"),
        ("٣", "unable to find user"),
    ],
)
def test_owners_that_are_none(base: Union, owner: str, words: str) -> None:
    with pytest.raises(BuildfileError, match=words):
        find_owner(owner, base)


def test_an_empty_filesystem_knows_numbers_only() -> None:
    assert find_owner("7:8", None) == (7, 8)
    with pytest.raises(BuildfileError, match="unable to find user app") as caught:
        find_owner("app", None)
    assert "as a number" in caught.value.hint


def test_a_link_in_the_image_leads_to_the_image(tmp_path: Path) -> None:
    etc = tmp_path / "layer" / "etc"
    etc.mkdir(parents=True)
    (etc / "passwd").symlink_to("/../../../../etc/shadow")
    with pytest.raises(BuildfileError, match="unable to find user daemon"):
        find_owner("daemon", Union([str(tmp_path / "layer")]))


def test_root_is_known_everywhere(base: Union) -> None:
    for owner in ("root", "root:root", "0:root", "root:0"):
        assert find_owner(owner, None) == find_owner(owner, base) == (0, 0)
    assert find_owner("7:root", None) == (7, 0)


def test_a_huge_passwd_is_refused(tmp_path: Path) -> None:
    etc = tmp_path / "layer" / "etc"
    etc.mkdir(parents=True)
    with (etc / "passwd").open("wb") as out:
        out.truncate(10 << 20)
    with pytest.raises(ContextError, match="more than 4194304 bytes"):
        find_owner("daemon", Union([str(tmp_path / "layer")]))


NAMES = ("app", "root", "www-data", "7", "a b", "é")
LINE = st.builds(
    lambda name, uid, gid, cut: ":".join((name, "x", uid, gid, "", "/", "/bin/sh")[:cut]),
    st.sampled_from(NAMES),
    st.sampled_from(["0", "7", "4294967294"]),
    st.sampled_from(["0", "50"]),
    st.sampled_from([1, 3, 4, 7, 7, 7]),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINE, max_size=6), st.lists(LINE, max_size=6), st.sampled_from(NAMES), st.sampled_from(("", *NAMES)))
def test_owners_are_those_of_the_first_line_of_that_name(
    tmp_path: Path, passwd: list[str], group: list[str], user: str, of: str
) -> None:
    etc = tmp_path / "layer" / "etc"
    etc.mkdir(parents=True, exist_ok=True)
    (etc / "passwd").write_text("\n".join(passwd))
    (etc / "group").write_text("\n".join(group))
    users: dict[str, tuple[int, int]] = {"root": (0, 0)}
    for name, _, uid, gid, *_ in (line.split(":") for line in passwd if line.count(":") >= 3):
        users.setdefault(name, (int(uid), int(gid)))
    groups = {"root": 0}
    for name, _, gid, *_ in (line.split(":") for line in group if line.count(":") >= 2):
        groups.setdefault(name, int(gid))
    wanted = (7, 7) if user == "7" else users.get(user)
    if wanted is not None and of:
        wanted = (wanted[0], 7) if of == "7" else (wanted[0], groups[of]) if of in groups else None
    owner = f"{user}:{of}" if of else user
    if wanted is None:
        with pytest.raises(BuildfileError, match="unable to find"):
            find_owner(owner, Union([str(tmp_path / "layer")]))
    else:
        assert find_owner(owner, Union([str(tmp_path / "layer")])) == wanted
