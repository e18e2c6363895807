import pytest

from buildkit_py.frontend.signals import is_signal


@pytest.mark.parametrize(
    "text", ["SIGTERM", "term", "15", "1", "64", "SIGRTMIN", "RTMIN+3", "sigrtmax-14", "WINCH", "+9"]
)
def test_signals(text):
    assert is_signal(text)


@pytest.mark.parametrize(
    "text",
    ["", "0", "65", "-1", "+-1", "++1", "9" * 5000, "SIG", "TERMINATE", "RTMIN+16", "RTMAX-15", "RTMIN-1", "RTMIN+"],
)
def test_what_is_none(text):
    assert not is_signal(text)
