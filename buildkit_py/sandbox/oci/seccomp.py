"""The system call policy in the form of the runtime specification (config-linux.md, "Seccomp").

The same table as `sandbox.seccomp` compiles. What the form cannot say: that
numbers newer than the table answer ENOSYS, which runc adds by itself.
"""

from __future__ import annotations

from buildkit_py.sandbox import seccomp_policy as policy
from buildkit_py.sandbox.syscalls import MACHINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EPERM, _ENOSYS = 1, 38
_ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}
_COMPARISONS = {"==": "SCMP_CMP_EQ", "<": "SCMP_CMP_LT"}


def seccomp_document(capabilities: int, machine: str = MACHINE) -> dict[str, Any]:
    """The value of `linux.seccomp` for a bounding set. Raises `KeyError` for an unknown machine."""
    allowed = policy.allowed(capabilities)
    plain = sorted([name for name, rules in allowed.items() if not rules])
    calls: list[dict[str, Any]] = [{"names": plain, "action": "SCMP_ACT_ALLOW"}]
    for name, rules in sorted(allowed.items()):
        # An entry for each rule: the conditions of one entry must all hold, of several entries one.
        calls += [{"names": [name], "action": "SCMP_ACT_ALLOW", "args": [_argument(rule)]} for rule in rules]
    missing = sorted(policy.NO_SUCH_CALL - allowed.keys())
    if missing:
        calls.append({"names": missing, "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "architectures": list(_ARCHITECTURES[machine]),
        "syscalls": calls,
    }


def _argument(rule: policy.Condition) -> dict[str, int | str]:
    operator, argument, value, mask = rule
    if mask:
        return {"index": argument, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
    return {"index": argument, "value": value, "op": _COMPARISONS[operator]}
