"""What a container gets, from an image's configuration and a request."""

from __future__ import annotations

import pytest

from buildkit_py.errors import UsageError
from buildkit_py.image.config import DEFAULT_PATH, ImageConfig
from buildkit_py.runner.container import argv, container_spec, environment
from buildkit_py.runner.request import RunRequest
from buildkit_py.sandbox.network.choice import Choice
from buildkit_py.sandbox.spec import RootFilesystem, SandboxMount

NETWORKS = Choice("host", lambda message, hint: pytest.fail(message))
IMAGE = ImageConfig(entrypoint=("/entry", "-x"), cmd=("serve",))


@pytest.mark.parametrize(
    ("config", "request_fields", "expected"),
    [
        (ImageConfig(cmd=("a", "b")), {}, ("a", "b")),
        (ImageConfig(cmd=("a", "b")), {"command": ("c",)}, ("c",)),
        (IMAGE, {}, ("/entry", "-x", "serve")),
        (IMAGE, {"command": ("c",)}, ("/entry", "-x", "c")),
        (IMAGE, {"entrypoint": ("/bin/sh",)}, ("/bin/sh",)),
        (IMAGE, {"entrypoint": ("/bin/sh",), "command": ("-c", "x")}, ("/bin/sh", "-c", "x")),
        (IMAGE, {"entrypoint": (), "command": ("c",)}, ("c",)),
    ],
)
def test_the_command_is_docker_s(config, request_fields, expected):
    assert argv(config, RunRequest("x", **request_fields)) == expected


@pytest.mark.parametrize(("config", "entrypoint"), [(ImageConfig(), None), (IMAGE, ())])
def test_nothing_to_run(config, entrypoint):
    with pytest.raises(UsageError, match="says nothing to run"):
        argv(config, RunRequest("x", entrypoint=entrypoint))


def test_the_environment_s_layers():
    config = ImageConfig(env=(("A", "image"), ("B", "image"), ("HOSTNAME", "mine")))
    request = RunRequest("x", env=(("B", "asked"), ("C", "asked")), terminal=True)
    assert environment(config, request, "box") == (
        ("PATH", DEFAULT_PATH),
        ("HOSTNAME", "mine"),
        ("TERM", "xterm"),
        ("A", "image"),
        ("B", "asked"),
        ("C", "asked"),
    )
    assert dict(environment(ImageConfig(), RunRequest("x"), "box")) == {"PATH": DEFAULT_PATH, "HOSTNAME": "box"}


def test_the_whole_spec():
    root = RootFilesystem(("/l1", "/l2"), "/up", "/work")
    config = ImageConfig(cmd=("a",), working_dir="/w", user="alice", volumes=("/data",))
    request = RunRequest("x", volumes=(("/src", "/a/b", True), ("/src2", "/a", False)), hosts=(("db", "10.0.0.1"),))
    spec = container_spec(config, request, root, "box", NETWORKS)
    assert (spec.root, spec.argv, spec.cwd, spec.user, spec.hostname) == (root, ("a",), "/w", "alice", "box")
    assert (spec.network, spec.writable_etc, spec.read_only_root, spec.terminal) == ("host", True, False, False)
    assert spec.open_ports
    assert spec.hosts is not None
    assert b"10.0.0.1\tdb\n" in spec.hosts
    # The shallow mount first, or it would hide the deep one.
    assert spec.mounts == (
        SandboxMount("bind", "/a", source="/src2", read_only=False),
        SandboxMount("bind", "/a/b", source="/src", read_only=True),
        SandboxMount("file", "/etc/hostname", data=b"box\n", mode=0o644, read_only=False),
    )
    asked = container_spec(config, RunRequest("x", workdir="/else", user="0:0", network="none"), root, "box", NETWORKS)
    assert (asked.cwd, asked.user, asked.network) == ("/else", "0:0", "none")


def test_volumes_stay_writable_in_a_read_only_root(tmp_path):
    (tmp_path / "layer/data").mkdir(parents=True)
    root = RootFilesystem((f"{tmp_path}/layer",), "/up", "/work")
    config = ImageConfig(cmd=("a",), volumes=("/data", "cache/", "/mine"))
    request = RunRequest("x", read_only=True, volumes=(("/src", "/mine", False),))
    spec = container_spec(config, request, root, "box", NETWORKS)
    assert spec.read_only_root
    assert spec.mounts[:2] == (
        SandboxMount("tmpfs", "/cache", read_only=False),
        SandboxMount("tree", "/data", layers=root.layers, path="/data", read_only=False),
    )
    assert [mount.target for mount in spec.mounts[2:]] == ["/mine", "/etc/hostname"]


def test_files_of_etc_are_as_the_root_is_and_give_way():
    def spec(**fields):
        return container_spec(ImageConfig(cmd=("a",)), RunRequest("x", **fields), RootFilesystem(()), "box", NETWORKS)

    def hostname(of):
        return [(mount.kind, mount.read_only) for mount in of.mounts if mount.target == "/etc/hostname"]

    assert (spec().writable_etc, hostname(spec())) == (True, [("file", False)])
    assert (spec(read_only=True).writable_etc, hostname(spec(read_only=True))) == (False, [("file", True)])
    assert hostname(spec(volumes=(("/f", "/etc/hostname", True),))) == [("bind", True)]


def test_root_has_its_groups():
    """Which `sandbox/passwd.py` looks up for a user that is named, and not for a step that names none."""
    spec = container_spec(ImageConfig(cmd=("a",)), RunRequest("x"), RootFilesystem(()), "box", NETWORKS)
    assert spec.user == "0"
