"""`pybuild run`: real containers, as root and as a user with no ids but their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pexpect
import pytest

from buildkit_py.image.config import ImageConfig
from tests.cli.busybox import put_busybox
from tests.cli.process import COMMAND, environment
from tests.needs import need

ORDINARY = 54_329


class Machine:
    """A home with the busybox image in its store, and whose it is."""

    def __init__(self, home: Path, user: int) -> None:
        self.home = home
        self.user = user
        self.prefix: tuple[str, ...] = ()
        if user:
            need("setpriv")
            self.prefix = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")

    def argv(self, *argv: str) -> list[str]:
        return [*self.prefix, *COMMAND, "run", *argv]

    def run(self, *argv: str, stdin: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*argv),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            cwd=self.home,
            env=environment(self.home, **env),
            timeout=120,
            check=False,
        )

    def start(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.argv(*argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home,
            env=environment(self.home),
        )

    def leftovers(self) -> list[str]:
        """Writable layers that are still there."""
        return [name for name in os.listdir(self.home / "store/work") if name.startswith("run")]


@pytest.fixture(scope="module", params=["root", "ordinary user"])
def machine(request):
    if request.param == "root" and os.geteuid() != 0:
        pytest.skip("the tests are run by an ordinary user, who is the other case")
    user = ORDINARY if request.param != "root" and os.geteuid() == 0 else 0
    if user and not _can_start_python(user):
        pytest.skip(f"{os.path.realpath(sys.executable)} does not start for other users")
    base = tempfile.mkdtemp(prefix="pybuild-test-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    home = Path(base)
    try:
        put_busybox(home)
        put_busybox(home, "docker.io/library/entry:1", ImageConfig(entrypoint=("/bin/echo", "entry"), cmd=("cmd",)))
        if user:
            for top, names, files in os.walk(home):
                for name in (*names, *files):
                    os.lchown(os.path.join(top, name), user, user)
            os.chown(home, user, user)
        yield Machine(home, user)
    finally:
        shutil.rmtree(base)


def test_the_image_s_own_command(machine):
    done = machine.run("box")
    assert (done.returncode, done.stdout) == (0, "the default\n")
    again = machine.run("box")
    assert (again.returncode, again.stdout, again.stderr) == (0, "the default\n", "")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("entry:1",), "entry cmd\n"),
        (("entry:1", "given", "words"), "entry given words\n"),
        (("entry:1", "--", "given"), "entry given\n"),
        (("--entrypoint", "/bin/printf", "entry:1", "%s-", "a", "b"), "a-b-"),
        (("--entrypoint", "", "entry:1", "/bin/echo", "bare"), "bare\n"),
        (("--rm", "box", "echo", "-n", "--env"), "--env"),
    ],
)
def test_commands_and_entrypoints(machine, argv, expected):
    done = machine.run(*argv)
    assert (done.stdout, done.returncode) == (expected, 0)


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("box", "sh", "-c", "exit 42"), 42, ""),
        (("box", "nothing-like-it"), 127, "executable file not found in $PATH"),
        (("box", "/no/such"), 127, "no such file or directory"),
        (("box", "/etc/passwd"), 126, "permission denied"),
        (("box", "/etc"), 126, "permission denied"),
        (("box", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"), 137, ""),
        (("-u", "nobody-here", "box", "true"), 125, "unable to find user nobody-here"),
        (("-w", "relative", "box", "true"), 125, "is not absolute"),
        (("-v", "./gone:/x", "box", "true"), 125, "there is no"),
        (("-v", ".:/x", "-v", "/etc:/x/", "box", "true"), 125, "two mounts are to be at `/x`"),
        (("-v", "named:/x", "--tmpfs=/x", "box", "true"), 125, "two mounts are to be at `/x`"),
        # Asked for a runtime before a registry is for the image.
        (("--runtime=kata", "registry.invalid/none", "true"), 125, "`kata` is no runtime"),
        (("--network", "bridge", "box", "true"), 125, "`--network bridge` is no network"),
        (("./gone.py", "true"), 125, "there is no file `./gone.py`"),
        (("UPPER", "true"), 125, "is not an image name"),
        (("-it", "box", "true"), 125, "`-it` needs standard input to be a terminal"),
        ((), 125, "needs to be told more"),
    ],
)
def test_exit_codes_are_docker_s(machine, argv, code, message):
    done = machine.run(*argv)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert machine.leftovers() == []


def test_nothing_is_built_for_a_runtime_that_is_not_there(machine):
    (machine.home / "Buildfile").write_text("FROM box\nRUN exit 3\n")
    done = machine.run("--runtime=/no/such/crun", "Buildfile")
    assert done.returncode == 125
    assert "the runtime is not there" in done.stderr
    assert "exit 3" not in done.stderr


def test_one_who_ignores_ended_children_starts_it(machine):
    """That is handed on at an exec, and the kernel would keep none of ours to be waited for."""
    for words, code, said in (("box", "sh", "-c", "exit 7"), 7, ""), (("sha256:" + "0" * 64,), 125, "sha256:000"):
        argv = ["sh", "-c", 'trap "" CHLD; exec "$@"', "sh", *machine.argv("--network=none", *words)]
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            cwd=machine.home,
            env=environment(machine.home),
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert said in done.stderr
        assert "internal error" not in done.stderr


def test_a_target_of_a_buildfile_is_built_first(machine):
    if machine.user and not _everybody_may_run(sys.executable):
        # A build starts the interpreter again, as that user.
        pytest.skip(f"{os.path.realpath(sys.executable)} is for one user only")
    (machine.home / "made").write_text("here\n")
    (machine.home / "Buildfile").write_text(
        "FROM box AS app\nWORKDIR /w\nCOPY made .\nRUN cat made > copy && rm made\n"
        'ENV WHO=target\nENTRYPOINT ["sh", "-c"]\nCMD ["cat copy; echo $WHO"]\nFROM app AS bad\nRUN exit 3\n'
    )
    first = machine.run("Buildfile:app")
    assert (first.returncode, first.stdout) == (0, "here\ntarget\n")
    assert "RUN cat made > copy" in first.stderr
    again = machine.run("Buildfile:app", "pwd; ls")
    assert (again.returncode, again.stdout, again.stderr) == (0, "/w\ncopy\n", "")
    failed = machine.run("./Buildfile")
    assert failed.returncode == 125
    assert "ended with exit code 3" in failed.stderr
    assert "no target `gone`" in machine.run("Buildfile:gone").stderr
    assert machine.leftovers() == []


def _can_start_python(user: int) -> bool:
    """Not a question of its own mode alone: it has libraries and modules."""
    need("setpriv")
    command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", sys.executable, "-c", "import ctypes"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _everybody_may_run(path: str) -> bool:
    real = Path(os.path.realpath(path))
    return all(part.stat().st_mode & 0o001 for part in (real, *real.parents))


def test_the_environment(machine):
    (machine.home / "vars").write_text("# note\nFILE=1\nHERE\n")
    done = machine.run("--env-file", "vars", "-e", "B=2", "-eHERE2", "-e", "GONE", "box", "env", HERE="h", HERE2="h2")
    got = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert len(got.pop("HOSTNAME")) == 12
    assert got == {
        "PATH": "/bin",
        "WHO": "image",
        "HOME": "/root",
        "FILE": "1",
        "HERE": "h",
        "B": "2",
        "HERE2": "h2",
    }


def test_files_of_its_own_in_etc(machine):
    script = (
        "hostname; cat /etc/hostname /etc/hosts; echo x >> /etc/hosts; echo y > /etc/hostname; cat /etc/resolv.conf"
    )
    done = machine.run("--hostname", "shop", "--add-host", "db:10.0.0.1", "box", "sh", "-ec", script)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["shop", "shop"]
    assert any(line.split() == ["10.0.0.1", "db"] for line in lines)
    assert "nameserver" in done.stdout


def test_nothing_that_was_written_stays(machine):
    assert machine.run("box", "sh", "-c", "echo x > /new && rm /data/seed && ls / && ls /data").returncode == 0
    done = machine.run("box", "sh", "-c", "ls / /data")
    assert "new" not in done.stdout.split()
    assert "seed" in done.stdout.split()
    assert machine.leftovers() == []


def test_volumes(machine):
    shared = machine.home / "shared"
    shared.mkdir(exist_ok=True)
    (shared / "f").write_text("from here\n")
    if machine.user:
        os.chown(shared, machine.user, machine.user)
    script = "cat /mnt/deep/f && echo back > /mnt/deep/g"
    done = machine.run(
        "-v", "./shared:/mnt/deep", "-v", f"{shared}/f:/one:ro", "box", "sh", "-c", script + " && cat /one"
    )
    assert (done.returncode, done.stdout) == (0, "from here\nfrom here\n")
    assert (shared / "g").read_text() == "back\n"
    assert machine.run("-v", "./shared:/mnt:ro", "box", "touch", "/mnt/h").returncode == 1
    assert not (shared / "h").exists()


def test_a_read_only_root(machine):
    assert machine.run("--read-only", "box", "touch", "/new").returncode == 1
    done = machine.run("--read-only", "box", "sh", "-ec", "cat /data/seed; touch /data/new; echo x > /dev/null")
    assert (done.returncode, done.stdout) == (0, "seed\n")


def test_workdir_and_user(machine):
    assert machine.run("-w", "/made/up", "box", "pwd").stdout == "/made/up\n"
    if machine.user == 0:
        assert machine.run("-u", "alice", "box", "sh", "-c", "id -u; id -G; echo $HOME").stdout == (
            "1000\n1000 50\n/home/alice\n"
        )
        assert machine.run("-u", "7:8", "box", "sh", "-c", "id -u; id -g").stdout == "7\n8\n"


def test_no_network_has_only_a_loopback(machine):
    done = machine.run("--network", "none", "box", "sh", "-c", "ip -o link | wc -l; ip -o addr show lo | wc -l")
    assert done.stdout.split()[0] == "1"
    assert done.stdout.split()[1] != "0"


def test_standard_input_only_when_asked_for(machine):
    assert machine.run("-i", "box", "cat", stdin="typed").stdout == "typed"
    assert machine.run("box", "cat", stdin="typed").stdout == ""


def test_a_reader_that_goes_away(machine):
    child = machine.start("box", "yes")
    assert child.stdout is not None
    assert child.stderr is not None
    assert child.stdout.readline() == "y\n"
    child.stdout.close()
    assert child.wait(timeout=60) != 0
    assert "Traceback" not in child.stderr.read()
    child.stderr.close()
    assert machine.leftovers() == []


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGQUIT])
def test_signals_are_passed_on(machine, signum):
    script = f"trap 'echo got; exit 9' {signum.name[3:]}; echo ready; while true; do sleep 0.05; done"
    child = machine.start("box", "sh", "-c", script)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signum)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (9, "got\n", "")
    assert machine.leftovers() == []


def test_the_third_interrupt_ends_what_does_not_listen(machine):
    child = machine.start(
        "box", "sh", "-c", "trap '' INT; echo ready; sleep 100 & wait; while true; do sleep 100; done"
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    # More than three, because signals that come in one moment count once.
    while child.poll() is None:
        child.send_signal(signal.SIGINT)
        time.sleep(0.02)
    child.communicate()
    assert child.returncode == 137
    assert machine.leftovers() == []


def test_kill_of_the_command_line_takes_the_container_along(machine):
    child = machine.start("-e", "MARK=pybuild-test-kill", "box", "sh", "-c", "echo ready; sleep 1000")
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.kill()
    child.wait()
    child.stdout.read()  # ends when the last process that has it open is gone
    child.communicate()


@pytest.fixture
def terminal(machine):
    children = []

    def start(*argv: str) -> pexpect.spawn:
        command = machine.argv(*argv)
        child = pexpect.spawn(
            command[0],
            command[1:],
            encoding="utf-8",
            timeout=60,
            dimensions=(33, 101),
            cwd=str(machine.home),
            env=environment(machine.home),
        )
        children.append(child)
        return child

    yield start
    for child in children:
        if not child.closed:
            child.close(force=True)


def test_a_shell_on_a_terminal(terminal):
    child = terminal("-it", "box", "sh")
    child.expect("# ")
    child.sendline("tty; stty size; echo T=$TERM")
    child.expect("/dev/pts/0\r\n33 101\r\nT=xterm\r\n")
    child.sendline("cat")
    child.sendline("echoed")
    child.expect("echoed\r\nechoed\r\n")
    child.sendintr()
    child.expect("# ")
    child.sendline("echo code $?")
    child.expect("code 130\r\n")
    child.setwinsize(20, 70)
    child.sendline("stty size")
    child.expect("20 70\r\n")
    child.sendline("exit 7")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 7


def test_a_terminal_has_its_size_from_the_beginning(terminal):
    for _ in range(6):
        child = terminal("-it", "box", "stty", "size")
        child.expect(pexpect.EOF)
        assert child.before.endswith("33 101\r\n")


def test_what_is_typed_before_the_shell_is_there_is_for_it(terminal):
    child = terminal("-it", "box", "sh")
    child.sendline('echo ty""ped; exit 3')
    child.expect("typed\r\n")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 3


def test_the_terminal_is_put_back(machine):
    script = "stty -a > before; {run}; stty -a > after; cmp before after && echo SAME"
    run = " ".join(f"'{word}'" for word in machine.argv("-it", "box", "true"))
    child = pexpect.spawn(
        "/bin/sh",
        ["-c", script.format(run=run)],
        encoding="utf-8",
        timeout=60,
        cwd=str(machine.home),
        env=environment(machine.home),
    )
    child.expect("SAME")
    child.close(force=True)


def test_a_terminal_without_standard_input(terminal):
    child = terminal("-t", "box", "tty")
    child.expect("/dev/pts/0\r+\n")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0


def test_hanging_up_ends_the_container(machine, terminal):
    child = terminal("-it", "box", "sh", "-c", "trap '' HUP; echo ready; while true; do sleep 0.1; done")
    child.expect("ready")
    child.ptyproc.fileobj.close()
    child.closed = child.ptyproc.closed = child.terminated = True
    _, status = os.waitpid(child.pid, 0)
    assert os.waitstatus_to_exitcode(status) in (137, 129)
    assert machine.leftovers() == []
