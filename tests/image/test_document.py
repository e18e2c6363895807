from __future__ import annotations

import json
from typing import Any

import pytest

from buildkit_py.image import document
from buildkit_py.image.config import Healthcheck, History, ImageConfig, ImageDocument
from buildkit_py.image.strict_json import Malformed

DIFF = "sha256:" + "1f" * 32

FULL = ImageDocument(
    architecture="arm",
    os="linux",
    variant="v7",
    created="2024-01-01T00:00:00Z",
    author="someone",
    config=ImageConfig(
        env=(("PATH", "/bin"), ("B", "x=y"), ("A", "ü")),
        cmd=("sh", "-c", "true"),
        entrypoint=("/init",),
        working_dir="/w",
        user="1000:1000",
        labels=(("a", "1"), ("b", "2")),
        ports=("53/udp", "80/tcp"),
        volumes=("/data",),
        stop_signal="SIGQUIT",
        shell=("/bin/bash", "-c"),
        healthcheck=Healthcheck(("CMD-SHELL", "true"), interval=5_000_000_000, retries=3),
        on_build=("RUN x",),
        args_escaped=True,
        extra=(("X-Vendor", {"a": (1, 2)}),),
    ),
    diff_ids=(DIFF,),
    history=(History("COPY a b", created="2024-01-01T00:00:00Z"), History("ENV x=1", empty_layer=True)),
)


def test_what_is_written_is_read_back() -> None:
    assert document.load(document.dump(FULL)) == FULL


def test_the_bytes_do_not_change() -> None:
    # Images built before must keep their digests: this line changes only on purpose.
    small = ImageDocument("amd64", "linux", ImageConfig(env=(("A", "b"),), cmd=("x",)), (DIFF,), (History("RUN x"),))
    assert document.dump(small) == (
        b'{"architecture":"amd64","config":{"Env":["A=b"],"Cmd":["x"]},"history":[{"created_by":"RUN x",'
        b'"comment":"buildkit.dockerfile.v0"}],"os":"linux","rootfs":{"type":"layers","diff_ids":["'
        + DIFF.encode()
        + b'"]}}'
    )


def test_empty_things_are_not_written() -> None:
    config = ImageConfig(cmd=(), entrypoint=(), shell=None)
    assert json.loads(document.dump(ImageDocument("amd64", "linux", config)))["config"] == {}


def test_null_and_empty_commands_differ() -> None:
    def read(config: dict[str, Any]) -> ImageConfig:
        value = {"architecture": "amd64", "os": "linux", "config": config, "rootfs": {"type": "layers"}}
        return document.load(json.dumps(value).encode()).config

    assert read({"Cmd": None}).cmd is None
    assert read({}).cmd is None
    assert read({"Cmd": []}).cmd == ()


def test_fields_of_old_docker_are_dropped_and_unknown_ones_kept() -> None:
    config = {"Hostname": "abc", "Tty": False, "Image": "sha256:1", "Env": ["A", "B="], "X-Ours": ["y"]}
    value = {
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": []},
        "container_config": {},
        "docker_version": "1",
    }
    found = document.load(json.dumps(value).encode()).config
    assert found.extra == (("X-Ours", ("y",)),)
    assert found.env == (("A", ""), ("B", ""))


def test_bytes_that_are_no_text_become_replacement_characters() -> None:
    config = ImageConfig(env=(("A", b"\xff".decode("utf-8", "surrogateescape")),))
    found = document.load(document.dump(ImageDocument("amd64", "linux", config)))
    assert found.config.env == (("A", "\ufffd"),)


@pytest.mark.parametrize(
    "change",
    [
        {"rootfs": None},
        {"rootfs": {"type": "tree"}},
        {"rootfs": {"type": "layers", "diff_ids": ["sha256:../x"]}},
        {"rootfs": {"type": "layers", "diff_ids": [5]}},
        {"config": []},
        {"config": {"Env": "A=b"}},
        {"config": {"Cmd": "sh"}},
        {"config": {"Labels": {"a": 1}}},
        {"config": {"User": 5}},
        {"config": {"Healthcheck": {"Interval": "5s"}}},
        {"config": {"Healthcheck": {"Interval": 10**400}}},
        {"config": {"ArgsEscaped": "yes"}},
        {"history": {}},
        {"history": [{"empty_layer": 1}]},
        {"architecture": 64},
    ],
)
def test_what_is_refused(change: dict[str, Any]) -> None:
    value = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, **change}
    with pytest.raises(Malformed):
        document.load(json.dumps(value).encode())


def test_a_config_of_many_megabytes() -> None:
    with pytest.raises(Malformed, match="larger than 8 MiB"):
        document.load(b" " * ((8 << 20) + 1))
