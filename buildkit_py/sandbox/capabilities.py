"""Linux capabilities: names, masks, and how a process gives up what is not in a mask."""

from __future__ import annotations

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.spec import DEFAULT_CAPABILITIES

# Position is the number (include/uapi/linux/capability.h).
_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
NAMES = tuple(_NAMES.split())
DEFAULT = DEFAULT_CAPABILITIES
ALL = (1 << len(NAMES)) - 1
_EINVAL = 22


def mask(name: str) -> int:
    """The bit of a capability, named with or without `CAP_`, or all of them for "ALL". Raises `KeyError`."""
    bare = name.upper().removeprefix("CAP_")
    if bare == "ALL":
        return ALL
    if bare not in NAMES:
        raise KeyError(name)
    return 1 << NAMES.index(bare)


def limit_bounding_set(keep: int) -> None:
    """Drop every capability outside `keep` from the bounding set, so that no exec can bring it back."""
    for number in range(64):
        if keep >> number & 1:
            continue
        try:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno != _EINVAL:
                raise
            return  # past the kernel's last capability


def limit_process(keep: int) -> None:
    """Keep of the process's own capabilities only `keep`, with nothing inheritable or ambient (CVE-2022-24769)."""
    have = syscalls.permitted_capabilities() & keep
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    syscalls.capset(have, have, 0)
