"""Texts that the image they are given to expands."""

import pytest

from buildkit_py import expand
from buildkit_py.errors import BuildfileError
from buildkit_py.graph.op import CopyPath, Inline, Mount
from tests.frontend.python.door import Door, image


def test_an_image_expands_out_of_its_own_variables(tmp_path):
    made = image(
        tmp_path,
        """(Image("base").arg(V="1.2").env(PATH=expand("/opt/bin:$PATH"), A=expand("'$V' \\\\$V ${V%.*} ${NO:-no}"))
        .workdir(expand("/w/$V")).user(expand("u$V")).volume(expand("/v$V")).stop_signal(expand("${S:-INT}"))
        .expose(expand("8$NO 81"), 443).label({expand("l$V"): expand("${V/./-}")}))""",
    )
    assert made.config.env == (("PATH", "/opt/bin:/bin"), ("A", "$V $V 1 no"))
    assert made.config.working_dir == "/w/1.2"
    assert made.config.user == "u1.2"
    assert made.config.volumes == ("/v1.2",)
    assert made.config.stop_signal == "INT"
    assert made.config.ports == ("8/tcp", "81/tcp", "443/tcp")
    assert made.config.labels == (("l1.2", "1-2"),)


def test_copies_and_mounts_expand(tmp_path):
    made = image(
        tmp_path,
        """(Image("base").arg(D="d", O="5:6").copy(
            [context(".")[expand("$D/*"), "x"], file("F", expand("it's $D\\n", raw=True))],
            expand("/$D/"), chown=expand("$O"), chmod=expand("${M:-700}")))""",
    )
    assert made.step.op.items == (CopyPath("d/*"), CopyPath("x"), Inline("F", b"it's d\n"))
    assert (made.step.op.dest, made.step.op.owner, made.step.op.mode) == ("/d/", "5:6", "700")
    made = image(
        tmp_path,
        """Image("base").arg(D="d").run("x", mounts=[cache(expand("/$D"), id=expand("i$D")), tmpfs(expand("$D")),
            bind(context(".")[expand("$D")], expand("/in/$D")), secret(expand("$D"), target=expand("/s/$D"))])""",
    )
    assert made.step.op.mounts == (
        Mount("cache", "/d", read_only=False, id="id"),
        Mount("tmpfs", "/d", read_only=False),
        Mount("bind", "/in/d", 0, "/d", True),
        Mount("secret", "/s/d", id="d", required=True),
    )


def test_given_the_values_it_is_worked_out_at_once():
    assert expand("python:${V%.*}-$X", {"V": "3.12", "X": None}) == "python:3-"
    assert expand('"$V"', {"V": "x"}, raw=True) == '"x"'
    assert expand("C:\\`$V", {}, escape="`") == "C:\\$V"
    with pytest.raises(BuildfileError, match="need it"):
        expand("${V?need it}", {})


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ('str(expand("$A"))', "a text to expand has no value before the image that it is given to is known"),
        ("f\"{expand('$A')}\"", "a text to expand has no value"),
        ('fmt("{}", expand("$A"))', "a text to expand has no value"),
        ("expand(5)", "`text` of expand() must be str, got int 5"),
        ('expand("a", 5)', "the values of expand() are a dict of str, got int 5"),
        ('expand("a", {"b": 5})', "`b` of expand() must be str, got int 5"),
        ('expand("a", escape="x")', "`escape` of expand() is a backslash or a backtick"),
        ('scratch().env(A=expand("${A"))', "missing `}` in `${A`"),
        ('scratch().expose(expand("${A:-x}"))', "`x` is not a port"),
        ('scratch().copy(context(".")["a"][expand("b")])', "cannot be narrowed by a text that is yet to be expanded"),
        ('secret(expand("$A"))', "secret() of an id to expand needs a target"),
    ],
)
def test_wrong_use(tmp_path, expression, message):
    with pytest.raises(BuildfileError) as caught:
        Door(tmp_path, f"@target\ndef app():\n    return {expression}\n").one()
    assert message in caught.value.message
    assert (caught.value.at.file, caught.value.at.line) == ("Buildfile.py", 4)


def test_undefined_variables_are_told(tmp_path):
    told = []
    Door(
        tmp_path,
        '@target\ndef app():\n    return scratch().env(FOO="1").env(A=expand("$FO"))\n',
        notice=lambda message, at, hint, rule: told.append((message, str(at), hint)),
    ).one()
    assert told == [("the variable `FO` is not defined", "Buildfile.py:4 in app()", "did you mean `FOO`?")]
