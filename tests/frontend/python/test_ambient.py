import subprocess

import pytest

from buildkit_py.errors import BuildfileError
from tests.frontend.python.door import Door
from tests.needs import need

TEXT = '@target\ndef app():\n    return Image("base").env(V=git.describe())\n'


def test_git_describe(tmp_path):
    need("git")
    run = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(tmp_path)]
    subprocess.run([*run, "init", "-q"], check=True)
    subprocess.run([*run, "commit", "-q", "--allow-empty", "-m", "one"], check=True)
    subprocess.run([*run, "tag", "v1"], check=True)
    door = Door(tmp_path, TEXT)
    assert door.one().config.env[-1] == ("V", "v1")
    assert "git describe" in door.inputs.impurities


def test_git_describe_without_a_repository(tmp_path, monkeypatch):
    need("git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(BuildfileError) as caught:
        Door(tmp_path, TEXT).one()
    assert "git describe failed" in caught.value.message
    assert str(caught.value.at) == "Buildfile.py:4 in app()"
    door = Door(tmp_path, TEXT.replace("describe()", 'describe(default="dev")'))
    assert door.one().config.env[-1] == ("V", "dev")


def test_read_wants_text(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(BuildfileError, match="`binary` is not UTF-8 text"):
        Door(tmp_path, 'read("binary")\n')


def test_the_arguments_of_the_platforms(tmp_path):
    text = (
        '@target\ndef app():\n    return scratch().env(A=platform_arg("TARGETARCH"), V=platform_arg("TARGETVARIANT"))\n'
    )
    made = Door(tmp_path, text, platform="linux/arm/v6").one()
    assert made.config.env[1:] == (("A", "arm"), ("V", "v6"))
    with pytest.raises(BuildfileError, match="there is no predefined argument `TARGETSTAGE`"):
        Door(tmp_path, text.replace("TARGETARCH", "TARGETSTAGE")).one()
    with pytest.raises(BuildfileError, match="the platform is known only while a target is made"):
        Door(tmp_path, 'platform_arg("TARGETARCH")\n' + text)
