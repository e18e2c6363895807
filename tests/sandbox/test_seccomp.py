"""The compiled filter: against libseccomp's for the same rules, and against the kernel."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import random
import tempfile

import pytest

from buildkit_py.sandbox import capabilities, seccomp, seccomp_policy
from buildkit_py.sandbox.spec import RootFilesystem
from tests.sandbox.bpf_machine import evaluate
from tests.sandbox.conftest import Box

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = _ERRNO | 1, _ERRNO | 38
# libseccomp's tokens of the architectures are the kernel's AUDIT_ARCH values, but for x32
_X32_TOKEN = 0x4000003E
_SUB = {"x86_64": (0x40000003, _X32_TOKEN), "aarch64": (0x40000028,)}
_NATIVE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


class _Compare(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def _libseccomp() -> ctypes.CDLL:
    name = ctypes.util.find_library("seccomp")
    if name is None:
        if os.environ.get("PYBUILD_CI") == "1":
            pytest.fail("missing: libseccomp2")
        pytest.skip("missing: libseccomp2")
    lib = ctypes.CDLL(name)
    lib.seccomp_init.restype = ctypes.c_void_p
    lib.seccomp_arch_native.restype = ctypes.c_uint32
    return lib


def _reference(lib: ctypes.CDLL, machine: str, mask: int) -> bytes:
    """What libseccomp makes of the policy."""
    context = ctypes.c_void_p(lib.seccomp_init(_EPERM))
    native = lib.seccomp_arch_native()
    for token in (_NATIVE[machine], *_SUB[machine]):
        if token != native:
            assert lib.seccomp_arch_add(context, ctypes.c_uint32(token)) == 0
    if native not in (_NATIVE[machine], *_SUB[machine]):
        assert lib.seccomp_arch_remove(context, ctypes.c_uint32(native)) == 0
    allowed = seccomp_policy.allowed(mask)
    for name in seccomp_policy.NO_SUCH_CALL - set(allowed):
        number = lib.seccomp_syscall_resolve_name(name.encode())
        assert lib.seccomp_rule_add_array(context, _ENOSYS, number, 0, None) == 0
    for name, rules in allowed.items():
        number = lib.seccomp_syscall_resolve_name(name.encode())
        if number == -1:
            continue  # newer than this libseccomp
        for operator, argument, value, bits in rules or ((("", 0, 0, 0)),):
            if not operator:
                result = lib.seccomp_rule_add_array(context, _ALLOW, number, 0, None)
            else:
                less, equal, masked = 2, 4, 7
                op = masked if bits else {"<": less, "==": equal}[operator]
                compare = _Compare(argument, op, bits or value, value if bits else 0)
                result = lib.seccomp_rule_add_array(context, _ALLOW, number, 1, ctypes.byref(compare))
            assert result in (0, -33), (name, result)  # EDOM: a call of one architecture only
    with tempfile.TemporaryFile() as file:
        assert lib.seccomp_export_bpf(context, file.fileno()) == 0
        lib.seccomp_release(context)
        file.seek(0)
        return file.read()


def _samples() -> list[tuple[int, ...]]:
    """Arguments on both sides of every condition of the policy, in each place, alone and with the upper half set."""
    values = {0, 1, 0xFFFFFFFF, 1 << 63, 2**64 - 1}
    for rules in seccomp_policy.WITH_ARGUMENTS.values():
        for _, _, value, mask in rules:
            values |= {value - 1, value, value + 1, value | 1 << 32}
            values |= {1 << bit for bit in range(64) if mask >> bit & 1} | {mask, ~mask}
    values = {value & 2**64 - 1 for value in values}
    return [(value,) * 6 for value in values] + [(value, *[7] * 5) for value in values] + [(7, *[0] * 5)]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("mask", [capabilities.DEFAULT, 0, capabilities.ALL], ids=hex)
def test_answers_are_those_of_libseccomp(machine: str, mask: int) -> None:
    lib = _libseccomp()
    name_of = lib.seccomp_syscall_resolve_num_arch
    name_of.restype = ctypes.c_char_p
    ours, theirs = seccomp.compile_filter(mask, machine), _reference(lib, machine, mask)
    draw = random.Random(1)
    samples, checked, left_out = _samples(), 0, set()
    for arch, column, bit in seccomp.SECTIONS[machine]:
        token = _X32_TOKEN if column == "x32" else arch
        numbers = seccomp_policy.numbers(column)
        names = {number: name for name, number in numbers.items()}
        newest = max(number for number in names if number < 0xF0000)
        for number in range(newest + 100):
            known = name_of(ctypes.c_uint32(token), number | bit)
            if known is None and number in names:
                left_out.add(names[number])  # newer than this libseccomp
                continue
            special = names.get(number) in seccomp_policy.WITH_ARGUMENTS
            for arguments in samples if special else [tuple(draw.getrandbits(64) for _ in range(6))]:
                if arch < 0x80000000:
                    arguments = tuple(argument & 0xFFFFFFFF for argument in arguments)
                answers = [evaluate(program, arch, number | bit, arguments) for program in (ours, theirs)]
                if number > newest:  # what runc lays before a filter of libseccomp's
                    answers[1] = _ENOSYS
                assert answers[0] == answers[1], (column, number, known, arguments, [hex(one) for one in answers])
                checked += 1
    assert len(left_out) < 30, left_out
    assert checked > 1000


def test_numbers_newer_than_the_table_are_unknown_not_forbidden() -> None:
    program = seccomp.compile_filter(capabilities.DEFAULT, "x86_64")
    arguments = (0,) * 6
    for arch, number in ((0xC000003E, 999), (0xC000003E, 467), (0x40000003, 999), (0xC000003E, 0x40000000 | 999)):
        assert evaluate(program, arch, number, arguments) == _ENOSYS
    assert evaluate(program, 0xC000003E, 435, arguments) == _ENOSYS  # clone3
    assert evaluate(program, 0xC00000B7, 0, arguments) == seccomp.KILL_PROCESS


def test_a_capability_opens_its_calls() -> None:
    sys_admin = capabilities.mask("SYS_ADMIN")
    program = seccomp.compile_filter(capabilities.DEFAULT | sys_admin, "x86_64")
    mount, clone3 = 165, 435
    assert evaluate(program, 0xC000003E, mount, (0,) * 6) == _ALLOW
    assert evaluate(program, 0xC000003E, clone3, (0,) * 6) == _ALLOW


def test_a_machine_without_a_table() -> None:
    assert not seccomp.supported("riscv64")
    with pytest.raises(KeyError):
        seccomp.compile_filter(0, "riscv64")


_PROBE = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    r = libc.syscall(*[ctypes.c_long(n) for n in (number, *arguments)])
    return 'ok' if r >= 0 else ctypes.get_errno()
print(call(435, 0, 0), call(272, 0x10000000), call(165, 0, 0, 0, 0, 0), call(308, -1, 0), call(250, 0, -3, 0))
print(call(321, 0, 0, 0), call(298, 0, 0, -1, -1, 0), call(323, 0))
print(call(425, 1, 0), call(304, -1, 0, 0), call(438, -1, 0, 0))
print(call(135, 0x0040000), call(135, 0xffffffff), call(41, 40, 1, 0), call(41, 38, 5, 0), call(41, 1, 1, 0))
print(call(430, 0, 0), call(428, -1, 0, 0), call(429, -1, 0, -1, 0, 0), call(442, -1, 0, 0, 0, 0), call(999))
print(call(447, 0), call(39))
"""


def test_the_kernel_answers_as_under_docker(box: Box) -> None:
    if os.uname().machine != "x86_64" or not os.path.exists("/usr/bin/python3"):
        pytest.skip("numbers of x86_64, and a Python of the system")
    result = box.run("/usr/bin/python3", "-I", "-S", "-c", _PROBE, root=RootFilesystem(host=True, upper="@"))
    assert result.error == "", result
    lines = [line.split() for line in result.out.splitlines()]
    assert lines[0] == ["38", "1", "1", "1", "1"], result
    assert lines[1] == lines[2] == ["1"] * 3
    assert lines[3] == ["1", "ok", "1", "1", "ok"]
    assert lines[4] == ["1", "1", "1", "1", "38"]
    assert lines[5][0] in ("ok", "38")  # memfd_secret is allowed, and may be off in the kernel
    assert lines[5][1] == "ok"


def test_without_the_filter(box: Box) -> None:
    assert "Seccomp:\t0" in box.lines("cat /proc/self/status", seccomp=False)
