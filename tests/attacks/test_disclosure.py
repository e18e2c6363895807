"""Secrets of who builds and runs: in no file of the store, no name, no output, no process, and not inside."""

from __future__ import annotations

import base64
import json
import os
import secrets
import threading
import time
from pathlib import Path

import pytest

from tests.attacks.doors import Door
from tests.behaviour.world import World
from tests.fake_registry import Handler, Request, fake_registry
from tests.images import sample
from tests.processes import processes
from tests.web_server import web_server


def holds(top: Path, *texts: str) -> list[str]:
    """The files below a directory that hold one of these texts, in their names or links, too."""
    found = []
    for path in top.rglob("*"):
        data = os.fsencode(path)
        if path.is_symlink():
            data += os.fsencode(os.readlink(path))
        elif path.is_file():
            data += path.read_bytes()
        if any(text.encode() in data for text in texts):
            found.append(str(path))
    return found


@pytest.mark.attack("S21")
def test_the_environment_of_who_builds(door: Door) -> None:
    """Fifty variables with a secret each, some by the names that tools look for: none is inside, and none is kept."""
    secret = f"secret-{secrets.token_hex(8)}"
    env = {f"NAME_{number}": f"{secret}-{number}" for number in range(40)}
    for name in (
        "AWS_SECRET_ACCESS_KEY",
        "GITHUB_TOKEN",
        "CI_JOB_TOKEN",
        "SSH_AUTH_SOCK",
        "GPG_AGENT_INFO",
        "DOCKER_AUTH_CONFIG",
    ):
        env[name] = secret
    seen = door.sh("env; cat /proc/1/environ /proc/self/environ; cat /proc/[0-9]*/cmdline | tr '\\0' ' '; :", **env)
    assert seen.code == 0, seen
    assert secret not in seen.said
    assert holds(door.world.store, secret) == []


class CommandLines(threading.Thread):
    """Reads the command lines and what may be read of the environments of all processes until it is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self._going = True
        self.seen: set[bytes] = set()

    def run(self) -> None:
        while self._going:
            for path in [process / "cmdline" for process in processes()]:
                try:
                    self.seen.add(path.read_bytes())
                except OSError:
                    continue
            time.sleep(0.005)

    def stop(self) -> set[bytes]:
        self._going = False
        self.join()
        return self.seen


@pytest.mark.attack("H1", "H2", "H3")
@pytest.mark.parametrize("door", ["build"], indirect=True)
def test_a_secret_of_a_step(door: Door) -> None:
    """It is a file for root alone, in memory, and nowhere else: not in the result, the store, a log or a command line.

    Another value makes no step run again: the key has its id and place, as with BuildKit.
    """
    world, secret = door.world, f"secret-{secrets.token_hex(8)}"
    world.write({"token": secret})
    (world.project / "token").chmod(0o600)
    world.write({".dockerignore": "token\nx.tar\nout\n"})
    show = "stat -c '%a %u:%g' /s; grep ' /s ' /proc/mounts; wc -c < /s; cat /s; cat /proc/mounts | grep -c overlay"
    options = ("--secret", "id=t,src=token", "-o", "type=oci,dest=x.tar", "-t", "named")
    world.write({"Dockerfile": f"FROM box\nRUN --mount=type=secret,id=t,target=/s {show}\nCOPY . /all/\n"})
    watcher = CommandLines()
    watcher.start()
    done = world.build(door.context, *options)
    lines = watcher.stop()
    assert "400 0:0" in done.stderr
    mount = next(line for line in done.stderr.splitlines() if " /s tmpfs " in line)
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(mount.split()[-3].split(","))
    assert secret not in done.stderr, "what a step prints of it is masked"
    assert not any(secret.encode() in line for line in lines)
    assert holds(world.store, secret) == []
    assert secret.encode() not in (world.project / "x.tar").read_bytes()
    assert not (world.out(door.context, "--secret", "id=t,src=token") / "s").exists()
    world.write({"token": f"another-{secret}"})
    assert world.ran(world.build(door.context, *options)) == []
    door.check()


@pytest.mark.attack("R13")
def test_logins_of_registries(world: World) -> None:
    """The user's password is in no command line, message, log, record or request but the one for its own registry."""
    password = f"pass-{secrets.token_hex(8)}"

    def asks(handler: Handler, request: Request) -> bool:
        if "Authorization" in request.headers or "authorization" in request.headers:
            return False
        return handler.reply(401, b"{}", WWW_Authenticate='Basic realm="r"')

    with fake_registry() as registry, web_server() as other:
        image = sample()
        registry.add(image)
        registry.faults.append(asks)
        login = base64.b64encode(f"me:{password}".encode()).decode()
        home = world.top / "home"
        (home / ".docker").mkdir(parents=True)
        (home / ".docker/config.json").write_text(f'{{"auths":{{"{registry.address}":{{"auth":"{login}"}}}}}}')
        host = other.url.split("//")[1].split(":")[0]
        (home / ".netrc").write_text(f"machine {host} login me password {password}\n")
        for path in (home, *home.rglob("*")):
            os.chown(path, world.project.stat().st_uid, world.project.stat().st_gid)
        other.pages["/f"] = b"f"
        world.write({"Dockerfile": f"FROM {registry.address}/app\nADD {other.url}/f /f\nCOPY gone /\n"})
        watcher = CommandLines()
        watcher.start()
        failed = world.build(ok=False)
        world.write({"Dockerfile": f"FROM {registry.address}/app\nADD {other.url}/f /f\n"})
        done = world.build("-t", "named")
        lines = watcher.stop()
        assert all("authorization" not in request.headers for request in other.requests)
        assert any(
            "Authorization" in request.headers or "authorization" in request.headers for request in registry.requests
        )
    for text in (password, login):
        assert text not in failed.stderr + done.stderr
        assert not any(text.encode() in line for line in lines)
        assert holds(world.store, text) == []


@pytest.mark.attack("R8")
def test_layers_that_are_to_be_had_from_elsewhere(world: World) -> None:
    """CVE-2020-15157: the `urls` of a layer are not asked, with or without a login; the registry is."""
    with fake_registry() as registry, web_server() as other:
        image = sample()
        registry.add(image)
        manifest = json.loads(image.blobs[image.digest])
        (layer,) = manifest["layers"]
        other.pages["/layer"] = registry.blobs.pop(layer["digest"])
        for kind in (layer["mediaType"], "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"):
            manifest["layers"] = [{**layer, "mediaType": kind, "urls": [f"{other.url}/layer"]}]
            registry.put("latest", json.dumps(manifest).encode())
            world.write({"Dockerfile": f"FROM {registry.address}/app\nCOPY . /x/\n"})
            assert world.build("-o", "out", ok=False).returncode == 4
        assert other.requests == []
