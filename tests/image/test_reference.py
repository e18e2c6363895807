from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.errors import UsageError
from buildkit_py.image.reference import Reference, parse

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("debian", "docker.io/library/debian:latest", "debian"),
        ("debian:trixie", "docker.io/library/debian:trixie", "debian:trixie"),
        ("team/app", "docker.io/team/app:latest", "team/app"),
        ("docker.io/debian", "docker.io/library/debian:latest", "debian"),
        ("index.docker.io/team/app:1", "docker.io/team/app:1", "team/app:1"),
        ("localhost/x", "localhost/x:latest", "localhost/x"),
        ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x"),
        ("127.0.0.1:5000/a/b/c:v1.2-3_4", "127.0.0.1:5000/a/b/c:v1.2-3_4", "127.0.0.1:5000/a/b/c:v1.2-3_4"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x"),
        ("registry.example/x", "registry.example/x:latest", "registry.example/x"),
        ("Host/x", "Host/x:latest", "Host/x"),
        (f"debian@{DIGEST}", f"docker.io/library/debian@{DIGEST}", f"debian@{DIGEST}"),
        (f"debian:1@{DIGEST}", f"docker.io/library/debian:1@{DIGEST}", f"debian:1@{DIGEST}"),
        ("a__b/c--d/e.f_g", "docker.io/a__b/c--d/e.f_g:latest", "a__b/c--d/e.f_g"),
    ],
)
def test_names_as_docker_reads_them(text: str, full: str, familiar: str) -> None:
    found = parse(text)
    assert str(found) == full
    assert found.familiar == familiar
    assert parse(full) == found
    assert parse(found.familiar) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":tag",
        "/x",
        "x/",
        "a//b",
        "../x",
        "a/../b",
        "a/Upper",
        "a___b",
        "a..b",
        "-a",
        "a-",
        "x:",
        "x:a b",
        "x:-1",
        "x:a/b",
        "x:" + "t" * 129,
        "x@",
        "x@sha256:12",
        "x@md5:" + "ab" * 16,
        "x@sha256:" + "AB" * 32,
        "x@sha256:../../../etc/passwd",
        f"x@{DIGEST}@{DIGEST}",
        "ab" * 32,
        "a/" * 130 + "x",
        "host:99999999/x",
        "-host.example/x",
        "[::1/x",
        "x\ny",
        "bücher",
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(UsageError, match="not an image name"):
        parse(text)


def test_capitals_get_a_hint() -> None:
    with pytest.raises(UsageError) as caught:
        parse("MyApp:1")
    assert caught.value.hint == "write `myapp:1`"


def test_identifier_prefers_the_digest() -> None:
    assert Reference("r", "x", "1").identifier == "1"
    assert Reference("r", "x", "1", DIGEST).identifier == DIGEST


# ---- against the grammar of the distribution project (reference/regexp.go, reference/normalize.go), written down here

_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_WHOLE = re.compile(
    rf"({_DOMAIN})/({_COMPONENT}(?:/{_COMPONENT})*)(?::(\w[\w.-]{{0,127}}))?(?:@(sha256:[0-9a-f]{{64}}))?", re.ASCII
)


def by_the_grammar(text: str) -> str | None:
    """The whole name, None where it is none."""
    if re.fullmatch(r"[0-9a-f]{64}", text):
        return None
    first, slash, rest = text.partition("/")
    if not slash or not (set(first) & set(".:") or first == "localhost" or first.lower() != first):
        first, rest = "docker.io", text
    if first == "index.docker.io":
        first = "docker.io"
    if first == "docker.io" and "/" not in rest:
        rest = f"library/{rest}"
    found = _WHOLE.fullmatch(f"{first}/{rest}")
    if found is None or len(f"{found[1]}/{found[2]}") > 255:
        return None
    tag = found[3] or ("" if found[4] else "latest")
    return f"{found[1]}/{found[2]}" + (f":{tag}" if tag else "") + (f"@{found[4]}" if found[4] else "")


PIECES = (
    "a",
    "b0",
    "A",
    "1",
    ".",
    "_",
    "__",
    "-",
    "--",
    "/",
    "/",
    ":",
    "@",
    "[::1]",
    "localhost",
    "docker.io/",
    "5000",
)


@settings(deadline=None, max_examples=500)
@given(st.lists(st.sampled_from([*PIECES, "index.docker.io/", "library/", f"@{DIGEST}", "ab" * 32, ":1"]), max_size=9))
def test_any_text_is_a_name_where_the_grammar_says_so(pieces: list[str]) -> None:
    text = "".join(pieces)
    wanted = by_the_grammar(text)
    if wanted is None or re.search(r":\d{6,}(/|$)", text):
        return  # more than five digits are no port here
    assert str(parse(text)) == wanted
    assert parse(wanted) == parse(text)
    short = parse(text).familiar
    if not re.fullmatch(r"[0-9a-f]{64}", short):  # an id, where no registry stands before it
        assert parse(short) == parse(text)


@settings(deadline=None, max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=9))
def test_no_other_text_is_a_name(pieces: list[str]) -> None:
    text = "".join(pieces)
    if by_the_grammar(text) is None:
        with pytest.raises(UsageError, match="is not an image name"):
            parse(text)
