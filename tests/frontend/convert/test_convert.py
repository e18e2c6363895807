"""What a converted file looks like, that it means the same with every argument, and what cannot be converted."""

from __future__ import annotations

import ast
import textwrap

import hypothesis
import pytest
from hypothesis import strategies as st

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.python.load import load
from buildkit_py.frontend.python.lower import call
from buildkit_py.frontend.target import Options
from tests.frontend.convert.both import AnyImage, as_buildfile, as_python, convert_text, shape
from tests.frontend.fakes import SeenInputs


def body(text):
    """The converted text from its first function on."""
    return convert_text(textwrap.dedent(text).lstrip("\n")).partition("\n\n\n")[2]


def test_a_whole_file():
    text = """
        # syntax=docker/dockerfile:1
        # The interpreter we build with
        ARG PYTHON=3.12

        # a comment by itself

        # deps our "dependencies"
        # and more of them
        FROM --platform=$BUILDPLATFORM python:${PYTHON}-slim AS deps
        ARG TARGETARCH
        # install
        RUN apt-get update && apt-get install -y --no-install-recommends curl ca-certificates build-essential \\
            # for the wheels
            && rm -rf /var/lib/apt/lists/*
        RUN --mount=type=cache,target=/root/.cache --mount=type=secret,id=token uv sync --arch $TARGETARCH

        FROM deps
        COPY --from=deps --chown=app /out/${PYTHON} "/b" /x/
        COPY <<EOF /etc/app.conf
        name = "$NAME"
        EOF
        EXPOSE 8000 53/udp
        CMD ["app"]
        # the end
    """
    assert (
        convert_text(textwrap.dedent(text).lstrip("\n"), context="..")
        == '''\
from buildkit_py import Image, cache, expand, file, platform_arg, secret, target

# The interpreter we build with


# a comment by itself
@target
def deps(python: str = "3.12") -> Image:
    """our "dependencies"

    and more of them
    """
    return (
        Image(f"python:{python}-slim", platform=platform_arg("BUILDPLATFORM"))
        .arg(TARGETARCH=platform_arg("TARGETARCH"))
        # install
        # for the wheels
        .run(
            "apt-get update "
            "&& apt-get install -y --no-install-recommends curl ca-certificates "
            "build-essential     "
            "&& rm -rf /var/lib/apt/lists/*",
        )
        .run(
            "uv sync --arch $TARGETARCH",
            mounts=[cache("/root/.cache"), secret("token", required=False)],
        )
    )


EOF = """\\
name = "$NAME"
"""


@target
def default(python: str = "3.12") -> Image:
    return (
        deps(python=python)
        .copy(deps(python=python)[expand("/out/${PYTHON}"), "/b"], "/x/", chown="app")
        .copy(file("EOF", expand(EOF, raw=True)), "/etc/app.conf")
        .expose("53/udp", 8000)
        .cmd(["app"])
    )


# the end
'''
    )


SIGNATURES = [
    ("ARG V=1\nFROM base:$V\nARG V\n", 'v: str = "1"'),
    ("FROM base\nARG V\n", "v: str | None = None"),
    ("FROM base\nARG V=1\nRUN x\nARG V=2\n", "v: str | None = None"),
    ("ARG V=$TARGETARCH\nFROM base:$V\n", "v: str | None = None"),
    ("FROM base\nARG TARGETARCH\nARG TARGETSTAGE\n", 'targetstage: str = "default"'),
    ("FROM base\nARG TARGETARCH=x\n", 'targetarch: str = "x"'),
    ("FROM base\nARG class=1 my-arg=2 CLASS=3 src=4 image=5\n", "class_"),
    ("ARG UNUSED=1\nFROM base\n", ""),
]


@pytest.mark.parametrize(("text", "signature"), SIGNATURES)
def test_arguments_are_parameters(text, signature):
    assert f"def default({signature}" in convert_text(text).replace("(\n    ", "(")


