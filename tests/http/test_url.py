"""URLs: what goes out for one that people or headers have, what is compared, and what is shown."""

from __future__ import annotations

import pytest

from buildkit_py.errors import RegistryError
from buildkit_py.http.url import join, origin_of, shown, written


def test_what_is_shown_of_a_url() -> None:
    assert shown("https://me:secret@h.example:5000/p/a?X-Signature=abc#f") == "https://h.example:5000/p/a"
    assert shown("http://[") == "an unreadable URL"


def test_origins() -> None:
    assert origin_of("http://h.example").port == 80
    assert origin_of("https://h.example/x").port == 443
    assert origin_of("https://b\xfccher.example/x") == origin_of("https://xn--bcher-kva.example")
    for bad in ("file:///x", "ftp://h/x", "http://", "http://h:port/", "//h/x", "javascript:x"):
        with pytest.raises(RegistryError):
            origin_of(bad)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h.example/p%20q?a=b%2Fc&d#f", "https://h.example/p%20q?a=b%2Fc&d#f"),
        ("https://h.example/p q?\xe4#\x7f", "https://h.example/p%20q?%C3%A4#%7F"),
        ("https://m\xe9:p@B\xfccher.example:444/", "https://m%C3%A9:p@xn--bcher-kva.example:444/"),
        ("http://[::1]:80/\xe4", "http://[::1]:80/%C3%A4"),
        ("", ""),
    ],
)
def test_what_goes_out(url: str, expected: str) -> None:
    assert written(url) == expected


@pytest.mark.parametrize(
    "host",
    [
        "\xe4" * 64 + ".example",
        "a..example",
        "b" * 64,
        "a b",
        "a\x01b",
        "\xe4\x01",
        "\udcff",
        "\xe4..example",
        "\xe4:\u0663",
    ],
)
def test_hosts_that_have_no_such_name(host: str) -> None:
    with pytest.raises(RegistryError, match="is no name of a host") as caught:
        origin_of(f"http://{host}/x")
    (caught.value.message + str(caught.value.at)).encode()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("/v2/\xe4", "http://h.example/v2/%E4"),
        ("/v2/\xc3\xa4?a=\xff", "http://h.example/v2/%C3%A4?a=%FF"),
        ("up/ load", "http://h.example/v2/up/%20load"),
        ("/v2/up?state=1#here", "http://h.example/v2/up?state=1"),
        ("//b\xc3\xbccher.example/", "http://xn--bcher-kva.example/"),
    ],
)
def test_bytes_of_a_header_go_back_as_they_came(header: str, expected: str) -> None:
    assert join("http://h.example/v2/x", header) == expected


def test_half_of_a_character_is_no_part_of_a_url() -> None:
    for url in ("http://h.example/\ud800", "http://\ud800.example/", "http://\ud800@h.example/"):
        with pytest.raises(RegistryError) as caught:
            written(url)
        str(caught.value).encode()


@pytest.mark.parametrize("header", ["http://[broken", "http://\xff\xfe/", "http://\xe2\x84\x80/"])
def test_headers_that_name_no_host(header: str) -> None:
    with pytest.raises(RegistryError) as caught:
        origin_of(join("http://h.example/", header))
    (caught.value.message + str(caught.value.at)).encode()
