"""The whole process: which command it runs, what it prints where, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from buildkit_py.cli.main import COMMANDS
from tests.cli.process import COMMAND, environment, pybuild
from tests.cli.sample import put_image


def test_help_of_pybuild(tmp_path):
    for flag in ("--help", "-h", "help"):
        done = pybuild(tmp_path, flag)
        assert (done.returncode, done.stderr) == (0, "")
        for name, summary in COMMANDS.items():
            assert f"  {name:<12}{summary}\n" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command(tmp_path, name):
    done = pybuild(tmp_path, name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: pybuild {'FILE' if name == 'build' else name}" in done.stdout
    assert "--help" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 110
    assert pybuild(tmp_path, "help", name).stdout == done.stdout


def test_version(tmp_path):
    for word in ("--version", "version"):
        done = pybuild(tmp_path, word)
        assert done.returncode == 0
        assert done.stdout.startswith("pybuild 0.")


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        ((), "Usage: pybuild FILE", ""),
        (("buidl",), "error: there is no command and no file `buidl`", "hint: did you mean `build`?"),
        (("qqqq",), "error: there is no command and no file `qqqq`", "hint: `pybuild --help` lists the commands"),
        (("build", "--tga", "x", "."), "error: unknown option `--tga`", "hint: did you mean `--tag`?"),
        (("build", "--squash=x", "."), "error: unknown option `--squash`", "hint: "),
        (("--lits", "x"), "error: unknown option `--lits`", "hint: did you mean `--list`?"),
        (("images", "extra"), "error: `pybuild images` cannot take `extra`", "hint: "),
        (("cache", "prun"), "error: `pybuild cache` has no `prun`", "hint: did you mean `prune`?"),
        (("cache", "du", "--all"), "error: `pybuild cache du` has no `--all`", "hint: it belongs to `prune`"),
        (("completion", "csh"), "error: `pybuild completion` has no `csh`", "hint: "),
        (("tag", "one"), "error: `pybuild tag` needs to be told more", "hint: usage: pybuild tag IMAGE NAME"),
    ],
)
def test_wrong_usage(tmp_path, argv, message, hint):
    done = pybuild(tmp_path, *argv)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_usage_of_run_is_not_started(tmp_path):
    done = pybuild(tmp_path, "run", "--nonsense", "x")
    assert done.returncode == 125
    assert "error: unknown option `--nonsense`" in done.stderr


def test_a_command_wins_over_a_file_and_a_file_over_nothing(tmp_path):
    (tmp_path / "images").write_text("FROM scratch\n")
    assert "IMAGE" in pybuild(tmp_path, "images").stdout
    (tmp_path / "elsewhere").mkdir()
    done = pybuild(tmp_path, "elsewhere")
    assert done.returncode == 4
    assert "`elsewhere` has no Buildfile" in done.stderr


def test_colours_only_where_they_are_wanted(tmp_path):
    assert "\x1b[" not in pybuild(tmp_path, "nope").stderr
    assert "\x1b[1;31merror:\x1b[0m" in pybuild(tmp_path, "nope", FORCE_COLOR="1").stderr
    assert "\x1b[" not in pybuild(tmp_path, "nope", FORCE_COLOR="1", NO_COLOR="1").stderr


@pytest.mark.parametrize("argv", [("images",), ("--help",), ("build", "--help"), ("completion", "bash")])
def test_a_reader_that_went_away(tmp_path, argv):
    put_image(tmp_path, "docker.io/library/a:latest")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        (*COMMAND, *argv),
        stdout=writer,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(tmp_path),
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == b""


def test_a_full_disk_below_standard_output(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            (*COMMAND, "--help"),
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(tmp_path),
            timeout=60,
            check=False,
        )
    assert done.returncode == 7
    assert done.stderr == b"error: the output could not be written: No space left on device\n"


def test_a_full_disk_below_standard_error(tmp_path):
    """The code tells what is wrong, and a build is not lost for that its progress is."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    for argv, code in ((("inspect", "nope:1"), 4), (("build", "--iidfile=iid", "."), 0), (("--nope",), 2)):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                (*COMMAND, *argv), stderr=full, cwd=tmp_path, env=environment(tmp_path), timeout=60, check=False
            )
        assert done.returncode == code
    assert (tmp_path / "iid").read_text().startswith("sha256:")