SAME = [
    (
        "FROM base\nRUN --timeout=10m --retry=2 --ttl=7d --always --cpus=0.5 --memory=64m --pool=net:2 x\n"
        "RUN --save-always=/o --save-always=/p:q y\n",
        ((),),
    ),
    ("ARG V=1\nFROM base:$V\nARG V\nARG W=$V-w\nRUN x\nENV A=$W\n", ((), (("V", "2"),), (("W", "3"),))),
    ("FROM base AS a\nARG V=1\nRUN x\nFROM a\nARG V=2\nRUN y\nARG V\nRUN z\n", ((), (("V", "3"),))),
    ("ARG A=$TARGETARCH-1\nARG B=${A%-*}\nFROM base:$B\nARG B\nARG A\nRUN x\n", ((), (("A", "x-y"),), (("B", "b"),))),
    ("ARG V\nFROM base${V:+-$V}\nARG V\nRUN x\n", ((), (("V", "3"),))),
    ("ARG A\nARG B=x-${A}\nFROM base\nARG B\nARG A\nRUN x\n", ((), (("A", "1"),), (("B", "2"),))),
    ("ARG A\nFROM base:3${A}\nRUN x\n", ((), (("A", ".1"),))),
    ("ARG A\nARG B=$A\nFROM --platform=linux/arm64$B base\nARG B\nENV C=${B-d}\nRUN x\n", ((), (("A", "/v8"),))),
    ("ARG A\nARG B=${A:-b}\nFROM base$B\nARG B\nRUN x\n", ((), (("A", ""),), (("A", "1"),))),
    ("ARG A\nFROM base AS one\nFROM one$A\nRUN x\n", ((), (("A", "2"),))),
    ("ARG TARGETARCH=${TARGETARCH}-x\nARG A=$TARGETARCH\nFROM base$A\nARG TARGETARCH\nRUN x\n", ((), (("A", "1"),))),
    ("ARG A=$TARGETOS\nARG TARGETOS=$A-x\nFROM base$A$TARGETOS\nRUN x\n", ((), (("A", "1"),))),
    (
        "ARG A\n" + "".join([f"ARG A{n}=$A{n - 1 or ''}\n" for n in range(1, 1601)]) + "FROM base$A1600\nRUN x\n",
        ((), (("A800", "x"),)),
    ),
    ("ARG S=one\nFROM a AS one\nFROM b AS two\nFROM $S AS three\nRUN x\n", ((), (("S", "two"),), (("S", "img"),))),
    ("ARG S=e\nFROM a AS one\nFROM b AS two\nFROM on${S}\nRUN x\n", ((), (("S", "x"),))),
    (
        "FROM base AS a\nONBUILD ARG X=1\nONBUILD RUN 1\nONBUILD COPY --from=i /a /b\nFROM a\nRUN x\n",
        ((), (("X", "2"),)),
    ),
    ("FROM base AS a\nENTRYPOINT a\nCMD b\nFROM a\nENTRYPOINT c\nRUN x\n", ((),)),
    ('# escape=`\nFROM base\nARG B=`$x D\nENV A=a`$y C=$B"`"" P=C:\\d\nWORKDIR $C`\\x\nRUN x\n', ((), (("B", "1"),))),
    (
        "FROM base\nARG T=t\nRUN --mount=type=cache,dst=$T --mount=type=cache,dst=d --mount=type=cache,dst=/x$T x\n",
        ((),),
    ),
    ("FROM base\nRUN --mount=target=/a,source=b --mount=target=/c,source=b,rw --mount=from=i,target=/d x\n", ((),)),
    ("FROM base\nRUN --mount=type=tmpfs,dst=/t,size=1m --mount=type=secret,id=a/b,env=E,uid=3,mode=0440 x\n", ((),)),
    ("FROM base\nRUN --security=sandbox y\n", ((),)),
    ("FROM base\nRUN --mount=type=ssh --mount=type=ssh,id=a,dst=/t,required,uid=3,mode=0440 x\n", ((),)),
    ("FROM base\nRUN --network=none --mount=type=cache,dst=/c,from=i,source=/s,ro,sharing=locked x\n", ((),)),
    (
        "FROM base\nARG L=a\nRUN --mount=type=cache,dst=/c,key=go.sum --mount=type=cache,dst=/d,key=$L.lock,key=b x\n",
        ((), (("L", "b"),)),
    ),
    ("FROM base\nADD https://host/x.tar /d/\nADD --unpack --chown=1 https://host/y.tar /e/\n", ((),)),
    (f"FROM base\nADD --checksum=sha256:{'a' * 64} https://host/x /d/\nADD git@host:r.git#v1:sub /s/\n", ((),)),
    (
        f"FROM base\nARG V=1 S={'a' * 64}\nADD https://host/$V/x https://host/$V/r.git#$V /d/\n"
        "ADD --checksum=sha256:$S https://host/x /d/\n",
        ((), (("V", "2"),)),
    ),
    ("FROM base\nARG V=1\nADD a https://host/x b c$V git@host:r.git#v1 d /d/\n", ((), (("V", "2"),))),
    ("FROM base\nADD --unpack=false https://host/x /d/\nADD --unpack a https://host/x.tar /d/\n", ((),)),
    ("FROM base\nADD --keep-git-dir --link https://host/r.git /d/\nADD --keep-git-dir=false git://h/r /s\n", ((),)),
    ("FROM base\nCOPY <<A b <<'C' /d/\n$X\\n\nA\n$X\nC\nADD --unpack=false --link a* /e\n", ((),)),
    ('FROM base\nRUN <<E\n#!/bin/cat\n"""\\\nE\nRUN cat <<A - <<-B\na\nA\n\tb\n\tB\nCMD \nRUN ["a"]\n', ((),)),
    ("FROM base\nENV A=1 B=2 A=3\nENV $A=x C=y\nRUN x\nLABEL a.b=1 c=2\nENV old a 'b' $A\nRUN y\n", ((),)),
    ("FROM base AS x\nRUN 1\nFROM base AS x\nRUN 2\nFROM base\nCOPY --from=x a b\nCOPY --from=0 a b\nRUN 3\n", ((),)),
    ("FROM base AS cache\nRUN 1\nFROM base AS target\nRUN 2\nFROM cache AS a.b-c_d\nCOPY --from=target / /\n", ((),)),
    ("FROM scratch\nCOPY --from=scratch / /\nCOPY --from=host:// /etc/hostname /\nMAINTAINER me\n", ((),)),
    (
        'FROM base\nSHELL ["a"]\nRUN x\nHEALTHCHECK --interval=1m --retries=3 CMD ["y"]\nUSER $U:g\nSTOPSIGNAL 9\n',
        ((),),
    ),
    ('FROM base\nHEALTHCHECK NONE\nEXPOSE 80-82 $P 1/udp\nVOLUME a [b\nVOLUME ["c d"]\nENTRYPOINT []\n', ((),)),
    ("FROM base\nCOPY --chown=$U --chmod=u+x --exclude=*.o --exclude=d --parents a /b\n", ((),)),
    ("FROM base\n" + "ENV A=1\n" * 250 + "RUN x\n", ((),)),
    (
        'FROM base\nARG U\nCOPY "" /x/\nCOPY --from=i "" /w/\nADD a "" /y/\nCOPY $U /z/\nCOPY / /v/\n',
        ((), (("U", "u"),)),
    ),
    ("FROM base\nEXPOSE 080 0\nRUN --cpus=1.2345 --retry=03 x\n", ((),)),
    ("FROM base\nARG \ufb01le=1 a\u00b2=2 __debug__=3\nENV __debug__=1\nCOPY <<E /e\nE\n", ((),)),
    ("FROM base AS str\nRUN 1\nFROM str\nARG A=1\nARG A=2\nRUN 2\n", ((), (("A", "3"),))),
    ("FROM base\nARG \u017f=1\nARG s=2\nLABEL a=$s\n", ((),)),
    ("FROM base\nRUN <<\u00b2\n1\n2\n\u00b2\n", ((),)),
]


