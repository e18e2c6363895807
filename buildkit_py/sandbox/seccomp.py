"""Compiles the policy of `seccomp_policy` to the BPF program that the kernel runs before each system call.

The shape is what libseccomp would load for the same profile: a section per
architecture, in it a binary search over the numbers, and the argument rules
at the leaves. A rule that the compiler does not know is an error, never an
ignored condition.
"""

from __future__ import annotations

from buildkit_py.sandbox import seccomp_policy as policy
from buildkit_py.sandbox.bpf import EQUAL, GREATER_OR_EQUAL, Assembler
from buildkit_py.sandbox.syscalls import MACHINE

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000
_EPERM, _ENOSYS = 1, 38
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_X32_BIT = 0x40000000
_WIDE = ("x86_64", "aarch64")  # arguments of the others have 32 bits, whatever the upper half of the word says
_PRIVATE_NUMBERS = 0xF0000  # from here on: 32-bit arm's own calls

# machine → (AUDIT_ARCH value, column of the table, bit set in every number), as docker's archMap pairs them
SECTIONS = {
    "x86_64": ((0xC000003E, "x86_64", 0), (0xC000003E, "x32", _X32_BIT), (0x40000003, "x86", 0)),
    "aarch64": ((0xC00000B7, "aarch64", 0), (0x40000028, "arm", 0)),
}


def supported(machine: str = MACHINE) -> bool:
    return machine in SECTIONS


def compile_filter(capabilities: int, machine: str = MACHINE) -> bytes:
    """The program for a process whose bounding set is `capabilities`. Raises `KeyError` for an unknown machine."""
    asm = Assembler()
    by_arch: dict[int, list[tuple[str, int]]] = {}
    for arch, column, bit in SECTIONS[machine]:
        by_arch.setdefault(arch, []).append((column, bit))
    asm.load(_ARCHITECTURE)
    for arch in by_arch:
        skip = asm.fresh()
        asm.branch(EQUAL, arch, otherwise=skip)
        asm.jump(f"arch-{arch:x}")
        asm.label(skip)
    asm.ret(KILL_PROCESS)
    for arch, columns in by_arch.items():
        asm.label(f"arch-{arch:x}")
        asm.load(_NUMBER)
        _search(asm, _intervals(columns, capabilities))
    return asm.assemble()


_Leaf = tuple[int, int, tuple[policy.Condition, ...], bool]  # first number, action, argument rules, 64-bit arguments


def _intervals(columns: list[tuple[str, int]], capabilities: int) -> list[_Leaf]:
    """The number line cut into pieces with one answer each, in order."""
    allowed = policy.allowed(capabilities)
    leaves: list[_Leaf] = []

    def put(start: int, wide: bool, action: int, rules: tuple[policy.Condition, ...] = ()) -> None:
        if leaves and not rules and not leaves[-1][2] and leaves[-1][1] == action:
            return
        leaves.append((start, action, rules, wide))

    for column, bit in columns:
        numbers = policy.numbers(column)
        wide = column in _WIDE
        # As runc does: a number newer than the policy is not forbidden but unknown, so that programs fall back.
        newest = max(number for number in numbers.values() if number < _PRIVATE_NUMBERS)
        answers: dict[int, tuple[int, tuple[policy.Condition, ...]]] = {}
        for name, number in numbers.items():
            if name in allowed:
                answers[number] = (ALLOW, allowed[name])
            elif name in policy.NO_SUCH_CALL:
                answers[number] = (_ERRNO | _ENOSYS, ())
        for number in sorted({0, newest + 1, *answers, *[number + 1 for number in answers]}):
            put(number | bit, wide, *answers.get(number, (_ERRNO | (_EPERM if number <= newest else _ENOSYS), ())))
    return leaves


def _search(asm: Assembler, leaves: list[_Leaf]) -> None:
    if len(leaves) > 1:
        middle = len(leaves) // 2
        upper, near = asm.fresh(), asm.fresh()
        if len(leaves) > 64:  # the upper half may be out of a conditional jump's reach
            asm.branch(GREATER_OR_EQUAL, leaves[middle][0], otherwise=near)
            asm.jump(upper)
            asm.label(near)
        else:
            asm.branch(GREATER_OR_EQUAL, leaves[middle][0], then=upper)
        _search(asm, leaves[:middle])
        asm.label(upper)
        _search(asm, leaves[middle:])
        return
    _, action, rules, wide = leaves[0]
    for rule in rules:
        _condition(asm, rule, action, wide=wide)
    asm.ret(_ERRNO | _EPERM if rules else action)


def _condition(asm: Assembler, rule: policy.Condition, action: int, *, wide: bool) -> None:
    """Return `action` if the argument fits the rule, else go on."""
    operator, argument, value, mask = rule
    low = _FIRST_ARGUMENT + 8 * argument
    other = asm.fresh()
    if wide and not mask:
        asm.load(low + 4)
        asm.branch(EQUAL, value >> 32, otherwise=other)
    asm.load(low)
    if operator == "==":
        if mask:
            asm.mask(mask)
        asm.branch(EQUAL, value & 0xFFFFFFFF, otherwise=other)
    elif operator == "<":
        asm.branch(GREATER_OR_EQUAL, value, then=other)
    else:
        raise ValueError(f"unknown comparison {operator} in the system call policy")
    asm.ret(action)
    asm.label(other)
