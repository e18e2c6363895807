"""What a stranger's program tries from within: to get at the machine's files, processes, keys, sockets and kernel."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.attacks.doors import Door
from tests.attacks.images import member

_LIBC = ctypes.CDLL(None, use_errno=True)
_KEY = 0x70790000 | (os.getpid() & 0xFFFF)
_ADD_KEY, _KEYCTL = {"x86_64": (248, 250), "aarch64": (217, 219)}.get(os.uname().machine, (0, 0))
_SESSION, _UNLINK = -3, 9


def file_handle(path: Path) -> tuple[int, str]:
    """The kernel's name of a file, of name_to_handle_at(2): its type, and its bytes in hexadecimal."""
    buffer = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int()
    if _LIBC.name_to_handle_at(-100, os.fsencode(path), buffer, ctypes.byref(mount), 0):
        number = ctypes.get_errno()
        pytest.skip(
            f"missing in this kernel: file handles of the file system of {path.parent} ({errno.errorcode[number]})"
        )
    length, kind = struct.unpack_from("Ii", buffer)
    return kind, buffer.raw[8 : 8 + length].hex()


@contextmanager
def shared_memory(text: str) -> Iterator[None]:
    """System V memory of the machine, which every user may read."""
    number = _LIBC.shmget(_KEY, 4096, 0o1666)
    assert number >= 0
    try:
        _LIBC.shmat.restype = ctypes.c_void_p
        address = _LIBC.shmat(number, None, 0)
        ctypes.memmove(address, text.encode(), len(text))
        _LIBC.shmdt(ctypes.c_void_p(address))
        yield
    finally:
        _LIBC.shmctl(number, 0, None)


@contextmanager
def key_of_the_session(description: str, text: str) -> Iterator[int]:
    """A key of this process's session, which is that of the pybuild that it starts; its number."""
    if not _ADD_KEY:
        pytest.skip("missing in this test: the numbers of this machine's calls about keys")
    number = _LIBC.syscall(_ADD_KEY, b"user", description.encode(), text.encode(), len(text), _SESSION)
    if number < 0:
        pytest.skip(f"missing in this kernel: keyrings ({errno.errorcode[ctypes.get_errno()]})")
    try:
        yield number
    finally:
        _LIBC.syscall(_KEYCTL, _UNLINK, number, _SESSION)


def refused(seen_lines: list[str], *names: str) -> None:
    """Every line is an attempt that was refused, and there are all of these."""
    assert seen_lines
    for line in seen_lines:
        assert " refused " in line, line
    assert {line.split()[0] for line in seen_lines} == set(names)


@pytest.mark.attack("S11")
def test_files_of_the_machine(door: Door) -> None:
    """By all names, by their handles, out of a chroot, by descriptors that were left open, and by way of /proc."""
    kind, handle = file_handle(door.canary.file)
    places = "/proc/1/root /proc/1/cwd /proc/self/root /proc/self/cwd /proc/self/task/1/root"
    script = (
        f"inside handle {kind} {handle}; inside descriptors; inside up {door.canary.file}; "
        f"for p in {places}; do cat $p/{door.canary.file} $p/../../..{door.canary.file}; done 2>/dev/null; "
        f"{door.canary.get_at_it()}; ls /proc/1/fd /proc/self/map_files >/dev/null; :"
    )
    seen = door.sh(script)
    assert seen.code == 0, seen
    assert door.canary.text not in seen.said
    refused([line for line in seen.out if line.startswith(("handle", "desc", "up"))], "handle", "descriptors", "up")


@pytest.mark.attack("S11")
def test_processes_of_the_machine(door: Door) -> None:
    """One of the same user, which may be traced and killed from outside: inside nobody has its number."""
    owner = door.world.project.stat()
    command = ["setpriv", "--reuid", str(owner.st_uid), "--clear-groups", "sleep", "1000"]
    canary = subprocess.Popen(command[-2:] if owner.st_uid == os.geteuid() else command)
    try:
        seen = door.sh(
            f"inside process {canary.pid}; kill -9 {canary.pid}; kill -9 {os.getpid()}; kill -9 -1; ls /proc"
        )
        refused(
            [line for line in seen.out if " refused " in line or "DONE" in line],
            "trace",
            "memory",
            "pidfd",
            "descriptor",
            "kill",
        )
        assert str(canary.pid) not in seen.out
        assert canary.poll() is None
    finally:
        canary.kill()
        canary.wait()


@pytest.mark.attack("S11")
def test_keys_of_the_user(door: Door) -> None:
    with key_of_the_session("pybuild-canary", door.canary.text) as number:
        seen = door.sh(f"inside key pybuild-canary {number}; cat /proc/keys /proc/key-users; :")
    assert door.canary.text not in seen.said
    assert "pybuild-canary" not in "".join(seen.out)
    refused([line for line in seen.out if line.startswith(("request", "search", "read"))], "request", "search", "read")


