"""What this machine offers to sandboxes, each finding with the line that mends it: for `pybuild info`.

Findings come from trying, not from version numbers, where trying is cheap
and leaves nothing behind.
"""

from __future__ import annotations

import os

from buildkit_py.record import Record
from buildkit_py.sandbox import limits, seccomp, syscalls, userns

_OLDEST_KERNEL = (5, 12)  # mount_setattr
_SINGLE = "single id ({}): files of other owners belong to root"


class Finding(Record):
    """One line of `pybuild info`. `ok` False means that something is missing; `fix` says how to get it."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


def probe() -> tuple[Finding, ...]:
    """Look at this machine. Changes nothing; takes a few milliseconds."""
    return (
        _kernel(),
        _overlayfs(),
        _user_namespaces(),
        _id_range(),
        _id_programs(),
        _seccomp(),
        _cgroups(),
        _network(),
        _tun(),
        _landlock(),
        *_runtimes(),
    )


def _kernel() -> Finding:
    release = os.uname().release
    numbers = release.split("-")[0].split(".")
    version = tuple([int(part) for part in numbers[:2] if part.isdigit()])
    ok = version >= _OLDEST_KERNEL
    return Finding("kernel", ok, f"Linux {release}", "" if ok else "use Linux 5.12 or newer")


def _overlayfs() -> Finding:
    filesystems = _read("/proc/filesystems").split()
    if "overlay" in filesystems:
        return Finding("overlay file system", True, "in the kernel")
    ok = os.path.exists(f"/lib/modules/{os.uname().release}/kernel/fs/overlayfs")
    return Finding(
        "overlay file system", False, "a module, not loaded" if ok else "missing", "as root: modprobe overlay"
    )


def _user_namespaces() -> Finding:
    ok = _try_user_namespace()
    detail = "may be made" if ok else "are refused"
    return Finding("user namespaces", ok, detail, "" if ok else userns.refusal_fix())


def _try_user_namespace() -> bool:
    try:
        pid, pidfd = syscalls.clone(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
    except OSError:
        return False
    if pid == 0:
        try:
            # AppArmor lets the namespace be made and then leaves it without rights.
            syscalls.mount(None, b"/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(pidfd)
    return os.waitpid(pid, 0)[1] == 0


def _id_range() -> Finding:
    uid = os.geteuid()
    if uid == 0 and userns.mapped_ids() == 1:
        fix = "start pybuild outside of that namespace, or in one that maps a range"
        return Finding("user id range", False, _SINGLE.format("of the namespace that pybuild was started in"), fix)
    if uid == 0:
        return Finding("user id range", True, "root needs none")
    ranges, why = userns.find_ranges(uid)
    if why:
        reason, _, fix = why.partition(": ")
        return Finding("user id range", False, _SINGLE.format(reason), fix)
    count = sum([count for _, count in ranges["uid"]])
    return Finding("user id range", True, f"{count} ids")


def _id_programs() -> Finding:
    missing = [name for name in ("newuidmap", "newgidmap") if not userns.find_program(name)]
    fix = "as root: apt-get install uidmap (elsewhere: shadow-utils)" if missing else ""
    return Finding("newuidmap, newgidmap", not missing, "missing: " + ", ".join(missing) if missing else "found", fix)


def _seccomp() -> Finding:
    if not seccomp.supported():
        fix = "run steps with --security-opt seccomp=unconfined, or on x86_64 or aarch64"
        return Finding("system call filter", False, f"no table for {os.uname().machine}", fix)
    ok = os.path.exists("/proc/sys/kernel/seccomp/actions_avail")
    return Finding(
        "system call filter",
        ok,
        "docker's default policy" if ok else "the kernel has none",
        "" if ok else "use a kernel with CONFIG_SECCOMP_FILTER",
    )


def _cgroups() -> Finding:
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        detail = "version 2: " + " ".join(_read("/sys/fs/cgroup/cgroup.controllers").split())
    elif found := sorted([name for name in ("memory", "pids", "cpu") if os.path.isdir(f"/sys/fs/cgroup/{name}")]):
        detail = "version 1: " + " ".join(found)
    else:
        return Finding("cgroups", False, "not mounted: no limits", "as root: mount -t cgroup2 none /sys/fs/cgroup")
    without, fix = limits.refused(limits.hierarchies())
    return Finding("cgroups", not without, detail + (f"; no group for {' '.join(without)}" if without else ""), fix)


def _network() -> Finding:
    """The ways out of an isolated network, the best first."""
    from buildkit_py.sandbox.network.plan import ways_out

    ways = ways_out(os.geteuid() == 0 and not userns.in_user_namespace())
    usable = [name for name, missing in ways if not missing]
    if usable:
        return Finding("isolated network", True, "by " + ", else ".join(usable))
    name, fix = ways[0]
    return Finding("isolated network", False, "none: commands share the machine's", f"{fix} (for {name})")


def _tun() -> Finding:
    path = "/dev/net/tun"
    if not os.path.exists(path):
        return Finding(path, False, "missing", "as root: modprobe tun")
    ok = os.access(path, os.R_OK | os.W_OK)
    return Finding(path, ok, "usable" if ok else "not for this user", "" if ok else f"as root: chmod 666 {path}")


def _landlock() -> Finding:
    abi = syscalls.landlock_abi()
    if abi:
        return Finding("landlock", True, f"ABI {abi}")
    return Finding("landlock", False, "not in this kernel or off", "boot with lsm=landlock,… on a kernel with it")


def _runtimes() -> tuple[Finding, ...]:
    """What `pybuild run --runtime` can use; nobody needs one."""
    from buildkit_py.sandbox.oci.runtimes import installed

    out = []
    for name, found in installed():
        if isinstance(found, Exception):
            out.append(Finding(name, False, str(found), found.hint))
        else:
            out.append(Finding(name, True, f"{found.version} at {found.path}" + (found.advice and f"; {found.advice}")))
    return tuple(out)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
