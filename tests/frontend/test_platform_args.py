import pytest

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.platform_args import normalise, platform_args, this_platform


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/X86_64", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("arm64", "linux/arm64"),
        ("linux/i386", "linux/386"),
        ("windows/amd64", "windows/amd64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("s390x", "linux/s390x"),
        ("other/thing", "other/thing"),
    ],
)
def test_platforms_have_one_form(text, expected):
    assert expected == normalise(text)


def test_a_lone_system_takes_this_machines_architecture():
    assert normalise("linux") == this_platform()


@pytest.mark.parametrize(
    "text", ["", "/", "linux/", "linux//v8", "a/b/c/d", "linux/am d", "x", "amd46", "lınux/arm64", "linux/٣"]
)
def test_what_is_no_platform(text):
    with pytest.raises(BuildfileError, match="is not a platform"):
        normalise(text)


def test_the_predefined_args():
    args = dict(platform_args("linux/amd64", "linux/arm/v7", ""))
    assert args == {
        "BUILDPLATFORM": "linux/amd64",
        "BUILDOS": "linux",
        "BUILDOSVERSION": "",
        "BUILDARCH": "amd64",
        "BUILDVARIANT": "",
        "TARGETPLATFORM": "linux/arm/v7",
        "TARGETOS": "linux",
        "TARGETOSVERSION": "",
        "TARGETARCH": "arm",
        "TARGETVARIANT": "v7",
        "TARGETSTAGE": "default",
    }
