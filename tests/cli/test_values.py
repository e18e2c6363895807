"""Values of options that have a form of their own."""

from __future__ import annotations

import pytest

from buildkit_py.api.request import Secret
from buildkit_py.cli import values
from buildkit_py.errors import UsageError


def test_pair():
    assert values.pair("a=b=c", "--x") == ("a", "b=c")
    for wrong in ("a", "=b", ""):
        with pytest.raises(UsageError, match="is no `NAME=value`"):
            values.pair(wrong, "--x")


def test_from_environment():
    env = {"HERE": "yes"}
    got = values.from_environment(["A=1", "HERE", "GONE", "E="], "--x", env)
    assert got == (("A", "1"), ("HERE", "yes"), ("E", ""))
    with pytest.raises(UsageError, match="has no name"):
        values.from_environment(["=1"], "--x", env)


def test_env_file(tmp_path):
    path = tmp_path / "env"
    path.write_text('# note\n\nA=1 # kept\n  B="as it stands"\nHERE\nGONE\n')
    assert values.env_file(str(path), {"HERE": "x"}) == (("A", "1 # kept"), ("B", '"as it stands"'), ("HERE", "x"))
    path.write_text("A=1\nbad name=2\n")
    with pytest.raises(UsageError) as caught:
        values.env_file(str(path), {})
    assert str(caught.value) == f"{path}:2: `bad name` is no name of a variable"
    with pytest.raises(UsageError, match="could not be read: No such file"):
        values.env_file(str(tmp_path / "none"), {})
    path.write_bytes(b"A=\xff")
    with pytest.raises(UsageError, match="it is no UTF-8"):
        values.env_file(str(path), {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id=a,src=f", Secret("a", file="f")),
        ("id=a,source=f", Secret("a", file="f")),
        ("src=f,id=a", Secret("a", file="f")),
        ("id=a,env=TOKEN", Secret("a", env="TOKEN")),
        ("type=env,id=a,src=TOKEN", Secret("a", env="TOKEN")),
        ("id=a,type=env,env=TOKEN", Secret("a", env="TOKEN")),
        ("id=TOKEN", Secret("TOKEN", env="TOKEN")),
        ("id=f", Secret("f", file="f")),
        ("id=f,scan=false", Secret("f", file="f", scan=False)),
        ("id=f,scan=true", Secret("f", file="f")),
        ('id=a,"src=with,comma"', Secret("a", file="with,comma")),
    ],
)
def test_secret(tmp_path, text, expected):
    (tmp_path / "f").write_text("x")
    (tmp_path / "with,comma").write_text("x")
    got = values.secret(text, {"TOKEN": "t"}, str(tmp_path))
    if expected.file:
        expected = expected.replace(file=f"{tmp_path}/{expected.file}")
    assert got == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("src=f", "has no `id`"),
        ("id=a,src=gone", "which is no file"),
        ("id=gone", "which is no file"),
        ("id=a,env=GONE", "`\\$GONE`, which is not set"),
        ("id=a,src=f,env=TOKEN", "names a file and a variable"),
        ("id=f,scan=no", "`scan` is `true` or `false`"),
        ("id=a,type=socket", "has the type `socket`"),
        ("id=a,scr=f", "`scr=f` is not understood"),
        ("a", "`a` is not understood"),
    ],
)
def test_wrong_secret(tmp_path, text, message):
    (tmp_path / "f").write_text("x")
    with pytest.raises(UsageError, match=message):
        values.secret(text, {"TOKEN": "t"}, str(tmp_path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("db:10.0.0.1", ("db", "10.0.0.1")),
        ("db=10.0.0.1", ("db", "10.0.0.1")),
        ("db:::1", ("db", "::1")),
        ("db:[::1]", ("db", "::1")),
        ("db=fe80::1", ("db", "fe80::1")),
    ],
)
def test_host(text, expected):
    assert values.host(text) == expected


@pytest.mark.parametrize("text", ["db", ":1.2.3.4", "db:", "db:nowhere", "db:1.2.3", "db:10.0.0.1\nevil"])
def test_wrong_host(text):
    with pytest.raises(UsageError):
        values.host(text)


def test_volume(tmp_path):
    (tmp_path / "data").mkdir()
    cwd = str(tmp_path)
    assert values.volume("./data:/d", cwd) == (f"{cwd}/data", "/d", False)
    assert values.volume(f"{cwd}/data:/d/:ro", cwd) == (f"{cwd}/data", "/d", True)
    assert values.volume(".:/d:rw,z", cwd) == (cwd, "/d", False)
    assert values.volume("data:/d/:ro", cwd) == ("data", "/d", True), "the name of a volume, and no path"
    for wrong in ("/d", "./data", "./data:d", "./data:/", "_data:/d", "./gone:/d", "./data:/d:rx"):
        with pytest.raises(UsageError, match="`-v "):
            values.volume(wrong, cwd)


def test_numbers():
    assert values.count("4", "-j") == 4
    assert values.epoch("0") == 0
    assert values.epoch("") is None
    for wrong in ("0", "-1", "x", "1.5", "²"):
        with pytest.raises(UsageError):
            values.count(wrong, "-j")
    for wrong in ("-1", "x", "1.5", " 1"):
        with pytest.raises(UsageError):
            values.epoch(wrong)
