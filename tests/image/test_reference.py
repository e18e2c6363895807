from __future__ import annotations

import pytest

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
