"""Addresses of git repositories: the forms that BuildKit takes, and those that mean harm."""

from __future__ import annotations

import pytest

from buildkit_py.frontend.git_url import GitAddress, git_source, parse_git

ID = "0123456789abcdef0123456789abcdef01234567"

ADDRESSES = {
    "http://h/moby/buildkit.git": GitAddress("http://h/moby/buildkit.git"),
    "https://h/moby/buildkit.git#v1.0.0": GitAddress("https://h/moby/buildkit.git", "v1.0.0"),
    "https://h/r.git#v1.0.0:sub/dir": GitAddress("https://h/r.git", "v1.0.0", "/sub/dir"),
    "https://h/r.git#:sub": GitAddress("https://h/r.git", "", "/sub"),
    "https://h/r.git#main:../../etc": GitAddress("https://h/r.git", "main", "/etc"),
    "http://foo:bar@h/r.git#v1": GitAddress("http://foo:bar@h/r.git", "v1"),
    "ssh://git@h:22/r.git": GitAddress("ssh://git@h:22/r.git"),
    "ssh://h/no-suffix": GitAddress("ssh://h/no-suffix"),
    "git://h:1234/path/repo": GitAddress("git://h:1234/path/repo"),
    "git@h:moby/buildkit.git#v1:hack": GitAddress("git@h:moby/buildkit.git", "v1", "/hack"),
    "someone@h.example:/srv/p.git": GitAddress("someone@h.example:/srv/p.git"),
    "HTTPS://h/r.git": GitAddress("HTTPS://h/r.git"),
    "https://h/r.git?ref=v1&subdir=/a": GitAddress("https://h/r.git", "v1", "/a"),
    "https://h/r.git?ref=v1#v1": GitAddress("https://h/r.git", "v1"),
    "https://h/r.git?tag=v1": GitAddress("https://h/r.git", "refs/tags/v1"),
    "https://h/r.git?branch=refs/heads/x": GitAddress("https://h/r.git", "refs/heads/x"),
    "https://h/r.git?keep-git-dir&submodules=0": GitAddress("https://h/r.git", keep_git_dir=True, submodules=False),
    f"https://h/r.git?commit={ID}&ref=main": GitAddress("https://h/r.git", "main", checksum=ID),
    "https://h/r.git?mtime=checkout&fetch-by-commit=1": GitAddress("https://h/r.git"),
}

OTHERS = (
    "http://h/moby/buildkit",
    "https://h/r.git/tree",
    "https://h/x?r.git",
    "./git@h:r.git",
    "../r.git",
    "/a@b:c",
    "a/b@c:d",
    "file:///r.git",
    "ext::sh -c x",
    "github.com/moby/buildkit",
    "a@b",
    "@h:r",
    "a@:r",
    "-o!@h:r",
    "",
)

REFUSED = {
    "https://h/r.git#-x": "ref of an address of git does not begin with `-`",
    "https://h/r.git?ref=--upload-pack=x": "does not begin with `-`",
    "ssh://-oProxyCommand=x/r": "host of an address of git does not begin",
    "ssh://-oProxyCommand=x@h/r": "user of an address of git does not begin",
    "-oProxyCommand@h:r": "user of an address of git does not begin",
    "git@-oProxyCommand:r": "host of an address of git does not begin",
    "https://h/r.git#a b": "no spaces",
    "https://h/r.git#a\nb": "no spaces",
    "https://h/r.git#a\x01": "no control characters",
    "https://h/r.git#a..b": "no name of a branch",
    "https://h/r.git#HEAD~1": "no name of a branch",
    "https://h/r.git#x@{1}": "no name of a branch",
    "https:///r.git": "names no host",
    "https://h/r.git?unknown=1": "knows no `unknown`",
    "https://h/r.git?ref=a&ref=b": "given twice",
    "https://h/r.git?ref=a#b": "names two refs",
    "https://h/r.git?tag=a&branch=a": "names two refs",
    "https://h/r.git?ref=": "has no value",
    "https://h/r.git?submodules=maybe": "true or false",
    "https://h/r.git?fetch-by-commit=maybe": "true or false",
    "https://h/r.git?mtime=now": "`commit` or `checkout`",
    "https://h/r.git?subdir=a#main:b": "two directories",
    "https://h/r.git?commit=1234&checksum=5678": "two commits",
    "https://h/r.git#" + "a" * 5000: "no more than 4096",
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses(text: str) -> None:
    assert parse_git(text) == ADDRESSES[text]


@pytest.mark.parametrize("text", OTHERS)
def test_what_is_no_address(text: str) -> None:
    assert parse_git(text) is None


@pytest.mark.parametrize("text", REFUSED)
def test_addresses_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=REFUSED[text].replace("|", "\\|")):
        parse_git(text)


def test_the_short_form_is_for_contexts() -> None:
    assert parse_git("github.com/o/r#main", short=True) == GitAddress("https://github.com/o/r", "main")


def test_a_whole_id_pins() -> None:
    assert git_source(GitAddress("u", ID)).commit == ID
    assert git_source(GitAddress("u", "main"), checksum=ID).commit == ID
    assert git_source(GitAddress("u", checksum=ID)).commit == ID
    assert git_source(GitAddress("u", "main", checksum=ID[:8])).commit == ""
    assert git_source(GitAddress("u", "main")).commit == ""


def test_git_directories_are_those_of_whole_repositories() -> None:
    assert git_source(GitAddress("u"), keep_git_dir=True).keep_git_dir
    assert git_source(GitAddress("u", keep_git_dir=True)).keep_git_dir
    assert not git_source(GitAddress("u", subdir="/d"), keep_git_dir=True).keep_git_dir


@pytest.mark.parametrize(
    ("address", "flags", "says"),
    [
        (GitAddress("u", keep_git_dir=True), {"keep_git_dir": False}, "different things"),
        (GitAddress("u", checksum="1234"), {"checksum": "5678"}, "the address says `1234`"),
        (GitAddress("u"), {"checksum": "sha256:00"}, "not the id of a commit"),
        (GitAddress("u"), {"checksum": "123"}, "not the id of a commit"),
        (GitAddress("u"), {"checksum": ID.upper()}, "not the id of a commit"),
    ],
)
def test_flags_and_addresses_that_contradict(address: GitAddress, flags: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        git_source(address, **flags)  # type: ignore[arg-type]
