"""config.json: within the specification's rules, and saying what the spec says."""

from __future__ import annotations

import json

import pytest

from buildkit_py.sandbox import capabilities
from buildkit_py.sandbox.failure import SetupFailure
from buildkit_py.sandbox.oci.config import BundleMount, Place, runtime_config
from buildkit_py.sandbox.passwd import User
from buildkit_py.sandbox.spec import RootFilesystem, SandboxSpec
from buildkit_py.sandbox.system import MASKED, READ_ONLY
from tests.sandbox.oci.rules import broken

ROOT = User(0, 0, [0], b"/root")
ALICE = User(1000, 1000, [1000, 50], b"/home/alice")
HERE = Place("rootfs")
MOUNTS = (
    BundleMount("/data", "rootfs/data", ("rbind", "nodev", "rw")),
    BundleMount("/scratch", "", ("nosuid", "nodev", "mode=755")),
)


def config(user: User = ROOT, place: Place = HERE, env: bytes = b"v", **fields) -> dict:
    spec = SandboxSpec(RootFilesystem(hide=("/store",)), ("sh", "-c", "true"), cwd="/w", hostname="shop", **fields)
    document = json.loads(runtime_config(spec, {b"NAME": env}, user, MOUNTS, place))
    assert broken(document) == []
    return document


def test_what_every_container_has():
    document = config()
    assert (document["process"]["args"], document["process"]["cwd"]) == (["sh", "-c", "true"], "/w")
    assert (document["process"]["env"], document["hostname"]) == (["NAME=v"], "shop")
    assert [mount["destination"] for mount in document["mounts"]] == [
        *("/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/data", "/scratch")
    ]
    assert [mount["type"] for mount in document["mounts"]][-2:] == ["bind", "tmpfs"]
    linux = document["linux"]
    assert linux["maskedPaths"] == [f"/{path.decode()}" for path in MASKED] + ["/store"]
    assert linux["readonlyPaths"] == [f"/{path.decode()}" for path in READ_ONLY]
    assert {entry["type"] for entry in linux["namespaces"]} == {"pid", "ipc", "uts", "mount", "cgroup"}
    assert linux["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert "hooks" not in document


def test_rights_are_the_user_s():
    of_root, of_alice = config()["process"], config(ALICE)["process"]
    assert of_root["capabilities"]["effective"] == of_root["capabilities"]["bounding"]
    assert sum(capabilities.mask(name) for name in of_root["capabilities"]["bounding"]) == capabilities.DEFAULT
    assert of_alice["capabilities"]["bounding"] == of_root["capabilities"]["bounding"]
    assert of_alice["capabilities"]["effective"] == of_alice["capabilities"]["permitted"] == []
    assert of_alice["user"] == {"uid": 1000, "gid": 1000, "umask": 0o022, "additionalGids": [1000, 50]}
    assert config(no_new_privileges=True)["process"]["noNewPrivileges"]
    assert (
        "seccomp"
        not in json.loads(
            runtime_config(SandboxSpec(RootFilesystem(), ("a",), seccomp=False), {}, ROOT, (), Place("rootfs"))
        )["linux"]
    )


def test_a_user_s_bundle_has_a_user_namespace():
    lines = ((0, 1000, 1), (1, 100_000, 65_536))
    place = Place("rootfs", machine_sys=True, uids=lines, gids=lines)
    document = config(ALICE, place)
    assert document["linux"]["uidMappings"] == [
        {"containerID": 0, "hostID": 1000, "size": 1},
        {"containerID": 1, "hostID": 100_000, "size": 65_536},
    ]
    sys = next(mount for mount in document["mounts"] if mount["destination"] == "/sys")
    assert (sys["source"], "rbind" in sys["options"], "ro" in sys["options"]) == ("/sys", True, True)
    # runc refuses an ordinary user's container any additional group.
    assert "additionalGids" not in config(ROOT, place)["process"]["user"]
    assert config(ALICE, place)["process"]["user"]["additionalGids"] == [1000, 50]
    single = config(ALICE, place.replace(groups=False, tty_group=False))
    assert "additionalGids" not in single["process"]["user"]
    assert "gid=5" not in next(m for m in single["mounts"] if m["destination"] == "/dev/pts")["options"]


def test_a_terminal_a_network_and_a_read_only_root():
    document = config(place=Place("rootfs", networks=True, screen=(40, 99)), terminal=True, read_only_root=True)
    assert document["process"]["terminal"]
    assert document["process"]["consoleSize"] == {"height": 40, "width": 99}
    assert {"type": "network"} in document["linux"]["namespaces"]
    assert document["root"]["readonly"]
    sealed = config(place=Place("/r", seal=("/python", "-c", "x"), dev="/b/dev"), read_only_root=True)
    # The hook does it then: a runtime that does it itself takes `nodev` off again.
    assert not sealed["root"]["readonly"]
    assert sealed["hooks"] == {"createContainer": [{"path": "/python", "args": ["/python", "-c", "x"]}]}
    dev = next(mount for mount in sealed["mounts"] if mount["destination"] == "/dev")
    assert (dev["type"], dev["source"], "nodev" in dev["options"]) == ("bind", "/b/dev", True)


def test_limits():
    document = config(place=Place("rootfs", resources=(1 << 20, 1500, 9)), ulimits=(("nofile", 7, 10, 20),), shm=4096)
    assert document["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}]
    resources = document["linux"]["resources"]
    assert resources["memory"] == {"limit": 1 << 20, "swap": 1 << 20}
    assert resources["cpu"] == {"period": 100_000, "quota": 150_000}
    assert resources["pids"] == {"limit": 9}
    assert "size=4096" in next(m for m in document["mounts"] if m["destination"] == "/dev/shm")["options"]


def test_text_that_is_no_utf_8_is_refused():
    with pytest.raises(SetupFailure, match="no UTF-8") as caught:
        config(env=b"caf\xe9")
    assert "caf" in caught.value.subject
