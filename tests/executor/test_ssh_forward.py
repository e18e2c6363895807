"""The forwarded agent, against OpenSSH's own programs."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit_py.errors import SourceError
from buildkit_py.executor.ssh_forward import Forward
from buildkit_py.executor.ssh_keys import KeyAgent
from tests.needs import need


def new_key(path: Path, passphrase: str = "") -> Path:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", path.name, "-f", str(path)], check=True
    )
    return path


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[KeyAgent]:
    need("ssh-agent", "ssh-add", "ssh-keygen")
    made = KeyAgent([str(new_key(tmp_path / "one")), str(new_key(tmp_path / "two"))])
    yield made
    made.close()


@pytest.fixture
def forwarded(agent: KeyAgent, tmp_path: Path) -> Iterator[Path]:
    long = tmp_path / ("d" * 100) / ("e" * 100)  # longer than a socket's path can be
    long.mkdir(parents=True)
    forward = Forward(str(long / "s"), agent.socket)
    (tmp_path / "short").symlink_to(long / "s")
    yield tmp_path / "short"
    forward.close()


def with_agent(path: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "SSH_AUTH_SOCK": str(path)}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def names(path: Path) -> list[str]:
    return sorted(line.split()[2] for line in with_agent(path, "ssh-add", "-l").stdout.splitlines())


def test_its_keys_are_seen_and_sign(forwarded: Path, tmp_path: Path) -> None:
    assert names(forwarded) == ["one", "two"]
    (tmp_path / "text").write_text("text")
    signed = with_agent(
        forwarded,
        "ssh-keygen",
        "-q",
        "-Y",
        "sign",
        "-n",
        "file",
        "-f",
        str(tmp_path / "two.pub"),
        str(tmp_path / "text"),
    )
    assert signed.returncode == 0, signed.stderr
    assert (tmp_path / "text.sig").read_text().startswith("-----BEGIN SSH SIGNATURE-----")


def test_nothing_of_it_can_be_changed(agent: KeyAgent, forwarded: Path, tmp_path: Path) -> None:
    three = new_key(tmp_path / "three")
    for change in (("-D",), ("-d", str(tmp_path / "one")), (str(three),), ("-x",)):
        done = subprocess.run(
            ["ssh-add", *change],
            env={
                **os.environ,
                "SSH_AUTH_SOCK": str(forwarded),
                "SSH_ASKPASS_REQUIRE": "force",
                "SSH_ASKPASS": "/bin/true",
            },
            capture_output=True,
            check=False,
            start_new_session=True,
        )
        assert done.returncode != 0, change
    assert names(Path(agent.socket)) == ["one", "two"]


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (b"\0\0\0\x01\x13", b"\0\0\0\x01\x05"),  # remove all keys
        (b"\0\0\0\x01\x1b", b"\0\0\0\x01\x05"),  # an extension
        (b"\0\0\0\x01\x01", b"\0\0\0\x01\x05"),  # version 1 of the protocol
        (b"\0\0\0\0", b""),  # a message without a type
        (b"\xff\xff\xff\xff\x0b", b""),  # one that would fill the memory
        (b"\0\0\0\x05\x0b", b""),  # half of one
    ],
)
def test_a_client_that_asks_for_other_things(forwarded: Path, message: bytes, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(forwarded))
        client.sendall(message)
        client.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(ConnectionResetError):  # of what it sent, something was not even read
            while piece := client.recv(100):
                got += piece
    assert got == answer
    assert names(forwarded) == ["one", "two"], "others are served on"


def test_when_it_is_closed_connections_end(agent: KeyAgent, tmp_path: Path) -> None:
    forward = Forward(str(tmp_path / "s"), agent.socket)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(tmp_path / "s"))
        client.sendall(b"\0\0\0\x01\x1b")
        assert client.recv(5) == b"\0\0\0\x01\x05"
        forward.close()
        assert client.recv(1) == b""
    with socket.socket(socket.AF_UNIX) as late, pytest.raises(ConnectionRefusedError):
        late.connect(str(tmp_path / "s"))


def test_an_agent_that_is_gone_ends_the_connection(agent: KeyAgent, tmp_path: Path) -> None:
    forward = Forward(str(tmp_path / "s"), str(tmp_path / "nowhere"))
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(tmp_path / "s"))
        assert client.recv(1) == b""
    forward.close()


def test_an_agent_for_keys_is_gone_when_it_is_closed(tmp_path: Path) -> None:
    need("ssh-agent", "ssh-add", "ssh-keygen")
    agent = KeyAgent([str(new_key(tmp_path / "key"))])
    directory = Path(agent.socket).parent
    assert directory.stat().st_mode & 0o777 == 0o700
    agent.close()
    assert not directory.exists()
    assert (
        str(directory) not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    )


def test_a_key_that_cannot_be_had(tmp_path: Path) -> None:
    need("ssh-agent", "ssh-add", "ssh-keygen")
    locked = new_key(tmp_path / "locked", "passphrase")
    with pytest.raises(SourceError, match="does not take this key") as caught:
        KeyAgent([str(locked)])
    assert caught.value.at == str(locked)
    (tmp_path / "text").write_text("no key")
    with pytest.raises(SourceError, match="does not take this key"):
        KeyAgent([str(tmp_path / "text")])
    with pytest.raises(SourceError, match="cannot be read: Is a directory"):
        KeyAgent([str(tmp_path)])


def test_a_key_may_be_readable_by_others(tmp_path: Path) -> None:
    need("ssh-agent", "ssh-add", "ssh-keygen")
    key = new_key(tmp_path / "key")
    key.chmod(0o644)
    agent = KeyAgent([str(key)])
    assert names(Path(agent.socket)) == ["key"]
    agent.close()


def test_without_openssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="`ssh-agent` could not be started"):
        KeyAgent([str(tmp_path / "key")])
