"""Makes an ordinary user's process root of a user namespace of its own, so that the rest of pybuild need not care.

Inside, 0 is the user and 1 upward is the range that /etc/subuid and
/etc/subgid give the user (user_namespaces(7), subuid(5)). Without a range, or
without the set-uid programs that may map it, only 0 is mapped.
"""

from __future__ import annotations

import os

from buildkit_py.errors import SandboxError
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_WHOLE = ["0", "0", "4294967295"]
_WRITERS = (("uid", "newuidmap", "/etc/subuid"), ("gid", "newgidmap", "/etc/subgid"))


class Identity(Record):
    """Who this process is now. `privileged`: root of the machine. `userns`: root of a user namespace only.

    `single_id`: no id but 0 exists in it, for the reason `why`. `uid` and `gid` are the user's own.
    `owners` says what the owners of files come to on the disk: where it differs, so do they.
    """

    privileged: bool
    userns: bool
    single_id: bool
    uid: int
    gid: int
    why: str = ""
    owners: str = "root"


def in_user_namespace() -> bool:
    return _read("/proc/self/uid_map").split() != _WHOLE


def id_map(kind: str) -> list[tuple[int, int, int]]:
    """The numbers of users ("uid") or groups ("gid") that exist in this process's user namespace, in ranges.

    Each is (first here, the same as the namespace above has it, how many); user_namespaces(7).
    """
    lines = [line.split() for line in _read(f"/proc/self/{kind}_map").splitlines()]
    return [(int(inside), int(outside), int(count)) for inside, outside, count in lines]


def mapped_ids() -> int:
    """How many user ids exist in this process's namespace."""
    return sum([count for _, _, count in id_map("uid")])


def overlay_xattr() -> str:
    """The prefix of the attributes in which overlay keeps its notes, here."""
    return "user.overlay." if in_user_namespace() else "trusted.overlay."


# Who this process became: a second session in it must not take its own namespace for one that others made.
_entered: list[Identity] = []


def enter() -> Identity:
    """Enter a new user and mount namespace, unless this process is root of one already.

    Only for a process with one thread. Raises `SandboxError` with the fix
    where the kernel refuses.
    """
    if _entered:
        return _entered[0]
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        inside = in_user_namespace()
        single = mapped_ids() == 1
        owner = id_map("uid")[0][1] if inside else 0
        why = "only one id is mapped in the namespace that pybuild was started in" if single else ""
        # Of a namespace that others made the numbers say nothing: its disk may be mapped as well.
        owners = "root" if not inside else "one id" if single else "a namespace"
        return Identity(not inside, inside, single, owner, gid, why, owners)
    ranges, why = find_ranges(uid)
    pipes: list[tuple[int, int]] = []
    try:
        pipes.append(os.pipe())
        pipes.append(os.pipe())
        helper = os.fork() if not why else 0
    except OSError as error:
        for end in (end for pipe in pipes for end in pipe):
            os.close(end)
        raise SandboxError(
            f"cannot start the process that maps this user's ids: {os.strerror(error.errno or 0).lower()}",
            hint="this user has as many processes or files as it may: `ulimit -u`, `ulimit -n`",
        ) from error
    ready, told = pipes
    if not why and helper == 0:
        os.close(ready[1])
        os.close(told[0])
        _write_maps(os.getppid(), uid, gid, ranges, ready[0], told[1])
    try:
        os.close(ready[0])
        os.close(told[1])
        _unshare()
        if why:
            _map_one(uid, gid)
        else:
            os.write(ready[1], b"1")
            _expect(os.fdopen(told[0], "rb", closefd=False).read())
    finally:
        os.close(ready[1])
        os.close(told[0])
        if helper:
            os.waitpid(helper, 0)
    _entered.append(Identity(False, True, bool(why), uid, gid, why, "one id" if why else _mapped()))
    return _entered[0]


def join(pidfd: int, text: str) -> None:
    """Be in the user namespace of another process of this user, who is as `handed_on` says; nothing for root.

    Only for a process with one thread. Raises `ProcessLookupError` where the other one has ended, `SandboxError` where
    this one is in a namespace of its own already.
    """
    if not text:
        return
    from buildkit_py.sandbox import syscalls
    from buildkit_py.sandbox.pidfds import is_elsewhere

    try:
        if not is_elsewhere(pidfd, "user"):
            return
        if _entered:
            raise SandboxError("this process is in another user namespace already")
        syscalls.setns(pidfd, syscalls.CLONE_NEWUSER)
        syscalls.unshare(syscalls.CLONE_NEWNS)
    except ProcessLookupError:
        raise
    except OSError as error:
        raise SandboxError(f"cannot enter the user namespace of another process: {error.strerror}") from error
    take_over(text)


def handed_on() -> str:
    """Who this process became, for another that it starts, which is in its namespace then; "" for nobody else."""
    import marshal

    return marshal.dumps(_entered[0].values()).hex() if _entered else ""


def take_over(text: str) -> None:
    """Be who `handed_on` says: of the namespace that it finds itself in a process else knows only that it is one."""
    import marshal

    if text and not _entered:
        _entered.append(Identity(*marshal.loads(bytes.fromhex(text))))


