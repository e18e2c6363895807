"""What a step sees and may do, against the checklist of docker's build."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from buildkit_py.sandbox.spec import RootFilesystem
from tests.sandbox.conftest import Box


def _status(box: Box, **fields: Any) -> dict[str, str]:
    # Without a shell: it ignores SIGQUIT for itself.
    result = box.run("/bin/cat", "/proc/self/status", **fields)
    assert (result.code, result.error) == (0, ""), result
    return {line.partition(":")[0]: line.partition(":")[2].strip() for line in result.out.splitlines()}


def test_capabilities_of_root(box: Box) -> None:
    status = _status(box)
    assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {"00000000a80425fb"}
    assert {status[name] for name in ("CapInh", "CapAmb")} == {"0000000000000000"}


def test_capabilities_of_a_user(box: Box) -> None:
    if box.single_id:
        pytest.skip("no other user is mapped")
    status = _status(box, user="1000:1000")
    assert status["CapBnd"] == "00000000a80425fb"
    assert {status[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {"0000000000000000"}
    assert status["Groups"].split() == ["1000"]


def test_a_smaller_bounding_set(box: Box) -> None:
    status = _status(box, capabilities=0x1)
    assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {"0000000000000001"}


def test_filter_signals_and_privileges(box: Box) -> None:
    status = _status(box)
    assert (status["Seccomp"], status["Seccomp_filters"], status["NoNewPrivs"]) == ("2", "1", "0")
    assert {status[name] for name in ("SigIgn", "SigBlk")} == {"0000000000000000"}
    assert status["Umask"] == "0022"


def test_no_new_privileges_on_request(box: Box) -> None:
    assert _status(box, no_new_privileges=True)["NoNewPrivs"] == "1"


def test_the_command_is_process_one_and_leads_its_session(box: Box) -> None:
    pid, session = box.lines("echo $$; cut -d' ' -f6 /proc/1/stat")
    assert (pid, session) == ("1", "1")
    assert len(box.lines("ls /proc | grep -E '^[0-9]+$' | grep -v '^1$' | wc -l; true")) == 1


def test_namespaces_are_new(box: Box) -> None:
    names = ("mnt", "pid", "uts", "ipc", "cgroup")
    inside = box.lines("; ".join(f"readlink /proc/self/ns/{name}" for name in (*names, "net")))
    for name, link in zip(names, inside, strict=False):
        assert link != os.readlink(f"/proc/self/ns/{name}")
    assert inside[-1] == os.readlink("/proc/self/ns/net")


def test_version_1_cgroups_are_shown_as_dockers_build_shows_them(box: Box) -> None:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    hierarchies = {line.split(":")[1].removeprefix("name=") for line in lines} - {""}
    if not hierarchies:
        pytest.skip("this machine has the unified hierarchy only")
    mounts = [line.split() for line in box.lines("grep /sys/fs/cgroup /proc/self/mountinfo")]
    seen = {fields[4]: fields for fields in mounts}  # the last one on a place is the one in sight
    assert seen["/sys/fs/cgroup"][7] == "tmpfs"
    for fields in [seen["/sys/fs/cgroup"], *[seen[f"/sys/fs/cgroup/{name}"] for name in hierarchies]]:
        assert set(fields[5].split(",")) >= {"ro", "nosuid", "nodev", "noexec"}, fields
    assert {seen[f"/sys/fs/cgroup/{name}"][3] for name in hierarchies} == {"/"}
    controllers = {name for line in hierarchies for name in (line, *line.split(","))}
    assert set(box.lines("ls /sys/fs/cgroup")) == controllers
    # What is seen is the sandbox's own place, whatever else the machine runs.
    assert all(line.endswith(":/") for line in box.lines("cat /proc/self/cgroup"))
    for name in hierarchies:
        assert "1" in box.lines(f"cat /sys/fs/cgroup/{name}/cgroup.procs")
    refused = box.sh("for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/x && echo MADE; done; true")
    assert refused.out == ""
    assert refused.err.count("Read-only file system") == 1 + len(controllers)


def test_network_none_has_a_loopback_that_is_up(box: Box) -> None:
    lines = box.lines("ip -o link; ip -o addr", network="none")
    assert all(": lo" in line for line in lines)
    assert any("UP" in line for line in lines)
    assert any("127.0.0.1" in line for line in lines)


_PORTS = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range"


def test_low_ports_are_for_every_user_on_request(box: Box) -> None:
    start, groups = box.lines(_PORTS, network="none", open_ports=True)
    last = {"root": 2**31 - 1, "range": 65536, "single": 0}[box.mode]
    assert (start, [int(group) for group in groups.split()]) == ("0", [0, last])
    assert (
        box.sh("echo 1024 > /proc/sys/net/ipv4/ip_unprivileged_port_start", network="none", open_ports=True).code != 0
    )
    # Neither the next one nor this machine's own network has any of it.
    assert box.lines(_PORTS, network="none")[0] == "1024"
    before = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text().strip()
    assert box.lines(_PORTS, network="host", open_ports=True)[0] == before


def test_host_name(box: Box) -> None:
    assert box.lines("hostname") == ["buildkitsandbox"]
    assert box.sh("hostname evil").code != 0


def test_devices(box: Box) -> None:
    names = box.lines("ls /dev")
    wanted = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert names == wanted.split()
    assert box.lines("for n in fd stdin stdout stderr ptmx; do readlink /dev/$n; done") == [
        "/proc/self/fd",
        "/proc/self/fd/0",
        "/proc/self/fd/1",
        "/proc/self/fd/2",
        "pts/ptmx",
    ]
    assert box.lines("echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c") == ["3", "3"]
    assert box.sh("echo x > /dev/full").code != 0


def test_the_devices_of_this_machine_are_not_changed(box: Box) -> None:
    names = ("null", "zero", "full", "random", "urandom", "tty")

    def devices() -> list[tuple[int, int, int]]:
        return [(status.st_mode, status.st_uid, status.st_gid) for status in map(os.stat, paths)]

    paths = [f"/dev/{name}" for name in names]
    before = devices()
    result = box.sh(f"chmod 600 {' '.join(paths)}; chown 1:1 {' '.join(paths)}; touch -d @0 {' '.join(paths)}; true")
    try:
        assert devices() == before
    finally:
        for path, (mode, uid, gid) in zip(paths, before, strict=True):
            if os.geteuid() == 0:
                os.chmod(path, mode & 0o7777)
                os.chown(path, uid, gid)
    if box.privileged:  # its own, as under docker
        assert result.err == ""
    assert box.lines("stat -c '%a %t:%T' /dev/null; echo x > /dev/null; head -c 1 /dev/zero | wc -c") == [
        "666 1:3",
        "1",
    ]


def test_shared_memory_and_terminals(box: Box) -> None:
    mounts = {line.split()[4]: line.split()[5] for line in box.lines("cat /proc/self/mountinfo")}
    for path in ("/dev/shm", "/dev/mqueue", "/proc"):
        assert set(mounts[path].split(",")) >= {"rw", "nosuid", "nodev", "noexec"}
    assert "noexec" in mounts["/dev/pts"]
    assert box.lines("stat -c %a /dev/shm; stat -c %a /dev/pts/ptmx") == ["1777", "666"]


def test_every_mount_but_the_device_nodes_is_nodev(box: Box) -> None:
    for line in box.lines("cat /proc/self/mountinfo"):
        root, target, options = line.split()[3:6]
        node = root.removeprefix("/devices") in ("/null", "/zero", "/full", "/random", "/urandom", "/tty")
        if not node and target != "/dev/pts":
            assert "nodev" in options.split(","), line


def test_a_node_made_by_a_step_cannot_be_opened(box: Box) -> None:
    result = box.sh("for d in / /dev /dev/shm /tmp; do mknod $d/n c 1 3 && head -c1 $d/n; done; true")
    assert result.code == 0
    if box.privileged:
        assert result.err.count("Permission denied") == 4, result.err
    else:
        assert result.err.count("Operation not permitted") == 4, result.err


@pytest.mark.parametrize("path", ["/proc/acpi", "/sys/firmware"])
def test_masked_directories(box: Box, path: str) -> None:
    assert box.lines(f"[ -d {path} ] && ls -A {path}; true") == []
    assert box.sh(f"[ -d {path} ] || exit 1; touch {path}/x").code != 0


@pytest.mark.parametrize("path", ["/proc/keys", "/proc/timer_list", "/proc/interrupts", "/proc/kcore"])
def test_masked_files(box: Box, path: str) -> None:
    assert box.lines(f"[ -e {path} ] && cat {path}; true") == []


def test_read_only_parts_of_proc_and_sys(box: Box) -> None:
    result = box.sh(
        "for f in /proc/sys/kernel/core_pattern /proc/sys/net/ipv4/ip_forward /proc/sysrq-trigger /proc/irq/x "
        "/sys/kernel/x /sys/fs/cgroup/x; do echo x > $f && echo WROTE $f; done; true"
    )
    assert result.out == ""
    assert result.err.count("Read-only file system") >= 3, result.err


@pytest.mark.parametrize(
    "attempt",
    [
        "mount -t tmpfs none /tmp",
        "mount -o remount,rw /proc/sys",
        "umount /proc/sys",
        "umount /etc/hosts",
        "mount -o bind / /tmp",
    ],
)
@pytest.mark.attack("S11", "S12")
def test_mounting_is_refused(box: Box, attempt: str) -> None:
    assert box.sh(attempt, hosts=b"").code != 0


def test_nothing_of_the_host_is_in_sight(box: Box) -> None:
    lines = box.lines("ls -A /..; ls -A /proc/1/root/; ls -di / /..; cut -d' ' -f5 /proc/self/mountinfo")
    assert lines[0] == "bin"
    numbers = [line.split()[0] for line in lines if line.endswith((" /", " /.."))]
    assert len(set(numbers)) == 1
    for target in lines[lines.index("bin", 1) :]:
        assert not target.startswith(("/mnt", "/work", "/run")), target


def test_environment_and_home(box: Box) -> None:
    lines = box.lines("env")
    assert {line.partition("=")[0] for line in lines} <= {"PATH", "HOME", "PWD", "SHLVL", "OLDPWD"}
    assert "HOME=/root" in lines
    assert "HOME=/else" in box.lines("env", env=(("PATH", "/bin"), ("HOME", "/else")))
    assert "leaked" not in "".join(box.lines("cat /proc/1/environ"))


def test_standard_input_is_empty_and_no_other_descriptors(box: Box) -> None:
    assert box.lines("cat | wc -c; readlink /proc/1/fd/0; ls /proc/1/fd; true") == ["0", "/dev/null", "0", "1", "2"]


def test_hosts_and_resolv_conf_are_bound_read_only(box: Box) -> None:
    result = box.sh(
        "cat /etc/hosts /etc/resolv.conf; echo x >> /etc/hosts; rm /etc/resolv.conf; mv /etc/hosts /h; true",
        hosts=b"127.0.0.1 localhost\n",
        resolv_conf=b"nameserver 192.0.2.1\n",
    )
    assert result.out == "127.0.0.1 localhost\nnameserver 192.0.2.1\n"
    assert result.err.count("Read-only file system") == 1
    assert result.err.count("busy") == 2, result.err
    assert result.upper == {}


def test_writable_hosts_do_not_reach_the_layer(box: Box) -> None:
    result = box.sh("echo x > /etc/hosts; cat /etc/hosts", hosts=b"y\n", writable_etc=True)
    assert (result.out, result.upper) == ("x\n", {})


def test_root_directory_of_the_layer_is_only_what_the_step_wrote(box: Box) -> None:
    result = box.sh("echo hi > /new; mkdir -p /a/b; rm /bin/tty")
    assert sorted(result.upper) == ["a", "a/b", "bin", "bin/tty", "new"]
    assert result.upper["new"][3] == b"hi\n"
    assert result.upper["bin/tty"][0] & 0o170000 == 0o020000


def test_an_empty_image_leaves_no_mount_points(box: Box) -> None:
    root = RootFilesystem(layers=(), upper="@")
    result = box.run(
        "/busybox", "true", root=root, layers=[{"busybox": (box.rootfs / "bin/busybox").read_bytes()}], hosts=b"x"
    )
    assert (result.code, result.error, result.upper) == (0, "", {})


def test_read_only_roots(box: Box) -> None:
    assert box.sh("touch /x", read_only_root=True).code != 0
    result = box.sh("touch /x", root=RootFilesystem(layers=(str(box.rootfs),)), hosts=b"127.0.0.1 localhost\n")
    assert (result.code, result.error) == (1, "")
    assert "Read-only file system" in result.err


@pytest.mark.attack("S10")
def test_set_user_id_programs_gain_no_more_than_the_bounding_set(box: Box) -> None:
    if box.single_id:
        pytest.skip("no other user is mapped")
    script = "cp /bin/busybox /b; chmod 4755 /b; echo done"
    assert box.lines(script) == ["done"]
    layer = {"b": (box.rootfs / "bin/busybox").read_bytes()}
    status = _status(box, user="1000", layers=[layer])
    assert status["CapEff"] == "0000000000000000"
