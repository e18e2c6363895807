"""The filters that were compiled beforehand are those that the policy makes now."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.sandbox import capabilities, ready_filter, seccomp


@pytest.mark.parametrize("machine", ready_filter.MACHINES)
def test_file_is_what_the_policy_compiles_to(machine: str) -> None:
    made = Path(ready_filter.path(machine)).read_bytes()
    assert made == seccomp.compile_filter(capabilities.DEFAULT, machine), "the policy changed: ready_filter.write()"


def test_every_machine_with_a_policy_has_one() -> None:
    assert set(ready_filter.MACHINES) == set(seccomp.SECTIONS)


@pytest.mark.skipif(ready_filter.MACHINE not in ready_filter.MACHINES, reason="no policy for this machine")
def test_only_the_default_capabilities_have_one() -> None:
    assert ready_filter.ready_filter(capabilities.DEFAULT) == seccomp.compile_filter(capabilities.DEFAULT)
    assert ready_filter.ready_filter(capabilities.ALL) is None
    assert ready_filter.ready_filter(0) is None
