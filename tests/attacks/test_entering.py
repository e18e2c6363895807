"""Images that lay traps for whoever sets up their sandbox: links and files where it mounts, enters, looks, starts."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.attacks.doors import Door
from tests.attacks.images import link, member
from tests.image.tars import CHARACTER, DIRECTORY, PIPE
from tests.needs import lack

ODD = (b"\f", b"\v", b"\r")
NOT_STARTED = {"build": 6, "run": 125}
"""The exit codes of a sandbox that could not be set up."""


@pytest.mark.attack("S1")
@pytest.mark.parametrize("directory", ["/proc/self/fd/7", "/proc/1/cwd", "/link/x"])
def test_a_working_directory_that_leads_out(door: Door, directory: str) -> None:
    """CVE-2024-21626: of the image's own configuration, where nobody who builds has a say."""
    door.image(link("link", "/proc/self/fd/8"), config={"WorkingDir": directory})
    seen = door.sh(f"pwd; ls ..; cat ../../../../{door.canary.file}")
    assert seen.code == NOT_STARTED[door.kind], seen
    assert "enter the working directory" in seen.said
    assert door.canary.text not in seen.said


@pytest.mark.attack("S1")
def test_a_working_directory_far_up_is_the_images_root(door: Door) -> None:
    door.image(link("up", "../" * 50), config={"WorkingDir": "/up"})
    seen = door.sh(f"pwd -P; ls -d bin; {door.canary.get_at_it()}; :")
    assert (seen.code, seen.out) == (0, ["/", "bin"])


@pytest.mark.attack("S2")
def test_programs_of_who_is_outside(door: Door) -> None:
    """CVE-2019-5736: as entry point, as interpreter of one, and by writing to all that can be seen running."""
    programs = {Path(os.path.realpath(path)) for path in ("/usr/bin/python3", "/bin/sh", "/usr/bin/busybox")}
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in programs}
    door.image(
        link("exe", "/proc/self/exe"),
        member(b"script", data=b"#!/proc/self/exe\n", mode=0o755),
        member(b"second", data=b"#!/script\n", mode=0o755),
        # No blank to the kernel, so that the way goes on behind it.
        *(member(b"d" + odd, DIRECTORY) for odd in ODD),
        *(member(b"odd%d" % n, data=b"#!/d%c/../proc/self/exe\n" % odd, mode=0o755) for n, odd in enumerate(ODD)),
    )
    odd = [f"/odd{number}" for number in range(len(ODD))]
    for program in ("/proc/self/exe", "/exe", "/script", "/second", "/proc/1/exe", *odd):
        seen = door.command((program, "-c", "print('RAN')"))
        assert seen.code != 0
        assert "leads out of the sandbox" in seen.said, program
        assert "RAN" not in seen.out
    writing = (
        "for n in 1 2 3 4 5; do for p in /proc/[0-9]*/exe; do echo x > $p; done 2>/dev/null; done; readlink /proc/1/exe"
    )
    seen = door.sh(writing)
    assert seen.out == ["/bin/busybox"]
    assert before == {path: hashlib.sha256(path.read_bytes()).digest() for path in programs}


@pytest.mark.attack("S2", by="run")
@pytest.mark.parametrize("door", ["run"], indirect=True)
def test_the_init_program_of_this_machine(door: Door) -> None:
    """With `--init` process 1 is a program of this machine, whose file nobody inside writes to or changes."""
    from buildkit_py.errors import SandboxError
    from buildkit_py.runner.init_program import init_program

    try:
        program = Path(init_program())
    except SandboxError as problem:
        lack(f"missing on this machine: {problem.message}")
    before = program.read_bytes(), program.stat()
    seen = door.sh(
        "exec 2>/dev/null; readlink /proc/1/exe; for n in 1 2 3; do echo x > /proc/1/exe && echo WROTE; done; "
        "echo x > /dev/init && echo WROTE; exec 3</proc/1/exe; echo x > /proc/self/fd/3 && echo WROTE; "
        "mv /dev/init /dev/other && echo MOVED; rm -f /dev/init && echo GONE; chmod 6777 /proc/1/exe && echo CHANGED; "
        "chown 7 /dev/init && echo CHANGED; touch -d @0 /dev/init && echo CHANGED; echo end",
        "--init",
    )
    assert [line for line in seen.out if not line.startswith("/")] == ["end"], seen
    after = program.read_bytes(), program.stat()
    assert (after[0], after[1].st_mode, after[1].st_mtime_ns, after[1].st_uid) == (
        before[0], before[1].st_mode, before[1].st_mtime_ns, before[1].st_uid
    )  # fmt: skip