def test_names_that_the_locale_has_no_letters_for(tmp_path):
    """Standard output takes them as standard error does, in whatever locale."""
    directory = tmp_path / "dir\udcff"
    directory.mkdir()
    (directory / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /ż\n")
    script = "import sys; sys.stdout.reconfigure(encoding='{}', errors='strict'); " + (
        "sys.argv[0] = 'pybuild'; from buildkit_py.cli.main import main; sys.exit(main())"
    )
    for encoding in ("utf-8", "iso-8859-1", "ascii"):
        for argv in (
            ("build", "-f", directory / "Dockerfile", directory),
            ("why", "-f", directory / "Dockerfile"),
            ("build", "--help"),
        ):
            done = subprocess.run(
                (sys.executable, "-c", script.format(encoding), *argv),
                capture_output=True,
                env=environment(tmp_path),
                timeout=60,
                check=False,
            )
            assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr


def test_a_signal_at_any_time(tmp_path):
    """Also before the command begins, and while its error is shown."""
    for module in ("options", "images"):
        script = (
            "import os, signal, sys, builtins\n"
            "load = builtins.__import__\n"
            "def ending(name, *rest, **more):\n"
            f"    if name == 'buildkit_py.cli.{module}':\n"
            "        os.kill(os.getpid(), signal.SIGTERM)\n"
            "    return load(name, *rest, **more)\n"
            "builtins.__import__ = ending\n"
            "from buildkit_py.cli.main import main\n"
            "sys.exit(main())\n"
        )
        done = subprocess.run(
            (sys.executable, "-c", script, "images"),
            capture_output=True,
            env=environment(tmp_path),
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (143, b"")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(tmp_path, closed):
    """They are /dev/null: to commands, to a build, and to one that has nothing to do (the third)."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY f /\n")
    (tmp_path / "f").write_text("f")
    script = os.path.join(os.path.dirname(sys.executable), "pybuild")
    for argv, code, out in (
        (("version",), 0, True),
        (("nope",), 2, False),
        *[(("build", "--iidfile=id", "."), 0, False)] * 3,
        (("images",), 0, True),
    ):
        for start in (COMMAND, (script,)):
            done = subprocess.run(
                ("sh", "-c", f'exec "$@" {closed}', "sh", *start, *argv),
                capture_output=True,
                cwd=tmp_path,
                env=environment(tmp_path),
                timeout=60,
                check=False,
            )
            assert done.returncode == code, (argv, done.stderr)
            assert (done.stdout != b"") == (out and ">&-" not in closed.split()), argv
            assert b"Traceback" not in done.stderr
    assert (tmp_path / "id").read_text().startswith("sha256:")


GUARDED = """
import sys, time
from buildkit_py.cli.guard import guarded

def command(argv):
    try:
        print("READY", flush=True)
        if argv:
            raise ValueError("surprise \\x1b[2J\\nsecond line")
        time.sleep(60)
    finally:
        print("CLEANED", flush=True)

sys.exit(guarded(command, sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=lambda v: str(int(v))
)
def test_signals_let_everything_be_cleaned_up(tmp_path, signum, code):
    child = subprocess.Popen(
        [sys.executable, "-c", GUARDED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "READY\n"
    child.send_signal(signum)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (code, "CLEANED\n", "")


def test_a_bug_is_one_line_and_a_report(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", GUARDED, "x"],
        capture_output=True,
        text=True,
        env=environment(tmp_path, TMPDIR=str(tmp_path)),
        timeout=60,
        check=False,
    )
    assert done.returncode == 70
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: internal error in pybuild: ValueError: surprise \\x1b[2J\n\nhint: ")
    (report,) = tmp_path.glob("pybuild-crash-*.txt")
    assert str(report) in done.stderr
    assert "Traceback" in report.read_text()
    assert 'raise ValueError("surprise' in report.read_text() or "ValueError: surprise" in report.read_text()


def test_help_imports_next_to_nothing(tmp_path):
    code = (
        "import sys; sys.argv = ['pybuild', '--help']\n"
        "from buildkit_py.cli.main import dispatch; before = set(sys.modules); dispatch(sys.argv[1:])\n"
        "heavy = {'argparse', 're', 'enum', 'typing', 'json', 'pathlib', 'dataclasses', 'subprocess', 'rich', 'lark'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(tmp_path), check=True
    )
    assert done.stderr == "[]\n"


def test_terminal_gone_while_building_ends_the_build(tmp_path):
    code = (
        "import sys, time\n"
        "from buildkit_py.cli.guard import guarded\n"
        "from buildkit_py.cli.progress import shown\n"
        "from buildkit_py.events import Notice\n"
        "def work(emit):\n"
        "    print('READY', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    for n in range(1000):\n"
        "        emit(Notice('info', f'line {n}'))\n"
        "        time.sleep(0.01)\n"
        "    print('TOO FAR', flush=True)\n"
        "sys.exit(guarded(lambda argv: shown('plain', work) or 0, []))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stderr is not None
    assert child.stdout.readline() == "READY\n"
    child.stderr.close()
    child.stdin.write("\n")
    child.stdin.close()
    with child.stdout:
        assert child.stdout.read() == ""
    assert child.wait(timeout=60) == 141


def test_json_of_images_is_json(tmp_path):
    put_image(tmp_path, "docker.io/library/a:latest")
    assert json.loads(pybuild(tmp_path, "images", "--json").stdout)[0]["name"] == "docker.io/library/a:latest"


@pytest.mark.parametrize(
    "argv",
    [
        ("check", "/dev/zero"),
        ("build", "/dev/zero"),
        ("ps", "--file=/dev/zero"),
        ("run", "--env-file=/dev/zero", "nope"),
    ],
)
def test_a_file_without_an_end(tmp_path, argv):
    done = pybuild(tmp_path, *argv)
    assert done.returncode in (2, 3, 4, 125)
    assert "File too large" in done.stderr
