"""`pybuild run --runtime` and `pybuild bundle` with the real crun and runc: what holds of a run holds of theirs."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from tests.behaviour.terminal import Terminal
from tests.behaviour.watched import leftovers, watch
from tests.behaviour.world import World
from tests.needs import need
from tests.sandbox.oci.rules import broken

pytestmark = pytest.mark.peers

DOCKERFILE = """\
FROM busybox
RUN mkdir -p /data /work && echo seed > /data/seed && chmod 777 /data /work && printf x > /not-executable
RUN ln /data/seed /data/second && chown app /data/seed
ENV COLOUR=blue
WORKDIR /work
USER app
VOLUME /data
CMD ["sh", "-c", "echo by default"]
"""
# crun takes no machine whose control groups of version 2 have controllers beside those of version 1, if it sees that.
MIXED = Path("/sys/fs/cgroup/unified/cgroup.controllers")


@pytest.fixture(params=["crun", "runc"])
def runtime(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    need(name)
    return name


@pytest.fixture
def image(world: World, base_layout: Path) -> World:
    """A world with the image `box`."""
    world.write({"Dockerfile": DOCKERFILE})
    world.build(f"--build-context=busybox=oci-layout://{base_layout}", "-t", "box")
    world.run("run", "box", "true")
    return world


def run(world: World, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    done = world.run("run", *argv, ok=False, stdin=stdin)
    assert leftovers(world) == []
    return done


def test_exit_codes(image: World, runtime: str) -> None:
    cases = {
        ("box", "true"): 0,
        ("box", "sh", "-c", "exit 42"): 42,
        ("box", "sh", "-c", "exit 1"): 1,
        ("box", "no-such-command"): 127,
        ("box", "/no/such"): 127,
        ("box", "/not-executable"): 126,
        ("box", "/data"): 126,
        ("box", "sh", "-c", "sh -c 'kill -9 $$' 2>/dev/null; exit $?"): 137,
        ("-u", "nobody-here", "box", "true"): 125,
        ("-v", "./gone:/x", "box", "true"): 125,
        ("-d", "box", "true"): 125,
    }
    for argv, code in cases.items():
        done = run(image, f"--runtime={runtime}", *argv)
        assert done.returncode == code, (argv, done.stderr)


def test_it_sees_what_a_run_of_ours_shows(image: World, runtime: str) -> None:
    shown = (
        "id; pwd; echo $COLOUR $HOME $MORE; hostname; umask; cat /etc/hosts /etc/hostname /etc/resolv.conf; ls -l /dev "
        "| grep -v total | sed 's/[A-Z][a-z]* *[0-9]* *[0-9:]* / /'; grep -E '^(Cap|NoNewPrivs|Seccomp:)' "
        "/proc/self/status; ls /sys/class/net; for f in /proc/kcore /proc/keys /proc/acpi /sys/firmware; "
        'do head -c1 $f | wc -c; ls $f | grep -v $f | wc -l; done; for f in sys irq bus; do grep " /proc/$f ro" '
        "/proc/mounts | wc -l; done; ls -ln /data; echo process $$; "
        "ulimit -n; ulimit -Hn; grep -o ' /dev/shm.*size=[0-9k]*' /proc/mounts | grep -o '[0-9]*k$'"
    )
    for options in (
        (),
        ("-u", "0"),
        ("-u", "0", "--network=none", "--read-only", "-w", "/made/here", "-e", "MORE=m"),
        ("-u", "0", "--ulimit=nofile=100:200", "--shm-size=1m", "--cap-drop=ALL", "--tmpfs=/t:size=1m"),
        ("--hardened", "--network=host"),
    ):
        own = run(image, "-h", "shop", *options, "box", "sh", "-c", shown)
        theirs = run(image, f"--runtime={runtime}", "-h", "shop", *options, "box", "sh", "-c", shown)
        assert own.returncode == theirs.returncode == 0, theirs.stderr
        assert theirs.stdout.splitlines() == own.stdout.splitlines()


@pytest.mark.privileged
def test_limits_hold(image: World, runtime: str) -> None:
    if image.mode != "root" or os.geteuid() != 0:
        pytest.skip("an ordinary user's limits depend on what the machine delegates")
    script = "i=0; while [ $i -lt 60 ]; do sleep 1 & i=$((i + 1)); done; echo all"
    # The runtime's own threads count as well.
    done = run(image, f"--runtime={runtime}", "--pids-limit=40", "box", "sh", "-c", script)
    assert "all" not in done.stdout
    assert "can't fork" in done.stderr
    assert run(image, f"--runtime={runtime}", "--ulimit=nofile=1:999999999999", "box", "true").returncode == 125


def test_no_device_can_be_opened(image: World, runtime: str) -> None:
    """Runtimes leave that to a control group, of which there is none here."""
    attack = (
        "for place in / /dev/ /dev/shm/ /data/; do mknod ${place}made c 1 3 2>/dev/null; "
        "cat ${place}made 2>/dev/null && echo opened $place; done; cat /dev/null && echo over"
    )
    for options in ((), ("--read-only",)):
        done = run(image, f"--runtime={runtime}", "-u", "0", *options, "box", "sh", "-c", attack)
        assert done.stdout == "over\n", done.stderr


def test_standard_streams_volumes_and_a_read_only_root(image: World, runtime: str) -> None:
    assert run(image, f"--runtime={runtime}", "-i", "box", "cat", stdin="typed\n").stdout == "typed\n"
    assert run(image, f"--runtime={runtime}", "box", "cat", stdin="typed\n").stdout == ""
    image.write({"shared/in": "from here\n"})
    (image.project / "shared").chmod(0o777)
    both = ("-v", "./shared:/mnt", "-v", "./shared:/mnt2:ro")
    script = "cat /mnt/in; echo back > /mnt/out; echo x > /mnt2/no; echo y > /data/new && cat /data/new; echo z > /no"
    done = run(image, f"--runtime={runtime}", "--read-only", *both, "box", "sh", "-c", script)
    assert done.stdout == "from here\ny\n"
    assert done.stderr.count("Read-only file system") == 2
    assert sorted(path.name for path in (image.project / "shared").iterdir()) == ["in", "out"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_passed_on(image: World, runtime: str, signum: signal.Signals) -> None:
    script = f"trap 'echo got; exit 9' {signum.name[3:]}; echo begun; while true; do sleep 0.05; done"
    end = watch(
        image, "run", f"--runtime={runtime}", "box", "sh", "-c", script, until="begun\n", signals=[signum], alone=True
    )
    assert (end.code, end.output.splitlines()[-2:]) == (9, ["begun", "got"])
    assert leftovers(image) == []


def test_kill_takes_the_container_along(image: World, runtime: str) -> None:
    script = "sleep 300 & echo begun; sleep 300"
    end = watch(
        image, *("run", f"--runtime={runtime}", "box", "sh", "-c", script), until="begun\n", signals=[9], alone=True
    )
    assert end.code == -signal.SIGKILL
    image.run("cache", "prune")
    assert leftovers(image) == []
    assert not list(Path("/sys/fs/cgroup").rglob("*pybuild/cgroup.procs"))


def test_a_terminal(image: World, runtime: str) -> None:
    script = "read line; echo got $line; stty size; test -t 0 && test -c /dev/console && exit 7"
    with Terminal(image, "run", "-it", f"--runtime={runtime}", "box", "sh", "-c", "echo ready; " + script) as terminal:
        terminal.until("ready")
        terminal.type("words")
        terminal.until("got words")
        terminal.until("40 150")
        assert terminal.end() == 7
    assert leftovers(image) == []


def test_a_target_of_a_buildfile(world: World, base_layout: Path, runtime: str) -> None:
    world.write({"Dockerfile": "FROM scratch AS tree\nCOPY busybox /bin/sh\nENV A=b\n"})
    busybox = next(Path(path) for path in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(path))
    world.write({"busybox": busybox.read_bytes()})
    (world.project / "busybox").chmod(0o755)
    done = run(world, f"--runtime={runtime}", "./Dockerfile:tree", "sh", "-c", "echo $A; exit 3")
    assert (done.returncode, done.stdout) == (3, "b\n"), done.stderr


def test_a_link_in_the_place_of_dev_is_refused(world: World, base_layout: Path, runtime: str) -> None:
    busybox = f"--build-context=busybox=oci-layout://{base_layout}"
    for name in ("dev", "proc"):
        world.write(
            {
                "Dockerfile": f"FROM busybox AS made\nRUN mkdir /r && ln -s /tmp /r/{name}\n"
                "RUN mkdir /r/closed && touch /r/closed/x && chmod 0 /r/closed\nFROM scratch\n"
                f'COPY --from=made /r /\nCMD ["x"]\n'
            }
        )
        world.build(busybox, "-t", "bad")
        done = run(world, f"--runtime={runtime}", "bad")
        assert done.returncode == 125
        assert f"/{name}" in done.stderr
        done = world.run("bundle", "bad", f"bundle-{name}", ok=False)
        assert done.returncode == 6
        assert f"/{name}" in done.stderr
        assert not (world.project / f"bundle-{name}").exists()


@pytest.mark.privileged
def test_files_that_output_goes_to_keep_their_owners(image: World, runtime: str) -> None:
    if os.geteuid() != 0 or image.mode != "root":
        pytest.skip("only root's can be given away")
    null = os.stat("/dev/null")
    path = image.project / "output"
    with path.open("w") as output, open("/dev/null", "w") as nothing:
        command = image.command("run", f"--runtime={runtime}", "box", "sh", "-c", "echo written; id -u")
        subprocess.run(command, cwd=image.project, env=image.environment(), stdout=output, stderr=nothing, check=True)
        subprocess.run(command, cwd=image.project, env=image.environment(), stdout=nothing, stderr=nothing, check=True)
    assert path.read_text().startswith("written\n")
    assert (path.stat().st_uid, path.stat().st_gid) == (0, 0)
    now = os.stat("/dev/null")
    assert (now.st_uid, now.st_gid) == (null.st_uid, null.st_gid) == (0, 0)


def test_wrong_runtimes(image: World) -> None:
    (image.project / "old").write_text("#!/bin/sh\necho runc version 1.1.5\n")
    (image.project / "fails").write_text(
        "#!/bin/sh\n[ $1 = --version ] && { echo crun version 1.21; exit; }\n"
        'while [ $1 != --log ]; do shift; done; echo \'{"level":"error","msg":"no luck"}\' > $2; exit 1\n'
    )
    for name in ("old", "fails"):
        (image.project / name).chmod(0o755)
    for runtime, words in (
        ("kata", "`kata` is no runtime"),
        ("/no/such/crun", "the runtime is not there"),
        (f"{image.project}/old", "runc 1.1.5 is not safe"),
        (f"{image.project}/fails", "no luck"),
    ):
        done = run(image, f"--runtime={runtime}", "box", "true")
        assert done.returncode == 125
        assert words in done.stderr
        assert "error: " in done.stderr


def test_a_bundle_runs(image: World, runtime: str) -> None:
    script = "id -u; echo $COLOUR; pwd; ls /sys/class/net; cat /data/seed; echo new > /data/new && echo z > /no; exit 3"
    # A group is named, so that there are no additional ones: runc gives an ordinary user's container none.
    done = image.run("bundle", "--read-only", "-u", "app:1000", "box", "made", "--", "sh", "-c", script)
    made = image.project / "made"
    assert done.stdout == f"{made}\n"
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    document = json.loads((made / "config.json").read_text())
    assert broken(document) == []
    first, second = (made / "rootfs/data" / name for name in ("seed", "second"))
    assert first.stat().st_ino == second.stat().st_ino
    inside = document["linux"].get("uidMappings", ())
    user = first.stat().st_uid
    assert user == (77 if not inside else inside[1]["hostID"] + 77 - inside[1]["containerID"])
    start = image.command()
    prefix = start[: start.index("buildkit_py") - 2]
    state = image.project / "state"
    arguments = [
        runtime,
        "--root",
        str(state),
        *(["--cgroup-manager=disabled"] if prefix and runtime == "crun" else []),
    ]
    ran = subprocess.run(
        [*_apart(runtime), *prefix, *arguments, "run", "--bundle", str(made), f"pybuild-test-{os.getpid()}"],
        capture_output=True,
        text=True,
        env=image.environment(),
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout) == (3, "77\nblue\n/work\nlo\nseed\n"), ran.stderr
    assert (made / "rootfs/data/new").read_text() == "new\n"


def _apart(runtime: str) -> list[str]:
    """What hides from crun the controllers that it refuses to see."""
    if runtime != "crun" or not MIXED.exists():
        return []
    if os.geteuid() != 0:
        pytest.skip("crun takes no machine whose control groups are mixed, and only root can hide them")
    return ["unshare", "-m", "sh", "-c", f'mount --bind /dev/null {MIXED} && exec "$@"', "sh"]


def test_a_bundle_that_cannot_be(image: World) -> None:
    image.write({"full/file": "x", "taken": "x", "empty/not": "x"})
    (image.project / "empty").chmod(0o750)
    (image.project / "empty/not").unlink()
    (image.project / "others").mkdir(mode=0o300)
    for argv, code, words in (
        (("box", "full"), 7, "is not empty"),
        (("box", "taken"), 7, "taken by a file"),
        *[(("box", "others"), 7, "cannot be read: Permission denied")] * (image.mode != "root"),
        (("--network=isolated", "box", "new"), 2, "cannot bring an isolated network along"),
        (("box",), 2, "needs to be told more"),
        (("-p", "8080:80", "box", "new"), 2, "unknown option `-p`"),
        (("-v", "named:/data", "box", "new"), 2, "cannot bring the volume `named` along"),
        (("-e", "A=\udce9", "box", "new"), 6, "no UTF-8"),
        (("-u", "nobody-here", "box", "deep/new/"), 6, "unable to find user nobody-here"),
        (("-u", "nobody-here", "box", "empty"), 6, "unable to find user nobody-here"),
        (("none:none", "new"), 4, "none"),
    ):
        done = image.run("bundle", *argv, ok=False)
        assert done.returncode == code, (argv, done.stderr)
        assert words in done.stderr
    (image.project / "others").chmod(0o700)
    assert not (image.project / "new").exists()
    assert not (image.project / "deep").exists()
    assert os.listdir(image.project / "empty") == []
    image.run("bundle", "box", "empty")  # what failed before is not in the way
    assert (image.project / "empty/config.json").exists()
    assert stat.S_IMODE((image.project / "empty").stat().st_mode) == 0o750


def test_info_names_them(image: World, runtime: str) -> None:
    said = subprocess.run([runtime, "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    assert re.search(rf"^(ok|no)\s+{runtime}\s+{re.escape(said)} at /", image.run("info").stdout, re.MULTILINE)