@pytest.mark.attack("S13")
def test_sockets_and_memory_of_the_machine(door: Door) -> None:
    """CVE-2020-15257: an abstract socket, a service of the loopback, System V memory, a message queue."""
    name = f"pybuild-canary-{os.getpid()}"
    abstract, service = socket.socket(socket.AF_UNIX), socket.create_server(("127.0.0.1", 0))
    abstract.bind(f"\0{name}")
    abstract.listen()
    port = service.getsockname()[1]
    with abstract, service, shared_memory(door.canary.text):
        seen = door.sh(
            f"inside abstract {name}; inside shared {_KEY} /pybuild-canary; "
            f"nc -w 1 127.0.0.1 {port} </dev/null && echo HEARD; cat /proc/net/unix /proc/sysvipc/shm; "
            "ls /dev/mqueue; echo net $(ls /sys/class/net); :"
        )
        for listener in (abstract, service):
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.accept()
    assert door.canary.text not in seen.said
    assert name not in seen.said.replace(f"abstract {name}", "")
    assert "HEARD" not in seen.out
    assert "net lo" in seen.out
    attempts = [line for line in seen.out if line.startswith(("abstract", "memory", "queue"))]
    refused(attempts, "abstract", "memory", "queue")


SETTINGS = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/fs/binfmt_misc/status",
    "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/proc/irq/default_smp_affinity",
)


@pytest.mark.attack("S12")
def test_settings_of_the_kernel(door: Door) -> None:
    """Written to as they are, through a mount of one's own, and after a remount; CVE-2022-0492 by a release agent."""
    there = [path for path in SETTINGS if os.path.exists(path)]
    before = {path: Path(path).read_bytes() for path in there if os.access(path, os.R_OK)}
    agents = {path: path.read_bytes() for path in Path("/sys/fs/cgroup").glob("*/release_agent")}
    script = f"""
    mount -o remount,rw,bind /proc/sys; mount -o remount,rw /proc; mount -o remount,rw /sys; umount -l /proc/sys
    mkdir -p /m; mount -t proc proc /m; mount -t sysfs sys /m; mount -t cgroup -o memory c /m; mount -t cgroup2 c /m
    mount -t tmpfs t /m; mount --bind / /m; mount -t debugfs d /m; mount -t bpf b /m
    mount -t overlay -o lowerdir=/ o /m; unshare -Ur mount -t tmpfs t /m && echo mounted
    for t in -U -m -n -p -u -i -C; do unshare $t true && echo unshared $t; done
    for n in /proc/1/ns/*; do nsenter -t 1 --mount=$n true && echo entered $n; done
    for f in {" ".join(SETTINGS)} /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/*/release_agent; do
        (echo '|{door.canary.directory}/ran' > $f) && echo wrote $f; (echo 1 > $f) && echo wrote $f
    done
    for d in /sys/fs/cgroup /sys/fs/cgroup/*; do
        mkdir $d/own && echo made $d; echo 1 > $d/notify_on_release && echo set $d
    done
    for t in b c h w; do echo $t > /proc/sysrq-trigger && echo wrote $t; done
    dmesg -c >/dev/null && echo dmesg; hostname other && echo named; date -s 2001-01-01 >/dev/null; date | grep 2001
    reboot -f; swapoff -a; insmod /bin/busybox && echo module; echo end
    """
    seen = door.sh(f"exec 2>/dev/null; {script}")
    assert seen.out == ["end"]
    assert {path: Path(path).read_bytes() for path in before} == before
    assert {path: path.read_bytes() for path in agents} == agents


@pytest.mark.attack("S10")
def test_set_user_id_programs_and_file_capabilities(door: Door, inside: Path) -> None:
    """Of the image: they work, and give nothing that a container has not."""
    capabilities = b"\x01\x00\x00\x02" + b"\xff" * 8 + bytes(8)  # all of them, effective, version 2 of xattr(7)
    record = [(b"SCHILY.xattr.security.capability", capabilities)]
    data = inside.read_bytes()
    door.image(
        member(b"bin/become", data=data, mode=0o6755), member(b"bin/able", data=data, mode=0o755, records=record)
    )
    seen = door.sh(f"become rights {door.canary.file}; able rights {door.canary.file}; :", user="77")
    masks = [int(line.split()[1], 16) for line in seen.out if line.startswith(("CapEff", "CapPrm", "CapBnd"))]
    assert "user 0" in seen.out
    assert 0xA80425FB in masks
    assert all(mask & ~0xA80425FB == 0 for mask in masks), seen.out
    assert door.canary.text not in seen.said


@pytest.mark.attack("S11", "S9")
def test_devices(door: Door) -> None:
    """Those of the machine's disks and memory, made anew: not made, or not opened."""
    numbers = [line.split() for line in Path("/proc/partitions").read_text().splitlines()[2:]]
    disks = [f"b {major} {minor}" for major, minor, *_ in numbers if major != "1"][:6]
    made = "; ".join(
        f"mknod /n{number} {disk}" for number, disk in enumerate(["b 7 0", "c 1 1", "c 1 2", "c 10 200", *disks])
    )
    seen = door.sh(
        f"exec 2>/dev/null; {made}; for n in /n*; do head -c 1 $n && echo READ $n; echo x > $n && echo WROTE $n; done; "
        "echo end"
    )
    assert [line for line in seen.out if "n*" not in line] == ["end"]