def joined(uid: int, gid: int) -> None:
    """Note that this process, of that user and group, is now in a namespace that `enter` made in another one."""
    single = mapped_ids() == 1
    why = "only one id is mapped in the namespace of the container" if single else ""
    _entered.append(Identity(False, True, single, uid, gid, why, "one id" if single else _mapped()))


def _mapped() -> str:
    """The ids of this process's namespace, as the kernel tells: `0 1000 1 1 100000 65536`, of users and of groups."""
    return ", ".join([" ".join(_read(f"/proc/self/{kind}_map").split()) for kind in ("uid", "gid")])


def _unshare() -> None:
    from buildkit_py.sandbox import syscalls

    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
    except OSError as error:
        raise SandboxError(
            f"this user may not make a user namespace: {os.strerror(error.errno or 0).lower()}", hint=refusal_fix()
        ) from error


def refusal_fix() -> str:
    """The line that lets ordinary users make user namespaces on this machine, as far as it can be told."""
    if _read("/proc/sys/user/max_user_namespaces").strip() == "0":
        return "as root: sysctl -w user.max_user_namespaces=15000"
    if _read("/proc/sys/kernel/unprivileged_userns_clone").strip() == "0":
        return "as root: sysctl -w kernel.unprivileged_userns_clone=1"
    if _read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").strip() == "1":
        return "as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    return "run as root, or allow unshare in the seccomp profile of the container that pybuild runs in"


def _map_one(uid: int, gid: int) -> None:
    try:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, text.encode())
            finally:
                os.close(fd)
    except OSError as error:
        # AppArmor lets the namespace be made and then takes its rights away.
        raise SandboxError(
            f"this user may not map its own id: {os.strerror(error.errno or 0).lower()}", hint=refusal_fix()
        ) from error


def find_ranges(uid: int) -> tuple[dict[str, list[tuple[int, int]]], str]:
    """The user's ranges by kind, and why they cannot be used ("" if they can)."""
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    ranges: dict[str, list[tuple[int, int]]] = {}
    for kind, program, path in _WRITERS:
        if not find_program(program):
            return {}, f"{program} is missing: as root, apt-get install uidmap (elsewhere: shadow-utils)"
        ranges[kind] = read_ranges(path, name, uid)
        if not ranges[kind]:
            return {}, f"{path} has no range for this user: as root, echo {name}:{_free_start(path)}:65536 >> {path}"
    return ranges, ""


def read_ranges(path: str, name: str, uid: int) -> list[tuple[int, int]]:
    """The ranges (first, count) that a subuid(5) file gives a user, by name or number."""
    out = []
    for line in _read(path).splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[0] in (name, str(uid)) and fields[1].isdigit() and fields[2].isdigit():
            out.append((int(fields[1]), int(fields[2])))
    return [(first, count) for first, count in out if count > 0]


def _free_start(path: str) -> int:
    ends = [100_000]
    for line in _read(path).splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
            ends.append(int(fields[1]) + int(fields[2]))
    return max(ends)


def find_program(name: str) -> str:
    """The path of a program of this machine: by PATH, and then in the usual places; "" if it is nowhere."""
    for directory in (*os.environ.get("PATH", "").split(":"), "/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        path = f"{directory}/{name}"
        if directory.startswith("/") and os.access(path, os.X_OK):
            return path
    return ""


def _write_maps(
    pid: int, uid: int, gid: int, ranges: dict[str, list[tuple[int, int]]], ready: int, told: int
) -> NoReturn:
    """In a child that stayed in the old namespace: let both set-uid programs write the maps of `pid`."""
    failed = b""
    try:
        if os.read(ready, 1):
            running = []
            for kind, program, _ in _WRITERS:
                arguments = [program, str(pid), "0", str(uid if kind == "uid" else gid), "1"]
                inside = 1
                for first, count in ranges[kind]:
                    arguments += [str(inside), str(first), str(count)]
                    inside += count
                actions = [(os.POSIX_SPAWN_DUP2, told, 2), (os.POSIX_SPAWN_DUP2, told, 1)]
                path = find_program(program)
                running.append((program, os.posix_spawn(path, arguments, {}, file_actions=actions)))
            for program, child in running:
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                if status:
                    failed += f"{program} ended with {status}\n".encode()
        os.write(told, failed or b"ok")
    except OSError as error:
        os.write(told, f"{error.strerror}: {error.filename}\n".encode())
    finally:
        os._exit(0)


def _expect(answer: bytes) -> None:
    if answer != b"ok":
        words = answer.decode("utf-8", "replace").split("\n")
        raise SandboxError(
            "newuidmap and newgidmap could not map this user's ids",
            notes=tuple([line for line in words if line and line != "ok"]),
            hint="check that they are set-uid root and that /etc/subuid and /etc/subgid name this user",
        )


def _read(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        data = b""
        while chunk := os.read(fd, 1 << 16):
            data += chunk
    finally:
        os.close(fd)
    return data.decode("utf-8", "replace")