TRAPS = {
    "dev": lambda out: link("dev", out),
    "proc": lambda out: link("proc", out),
    "sys, as a pipe": lambda out: member(b"sys", PIPE),
}


@pytest.mark.attack("S3")
@pytest.mark.parametrize("trap", TRAPS)
def test_something_in_the_place_of_what_the_sandbox_mounts(door: Door, trap: str) -> None:
    """CVE-2019-19921."""
    door.image(TRAPS[trap](str(door.canary.directory)))
    seen = door.sh(door.canary.get_at_it())
    assert seen.code == NOT_STARTED[door.kind], seen
    assert "the image has something other than a directory at" in seen.said
    assert f"/{trap.split(',', maxsplit=1)[0]}" in seen.said
    assert door.canary.text not in seen.said


@pytest.mark.attack("S3", "S4")
def test_links_in_the_place_of_files_that_are_covered(door: Door) -> None:
    """/etc/resolv.conf and the like, /dev/null and /dev/console, /dev/shm and /dev/pts: all lead to the canary."""
    out, up = str(door.canary.file), "../" * 30
    door.image(
        link("etc/resolv.conf", out),
        link("etc/hosts", up + out[1:]),
        link("etc/hostname", out),
        member(b"dev/", DIRECTORY),
        link("dev/null", out),
        link("dev/console", out),
        link("dev/shm", str(door.canary.directory)),
        link("dev/pts", str(door.canary.directory)),
        link("dev/mqueue", str(door.canary.directory)),
    )
    script = (
        "for f in /etc/resolv.conf /etc/hosts /etc/hostname; do cat $f; echo own >> $f; done 2>/dev/null; "
        "echo own > /dev/null; echo own > /dev/console; touch /dev/shm/own /dev/pts/own; "
        f"test -c /dev/null && echo null; cat /dev/null; {door.canary.get_at_it()}; :"
    )
    seen = door.sh(script)
    assert seen.code == 0, seen
    assert "null" in seen.out
    assert door.canary.text not in seen.said + "".join(seen.out)
    assert not Path("/dev/shm/own").exists()


@pytest.mark.attack("S4")
def test_what_covers_is_a_null_device_of_ours(door: Door) -> None:
    """CVE-2025-31133: that of the image is a file to be written to, a link, or a device of another kind."""
    for trap in (
        member(b"dev/null", data=b"what nobody should read"),
        link("dev/null", "/proc/sysrq-trigger"),
        member(b"dev/null", CHARACTER, device=(1, 1)),
    ):
        if door.world.mode == "user" and trap[156:157] == CHARACTER:
            continue  # an ordinary user unpacks no devices
        door.image(member(b"dev/", DIRECTORY), trap)
        masks = "for f in /proc/keys /proc/timer_list /proc/interrupts; do stat -c '%t:%T %F' $f; wc -c < $f; done"
        seen = door.sh(f"{masks}; stat -c %t:%T /dev/null; mount | grep -c '/proc/keys'")
        assert seen.code == 0, seen
        assert seen.out == ["1:3 character special file", "0"] * 3 + ["1:3", "1"]


@pytest.mark.attack("S18")
def test_users_that_are_none(door: Door) -> None:
    for user, says in {
        "nobody-here": "unable to find user nobody-here",
        "0:nosuch": "unable to find group nosuch",
        "-1": "out of range",
        "4294967295": "out of range",
        "0:4294967295": "out of range",
        "99999999999999999999": "",
    }.items():
        seen = door.sh("id", user=user)
        assert seen.code == NOT_STARTED[door.kind], (user, seen)
        assert says in seen.said, user


