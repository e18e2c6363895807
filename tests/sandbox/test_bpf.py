"""The assembler: labels, reach, and errors."""

from __future__ import annotations

import pytest

from buildkit_py.sandbox.bpf import EQUAL, GREATER, GREATER_OR_EQUAL, Assembler
from tests.sandbox.bpf_machine import evaluate


def test_branches_and_masks() -> None:
    asm = Assembler()
    asm.load(0)
    asm.branch(GREATER, 100, then="big")
    asm.mask(1)
    asm.branch(EQUAL, 1, otherwise="even")
    asm.ret(11)
    asm.label("even")
    asm.ret(22)
    asm.label("big")
    asm.branch(GREATER_OR_EQUAL, 200, then="huge")
    asm.jump("end")
    asm.label("huge")
    asm.ret(33)
    asm.label("end")
    asm.ret(44)
    program = asm.assemble()
    assert [evaluate(program, 0, number, (0,) * 6) for number in (1, 2, 100, 101, 199, 200)] == [11, 22, 22, 44, 44, 33]


def test_a_label_out_of_reach_is_an_error() -> None:
    asm = Assembler()
    asm.branch(EQUAL, 1, then="far")
    for _ in range(256):
        asm.ret(0)
    asm.label("far")
    asm.ret(1)
    with pytest.raises(ValueError, match="the reach is 0 to 255"):
        asm.assemble()


def test_jumps_go_forward_only() -> None:
    asm = Assembler()
    asm.label("loop")
    asm.jump("loop")
    with pytest.raises(ValueError, match="-1 instructions away"):
        asm.assemble()


def test_unknown_and_repeated_labels() -> None:
    asm = Assembler()
    asm.label("a")
    with pytest.raises(ValueError, match="defined twice"):
        asm.label("a")
    asm.jump("b")
    with pytest.raises(ValueError, match="b is not defined"):
        asm.assemble()


def test_the_kernels_limit() -> None:
    asm = Assembler()
    for _ in range(4097):
        asm.ret(0)
    with pytest.raises(ValueError, match="4097 instructions"):
        asm.assemble()
