"""`RUN --mount=type=ssh` and git over ssh: agents and keys of `--ssh`."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.world import World
from tests.executor.test_ssh_forward import new_key
from tests.git_server import Repository
from tests.needs import need


@pytest.fixture
def project(world: World) -> World:
    """A project with the keys `one` and `two`, which the user of the build owns."""
    need("ssh-agent", "ssh-add", "ssh-keygen")
    for name in ("one", "two"):
        key = new_key(world.project / name)
        owner = world.project.stat()
        for path in (key, key.with_suffix(".pub")):
            os.chown(path, owner.st_uid, owner.st_gid)
    return world


def printed(progress: str) -> list[str]:
    """What the steps of a build printed, in plain progress."""
    return re.findall(r"^#\d+ \d+\.\d+ (.*)$", progress, re.MULTILINE)


def buildfile(world: World, text: str) -> None:
    world.write({"Dockerfile": text, ".dockerignore": "one*\ntwo*\n"})


def test_a_command_uses_the_keys_and_cannot_change_them(project: World) -> None:
    buildfile(
        project,
        "FROM host://\nRUN --mount=type=ssh ssh-add -L; echo at $SSH_AUTH_SOCK; stat -c '%a %u %g' $SSH_AUTH_SOCK; "
        'ssh-add -D 2>&1; ssh-add -l | wc -l\nRUN ls -A /run; echo "<$SSH_AUTH_SOCK>"\n',
    )
    temporary = project.top / "temporary"
    temporary.mkdir()
    temporary.chmod(0o777)
    done = project.build("--ssh", "default=one,two", TMPDIR=str(temporary))
    said = printed(done.stderr)
    assert [line.split()[2] for line in said[:2]] == ["one", "two"]
    assert said[2:4] == ["at /run/buildkit/ssh_agent.0", "600 0 0"]
    assert "Failed to remove all identities" in said[4]
    assert said[5:] == ["2", "<>"], "nothing is left of it in the filesystem"
    assert list(temporary.iterdir()) == []
    assert project.ran(project.build()) == [], "which agent there is is in no key"


def test_options_of_the_mount(project: World) -> None:
    buildfile(
        project,
        "FROM host://\n"
        "RUN --mount=type=ssh,id=a,target=/tmp/a,mode=0666 --mount=type=ssh,id=b,uid=7,gid=8 "
        "stat -c '%n %a %u %g' /tmp/a /run/buildkit/ssh_agent.1; echo $SSH_AUTH_SOCK; "
        "SSH_AUTH_SOCK=/run/buildkit/ssh_agent.1 ssh-add -L\n"
        "ENV SSH_AUTH_SOCK=/mine\nRUN --mount=type=ssh,id=a echo $SSH_AUTH_SOCK\n",
    )
    done = project.build("--ssh", "a=one", "--ssh", "b=two")
    said = printed(done.stderr)
    assert said[:3] == ["/tmp/a 666 0 0", "/run/buildkit/ssh_agent.1 600 7 8", "/tmp/a"]
    assert said[3].split()[2] == "two"
    assert said[4] == "/mine"


def test_one_that_was_not_given(project: World) -> None:
    buildfile(project, "FROM host://\nRUN --mount=type=ssh ! test -e $SSH_AUTH_SOCK && echo none at $SSH_AUTH_SOCK\n")
    assert "none at /run/buildkit/ssh_agent.0" in project.build().stderr
    buildfile(project, "FROM host://\nRUN --mount=type=ssh,required,id=deploy true\n")
    done = project.build(ok=False)
    assert done.returncode == 3
    assert "Dockerfile:2:1: the ssh agent `deploy` is required and was not given" in done.stderr
    assert "hint: give it with --ssh deploy=SOCKET" in done.stderr


def test_an_agent_of_the_user(project: World) -> None:
    agent = project.top / "agent"
    command = [*project.command()[: -len(["-m", "buildkit_py"]) - 1], "ssh-agent", "-D", "-a", str(agent)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not agent.exists():
            time.sleep(0.01)
        key = ["ssh-add", "-q", str(project.project / "two")]
        subprocess.run([*command[:-4], *key], env={**os.environ, "SSH_AUTH_SOCK": str(agent)}, check=True)
        buildfile(project, "FROM host://\nRUN --mount=type=ssh ssh-add -L > /tmp/keys; cat /tmp/keys\n")
        assert " two\n" in project.build("--ssh", "default", SSH_AUTH_SOCK=str(agent)).stderr
        assert " two\n" in project.build("--no-cache", "--ssh", f"default={agent}").stderr
    finally:
        running.terminate()
        running.wait()


def test_in_a_buildfile_py(project: World) -> None:
    project.write(
        {
            "Buildfile.py": """\
