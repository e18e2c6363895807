"""The policy as a document: it decides as the filter that pybuild loads itself."""

from __future__ import annotations

import random

import pytest

from buildkit_py.sandbox import capabilities, seccomp, seccomp_policy
from buildkit_py.sandbox.oci.seccomp import seccomp_document
from tests.sandbox.bpf_machine import evaluate

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def decide(document: dict, name: str, arguments: tuple[int, ...]) -> int:
    """What a runtime makes of the document for one call (config-linux.md: all `args` of an entry must hold)."""
    for entry in document["syscalls"]:
        if name in entry["names"] and all(_holds(rule, arguments) for rule in entry.get("args", ())):
            return ALLOW if entry["action"] == "SCMP_ACT_ALLOW" else ERRNO | entry["errnoRet"]
    return ERRNO | document["defaultErrnoRet"]


def _holds(rule: dict, arguments: tuple[int, ...]) -> bool:
    value = arguments[rule["index"]]
    return {
        "SCMP_CMP_EQ": value == rule["value"],
        "SCMP_CMP_LT": value < rule["value"],
        "SCMP_CMP_MASKED_EQ": value & rule["value"] == rule.get("valueTwo"),
    }[rule["op"]]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("mask", [capabilities.DEFAULT, 0, capabilities.ALL])
def test_it_decides_as_our_filter(machine, mask):
    document, program = seccomp_document(mask, machine), seccomp.compile_filter(mask, machine)
    draw = random.Random(5)
    firsts = [0, 1, 2, 11, 12, 16, 38, 40, 0x8, 0x20000, 0xFFFFFFFF, 0x10000000, 0x02000000, 0x11]
    seen = set()
    for name, number in seccomp_policy.numbers(machine).items():
        for first in (*firsts, draw.getrandbits(32), draw.getrandbits(16)):
            arguments = (first, draw.getrandbits(32), 0, 0, 0, 0)
            ours = evaluate(program, ARCHITECTURES[machine], number, arguments)
            assert decide(document, name, arguments) == ours, (name, arguments)
            seen.add(ours)
    assert ALLOW in seen
    # Of 0 capabilities something is always refused.
    assert mask or ERRNO | 1 in seen
