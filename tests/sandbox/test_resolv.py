"""The generated hosts and resolv.conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.errors import UsageError
from buildkit_py.sandbox.resolv import hosts_file, reached_at, resolv_conf, with_machines


def _write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_comments_do_not_pass_and_loopback_stays_with_the_hosts_network(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "r", "# secret comment\nsearch a b\nnameserver 127.0.0.53 # x\noptions edns0\nsortlist 1\n"
    )
    assert resolv_conf(path=path) == b"nameserver 127.0.0.53\nsearch a b\noptions edns0\n"


def test_loopback_servers_are_replaced_in_a_network_of_its_own(tmp_path: Path) -> None:
    path = _write(tmp_path / "r", "nameserver 127.0.0.53\nnameserver ::1\n")
    upstream = _write(tmp_path / "u", "nameserver 192.0.2.7\nnameserver 127.0.0.1\n")
    assert resolv_conf(network="none", path=path, upstream=upstream) == b"nameserver 192.0.2.7\n"
    assert resolv_conf(network="none", path=path, upstream="/no/such") == b"nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
    mixed = _write(tmp_path / "m", "nameserver 127.0.0.53\nnameserver 192.0.2.1\n")
    assert resolv_conf(network="none", path=mixed, upstream=upstream) == b"nameserver 192.0.2.1\n"


def test_no_file(tmp_path: Path) -> None:
    assert resolv_conf(path=str(tmp_path / "none")) == b""


def test_hosts() -> None:
    text = hosts_file("box", (("db", "192.0.2.3"),)).decode()
    assert text.splitlines()[0] == "127.0.0.1\tlocalhost box"
    assert text.endswith("192.0.2.3\tdb\n")
    for extra in (("a b", "192.0.2.1"), ("a", "192.0.2.1\n0.0.0.0 evil"), ("", "1"), ("#", "1")):
        with pytest.raises(UsageError):
            hosts_file(extra=(extra,))


def test_hosts_of_the_machine_are_behind_its_own(tmp_path: Path) -> None:
    machine = _write(tmp_path / "hosts", "10.0.0.1 printer # up there\n")
    assert with_machines(b"127.0.0.1\tbox\n", machine) == b"127.0.0.1\tbox\n10.0.0.1 printer # up there\n"
    assert with_machines(None, str(tmp_path / "none")) == b""


def test_one_that_has_an_address_has_its_name_there() -> None:
    hosts = hosts_file("box", (("db", "192.0.2.3"),))
    rest = "::1\tlocalhost ip6-localhost ip6-loopback\n192.0.2.3\tdb\n"
    assert reached_at(hosts, "box", "10.0.0.2").decode() == f"127.0.0.1\tlocalhost\n{rest}10.0.0.2\tbox\n"
    assert reached_at(b"other\n", "box", "10.0.0.2") == b"other\n"
    assert reached_at(None, "box", "10.0.0.2") == b""