from buildkit_py import host, ssh, target
@target
def app():
    return host().run("ssh-add -L; echo at $SSH_AUTH_SOCK", mounts=[ssh("deploy", target="/tmp/agent")])
"""
        }
    )
    done = project.run("Buildfile.py", "--progress=plain", "--ssh", "deploy=one")
    assert " one\n" in done.stderr
    assert "at /tmp/agent" in done.stderr
    done = project.run("Buildfile.py", "--no-cache", ok=False)
    assert "the ssh agent `deploy` is required" in done.stderr
    assert "Buildfile.py:4 in app()" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--ssh", "default"), "`--ssh default` is the agent of `$SSH_AUTH_SOCK`, which is not set"),
        (("--ssh", "default=gone"), "is to come from `"),
        (("--ssh", "=x"), "`--ssh =x` is none of"),
        (("--ssh", "default="), "`--ssh default=` is none of"),
    ],
)
def test_options_that_cannot_be_meant(project: World, options: tuple[str, str], message: str) -> None:
    if project.mode == "user":
        pytest.skip("messages do not depend on who builds")
    buildfile(project, "FROM scratch\n")
    done = project.build(*options, ok=False)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_key_with_a_passphrase(project: World) -> None:
    new_key(project.top / "locked", "secret")
    os.chown(project.top / "locked", project.project.stat().st_uid, -1)
    buildfile(project, "FROM host://\nRUN --mount=type=ssh true\n")
    done = project.build("--ssh", f"default={project.top / 'locked'}", ok=False)
    assert "ssh-add does not take this key" in done.stderr
    assert "hint: add a key that has a passphrase to an agent of yours" in done.stderr


# git


class Sshd:
    """An ssh server that lets the key `one` of a project in as root, on a port of its own."""

    def __init__(self, top: Path, key: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        new_key(top / "host")
        (top / "authorized").write_text(key.with_suffix(".pub").read_text())
        (top / "config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {top}/host\nAuthorizedKeysFile {top}/authorized\n"
            f"StrictModes no\nUsePAM no\nPidFile {top}/pid\n"
            "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        )
        os.makedirs("/run/sshd", exist_ok=True)
        self._process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(top / "config")])
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise AssertionError("sshd does not listen")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


@pytest.fixture
def server(project: World, tmp_path: Path) -> Iterator[Sshd]:
    need("sshd", "git")
    if os.geteuid() != 0:
        pytest.skip("sshd lets root in, so only root can start it for that")
    sshd = Sshd(tmp_path, project.project / "one")
    yield sshd
    sshd.close()


def test_files_and_contexts_from_git_over_ssh(project: World, server: Sshd, tmp_path: Path) -> None:
    repository = Repository(tmp_path, "repo")
    commit = repository.commit({"a": "from git\n", "Dockerfile": "FROM scratch\nCOPY a /a\n"})
    url = f"ssh://root@127.0.0.1:{server.port}{repository.bare}"
    buildfile(project, f"FROM scratch\nADD {url}#main /src/\n")
    assert (project.out("--ssh", "default=one") / "src/a").read_text() == "from git\n"
    buildfile(project, f"FROM scratch\nADD {url}#{commit} /other/\n")
    assert (project.out("--ssh", "default=one") / "other/a").read_text() == "from git\n"
    target = project.project / "context"
    project.run("build", "--ssh", "default=one", "-o", str(target), f"{url}#main")
    assert (target / "a").read_text() == "from git\n"

    buildfile(project, f"FROM scratch\nADD {url}#main /src/\n")
    done = project.build("--ssh", "default=two", ok=False)
    assert "Permission denied" in done.stderr
    assert "hint: give an ssh agent with `--ssh default`" in done.stderr