@pytest.mark.attack("S18")
def test_wrong_and_huge_user_databases(door: Door) -> None:
    """Ten megabytes, no text, links out, a pipe that nobody writes to: an error, or what the image itself says."""
    row = b"u%d:x:7:7::/:\n"
    huge = b"".join(row % number for number in range(700_000))
    for data in (huge, b"\xff\xfe:x:0:0::/:\n" * 5, b":::\nroot\nroot:x:zero:0::/:\n", b"app:x:4294967296:0::/:\n"):
        door.image(member(b"etc/passwd", data=data), config={"User": "app"})
        assert door.sh("id").code == NOT_STARTED[door.kind]
    for trap in (
        link("etc/passwd", str(door.canary.file)),
        link("etc/passwd", "/proc/1/fd/0"),
        member(b"etc/passwd", PIPE),
    ):
        door.image(trap, config={"User": "app"})
        seen = door.sh("id")
        assert seen.code == NOT_STARTED[door.kind], seen
        assert door.canary.text not in seen.said


@pytest.mark.attack("S19")
def test_an_environment_that_changes_what_programs_load(door: Door) -> None:
    """LD_PRELOAD, PYTHONPATH and others are of the step alone: its builder and the builder's helpers have their own."""
    touch = f"touch {door.canary.directory}/ran"
    variables = {
        "LD_PRELOAD": "/evil.so",
        "LD_LIBRARY_PATH": "/evil",
        "LD_AUDIT": "/evil.so",
        "PYTHONPATH": "/evil",
        "PYTHONSTARTUP": "/evil/x.py",
        "PYTHONHOME": "/evil",
        "GCONV_PATH": "/evil",
        "BASH_ENV": "/evil/x.sh",
        "ENV": "/evil/x.sh",
        "PATH": "/evil:/bin",
        "IFS": "/",
        "PYBUILD_HOME": "/evil",
    }
    programs = [
        member(f"evil/{name}".encode(), data=f"#!/bin/sh\n{touch}\n".encode(), mode=0o755)
        for name in ("pasta", "git", "newuidmap", "python3", "setpriv", "nft", "slirp4netns")
    ]
    module = member(b"evil/warnings.py", data=f"import os; os.system({touch!r})\n".encode())
    door.image(*programs, module, config={"Env": [f"{name}={value}" for name, value in variables.items()]})
    seen = door.sh("env")
    assert seen.code == 0, seen
    for name, value in variables.items():
        if name not in ("IFS", "ENV"):
            assert any(line.startswith(f"{name}={value}") for line in seen.out), name


@pytest.mark.attack("S19")
@pytest.mark.parametrize("variable", ["=x", "A\0B=x", "NO-EQUALS", "A\nB=x"])
def test_an_environment_that_is_none(door: Door, variable: str) -> None:
    door.image(config={"Env": [variable, "PATH=/bin"]})
    seen = door.sh("env; echo end")
    assert seen.code in (0, *NOT_STARTED.values(), 4), seen
    assert door.world.run("images", ok=False).returncode == 0


@pytest.mark.attack("S20")
def test_an_image_full_of_modules_and_libraries(door: Door) -> None:
    """Whatever Python or libc would load late, in all the places where this machine's are: none of it runs."""
    ran = b"import os; os.mkdir('/RAN'); os.system('touch %s/ran')\n" % os.fsencode(door.canary.directory)
    places = {os.path.dirname(os.__file__), *(f"/usr/lib/python3.{minor}" for minor in range(11, 15))}
    names = (
        "warnings",
        "traceback",
        "pwd",
        "grp",
        "locale",
        "encodings/idna",
        "encodings/__init__",
        "os",
        "subprocess",
    )
    members = [member(f"{place[1:]}/{name}.py".encode(), data=ran) for place in places for name in names]
    for directory in ("lib", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"):
        for library in ("libnss_files.so.2", "libnss_systemd.so.2", "libc.so.6", "libgcc_s.so.1"):
            members.append(member(f"{directory}/{library}".encode(), data=b"not a library"))
    members.append(member(b"etc/ld.so.preload", data=b"/lib/libnss_files.so.2\n"))
    members.append(member(b"etc/nsswitch.conf", data=b"passwd: files systemd\n"))
    door.image(*members)
    seen = door.sh("ls -d /RAN 2>/dev/null; id -u")
    assert seen.code == 0, seen
    assert seen.out == ["0"]