@pytest.mark.parametrize(("text", "arguments"), SAME, ids=[text.split("\n", 1)[1][:60] for text, _ in SAME])
def test_both_mean_the_same(text, arguments, tmp_path):
    for given in arguments:
        wanted, made = as_buildfile(text, tmp_path, build_args=given), as_python(text, tmp_path, build_args=given)
        assert shape(made.step) == shape(wanted.step)
        assert made.config == wanted.config
        assert (made.author, made.host) == (wanted.author, wanted.host)


def test_limits_and_inputs_are_arguments_of_run():
    made = convert_text("FROM a\nRUN --cpus=0.50 --memory=64m --inputs=/b/*.c --inputs=!/b/x.c x\n")
    assert '.run("x", cpus=0.5, memory="64m", inputs=["/b/*.c", "!/b/x.c"])' in made


def test_every_stage_is_a_target_of_its_name(tmp_path):
    text = "FROM base AS a_b\nRUN 1\nFROM base AS a-b\nRUN 2\nFROM base AS class\nRUN 3\nFROM base\nRUN 4\n"
    for name in ("a_b", "a-b", "class", "default", ""):
        assert shape(as_python(text, tmp_path, target=name).step) == shape(
            as_buildfile(text, tmp_path, target=name).step
        )


ARGS = ("LOWER", "lower", "Mixed", "MIXED", "TAG", "FILE", "SRC", "CLASS", "my-arg", "EOF")


@pytest.mark.parametrize("name", ARGS)
def test_a_build_arg_is_what_it_was(tmp_path, name):
    text = (
        "FROM base\nARG LOWER=1\nARG lower=2 Mixed=3 MIXED=4 TAG=5 FILE=6 SRC=7 CLASS=8 my-arg=9 EOF=10\n"
        "LABEL v=$LOWER.$lower.$Mixed.$MIXED.$TAG.$FILE.$SRC.$CLASS.$EOF\nCOPY <<EOF /x\n1\n2\nEOF\n"
    )
    path = tmp_path / "Buildfile.py"
    path.write_text(convert_text(text))
    told = []
    options = Options(str(tmp_path), platform="linux/amd64", build_args=((name, "given"),))
    module = load(str(path), SeenInputs())
    (made,) = call(module, [("", ())], options, AnyImage(), SeenInputs(), notice=lambda *one: told.append(one))
    wanted = as_buildfile(text, tmp_path, build_args=((name, "given"),))
    assert (shape(made.step), made.config, told) == (shape(wanted.step), wanted.config, [])


