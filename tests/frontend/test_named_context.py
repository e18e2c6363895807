import pytest

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.named_context import NamedContexts, short_name
from buildkit_py.image.config import ImageConfig
from tests.frontend.fakes import FakeResolver, SeenInputs


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("alpine", "alpine"),
        ("alpine:latest", "alpine"),
        ("docker.io/library/alpine:latest", "alpine"),
        ("docker.io/me/app:1", "me/app:1"),
        ("example.org/library/app", "example.org/library/app"),
        ("library/app", "library/app"),
    ],
)
def test_short_names(reference, expected):
    assert expected == short_name(reference)


def test_a_platforms_own_context_goes_first():
    resolver = FakeResolver(arm=ImageConfig(), any=ImageConfig())
    contexts = NamedContexts(
        (("x::linux/arm64", "docker-image://arm"), ("x", "docker-image://any")), resolver, SeenInputs()
    )
    contexts.find("x", "linux/arm64", None)
    contexts.find("x:latest", "linux/amd64", None)
    contexts.find("x", "linux/amd64", None)
    assert resolver.asked == [("arm", "linux/arm64"), ("any", "linux/amd64")]


def test_reserved_names_stand_for_themselves():
    contexts = NamedContexts((("scratch", "/x"), ("context", "/x")), FakeResolver(), SeenInputs())
    assert contexts.find("scratch", "linux/amd64", None) is None
    assert contexts.find("Context", "linux/amd64", None) is None


def test_references_go_ten_deep():
    chain = tuple((f"c{i}", f"docker-image://c{i + 1}") for i in range(20))
    with pytest.raises(BuildfileError, match="too deeply"):
        NamedContexts(chain, FakeResolver(), SeenInputs()).find("c0", "linux/amd64", None)
