"""Which network a command gets, on machines that have one to give and on those that have not."""

from __future__ import annotations

import pytest

from buildkit_py.errors import SandboxError
from buildkit_py.sandbox.network import plan as plans
from buildkit_py.sandbox.network.choice import Choice
from tests.sandbox.network.test_hub import PLAN

REACHES = PLAN.replace(uplinks=("pasta",), resolv_conf=b"nameserver 10.219.0.1\n")
LACKS = PLAN.replace(missing=(("pasta", "as root: apt-get install passt"),))


@pytest.fixture
def told() -> list[str]:
    return []


def _choice(default: str, plan: plans.Plan, told: list[str], monkeypatch: pytest.MonkeyPatch) -> Choice:
    monkeypatch.setattr(plans, "draw", lambda: plan)
    return Choice(default, lambda message, hint: told.append(f"{message} | {hint}"))


@pytest.mark.parametrize(
    ("default", "wanted", "network"),
    [
        ("", "default", "isolated"),
        ("", "host", "host"),
        ("", "none", "none"),
        ("none", "default", "none"),
        ("host", "default", "host"),
        ("host", "isolated", "isolated"),
    ],
)
def test_what_is_asked_for(
    default: str, wanted: str, network: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = _choice(default, REACHES, told, monkeypatch)
    assert choice.network(wanted) == network
    assert (choice.resolv_conf(network) == REACHES.resolv_conf) == (network == "isolated")
    assert told == []


def test_where_nobody_asked_it_is_the_machines_and_that_is_said_once(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = _choice("", LACKS, told, monkeypatch)
    assert [choice.network("default") for _ in range(3)] == ["host"] * 3
    assert told == [
        "no isolated network can be made here, so commands share this machine's | "
        "as root: apt-get install passt; or choose it: --network=host"
    ]


@pytest.mark.parametrize(("default", "wanted"), [("isolated", "default"), ("", "isolated")])
def test_where_somebody_asked_it_is_an_error(
    default: str, wanted: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = _choice(default, LACKS, told, monkeypatch)
    with pytest.raises(SandboxError, match="no isolated network can be made here") as caught:
        choice.network(wanted)
    assert caught.value.hint == "as root: apt-get install passt"
    assert told == []


def test_other_networks_need_no_plan(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "draw", lambda: pytest.fail("a plan was drawn"))
    choice = Choice("host", lambda message, hint: pytest.fail(message))
    assert [choice.network(wanted) for wanted in ("default", "host", "none")] == ["host", "host", "none"]
    assert choice.resolv_conf("host") == choice.resolv_conf("none")