def test_texts_of_several_lines_have_names_of_their_own():
    made = convert_text("FROM a AS x\nRUN <<EOF\n1\n2\nEOF\nFROM b\nRUN <<EOF\n3\n4\nEOF\nRUN <<'-'\n\x01\n-\n")
    assert 'EOF = """\\\n1\n2\n"""\n\n\n@target\ndef x()' in made
    assert 'EOF_2 = """\\\n3\n4\n"""\n\n\n@target\ndef default()' in made
    assert r'.run("\x01\n")' in made  # what an editor would not show is written out


COMMENTED = """\
# {0}
ARG A=1
# x {0}
FROM base AS x
# {0}
RUN a \\
# {0}
 b
# {0}
"""
# A file is read as UTF-8, and a byte that is none of it as half of a character.
CHARACTERS = st.characters(exclude_categories=["Cs"]) | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
LINE = st.text(CHARACTERS | st.sampled_from("\r\0\f\v\x1a\x85\u2028\"'\\\N{RIGHT-TO-LEFT OVERRIDE}")).map(
    lambda text: text.replace("\n", "")
)


def code_of(comment):
    """What Python makes of a file with this comment in all places, but for docstrings."""
    tree = ast.parse(
        convert_text(COMMENTED.format(comment)).encode()
    )  # as a file is read: UTF-8, whose lines end by \r too
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)


@hypothesis.given(LINE)
def test_a_comment_is_never_code(comment):
    assert code_of(comment) == code_of("y")


def test_what_an_editor_would_not_show_of_a_comment_is_written_out():
    made = convert_text('# a\rb\0c\n\n# x it\'s\ta\r\\"""\udcff\nFROM base AS x\nRUN y\n# last\x0cline\r\n')
    assert '"""it\'s\ta\\r\\\\\\"\\"\\"\\udcff"""' in made
    assert "\n# a\\rb\\x00c\n@target\n" in made
    assert made.endswith("\n# last\\x0cline\n")


def test_a_docstring_says_what_the_comment_said(tmp_path):
    text = '# x a b \\ "c" \0 \x1b[2J d\nFROM base AS x\nRUN y\n'
    assert as_python(text, tmp_path).description == as_buildfile(text, tmp_path).description


CANNOT = [
    ("FROM a\nIF 1 == 1\nRUN x\nEND\n", "2:1: IF has no equivalent in a Buildfile.py"),
    ("FROM a\nRUN --device=x y\n", "2:5: RUN --device has no equivalent"),
    ("FROM ./x+y\n", "1:6: the target of another file `./x+y` has no equivalent"),
    ("ARG A=1\nARG A=2\nFROM x\n", "2:5: the ARG `A` is declared twice before the first FROM"),
    ("ARG S=a\nFROM x AS a\nONBUILD RUN y\nFROM $S\n", "4:6: a FROM that may mean stages with ONBUILD has no"),
    ("FROM $NONE\n", "1:6: FROM $NONE comes to nothing"),
    ("FROM --platform=$NONE x\n", "1:6: --platform=$NONE comes to nothing"),
    ("FROM a\nENV A=${B\n", "2:5: missing `}` in `${B`"),
    ("FROM a\nRUN --timeout=$T x\n", "2:5: a variable in RUN --timeout has no equivalent"),
    ("FROM a\nRUN --mount=type=cache,dst=/x,uid=${U} y\n", "2:5: a variable in `uid` of RUN --mount has no equivalent"),
    ("FROM a\nRUN --mount=type=$T,dst=/x y\n", "2:5: a variable in `type` of RUN --mount has no equivalent"),
    ("FROM a\nRUN --mount=dst=/x,ro=$T y\n", "2:5: a variable in `readonly` of RUN --mount has no equivalent"),
    ("FROM a\nRUN --retry=x y\n", "2:5: `x` is no number"),
    ("FROM a\nRUN []\n", "2:1: RUN has no command"),
    ("FROM a\nRUN --mount=type=bnid,target=/x y\n", "2:5: unknown mount type `bnid`"),
    ("FROM a AS b\nCOPY --from=b x y\n", "2:6: the stage `b` takes files from itself"),
    ("FROM a\nCOPY --from=9 x y\n", "2:6: there is no stage 9"),
    ("RUN x\n", "1:1: RUN stands before the first FROM"),
]


@pytest.mark.parametrize(("text", "said"), CANNOT)
def test_what_cannot_be_said(text, said):
    with pytest.raises(BuildfileError) as caught:
        convert_text(text)
    assert str(caught.value).startswith("Dockerfile:" + said)
