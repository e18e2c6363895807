"""From services of a compose file to requests: what a container gets of each key, and when it is another one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildkit_py.api.make_container import Detached
from buildkit_py.api.project_request import build_request, fingerprint, make_sources, requests
from buildkit_py.errors import ComposeError
from buildkit_py.frontend.compose.load import load
from buildkit_py.image.config import Healthcheck, ImageConfig
from buildkit_py.runner.memo import Runnable
from buildkit_py.runner.published import Published
from buildkit_py.runner.request import Bounds, RunRequest
from buildkit_py.runner.restart import Restart
from buildkit_py.sandbox.capabilities import ALL, DEFAULT, mask
from buildkit_py.sandbox.spec import SandboxMount

RUNNABLE = Runnable(("a" * 64,), ImageConfig())


def request(
    directory: Path, keys: str, rest: str = "", env: dict[str, str] | None = None
) -> tuple[RunRequest, Detached]:
    (directory / "compose.yaml").write_text(f"services: {{web: {{image: x, {keys}}}}}\n{rest}")
    project = load(str(directory), env or {}, name="shop")
    return requests(project, project.services[0])


@pytest.mark.parametrize(
    ("keys", "field", "value"),
    [
        ("command: [a, b]", "command", ("a", "b")),
        ("entrypoint: a", "entrypoint", ("a",)),
        ("environment: {A: b}", "env", (("A", "b"),)),
        ("user: me, hostname: h, working_dir: /w", "user", "me"),
        ("mem_limit: 1g, cpus: 0.5, pids_limit: 7", "bounds", Bounds(1 << 30, 500, 7)),
        ("cap_drop: [ALL], cap_add: [net_bind_service]", "capabilities", mask("NET_BIND_SERVICE")),
        ("cap_add: [ALL], cap_drop: [SYS_ADMIN]", "capabilities", ALL & ~mask("SYS_ADMIN")),
        ("cap_drop: [CHOWN]", "capabilities", DEFAULT & ~mask("CHOWN")),
        ("security_opt: ['no-new-privileges:true']", "no_new_privileges", True),
        ("security_opt: ['seccomp:unconfined']", "seccomp", False),
        ("tmpfs: /run", "tmpfs", (SandboxMount("tmpfs", "/run", mode=0o1777, executable=False, read_only=False),)),
        ("ulimits: {core: 0}", "ulimits", (("core", 4, 0, 0),)),
        ("shm_size: 1m", "shm", 1 << 20),
        ("read_only: true", "read_only", True),
        ("init: true", "init", True),
        ("tty: true", "terminal", True),
        ("extra_hosts: ['a=10.0.0.1']", "hosts", (("a", "10.0.0.1"),)),
        ("ports: ['80']", "ports", (Published("127.0.0.1", (0, 0), 80),)),
        ("ports: ['0.0.0.0:8080-8089:80/udp']", "ports", (Published("0.0.0.0", (8080, 8089), 80, "udp"),)),
        ("healthcheck: {test: a, interval: 1s}", "health", Healthcheck(("CMD-SHELL", "a"), 10**9)),
        ("healthcheck: {disable: true}", "health", Healthcheck(("NONE",))),
        ("volumes: ['data:/d:ro', '/abs:/a']", "volumes", (("shop_data", "/d", True), ("/abs", "/a", False))),
        ("network_mode: none", "network", "none"),
        ("pull_policy: always", "pull", True),
    ],
)
def test_what_a_container_gets(keys: str, field: str, value: object, tmp_path: Path) -> None:
    assert getattr(request(tmp_path, keys, "volumes: {data: }")[0], field) == value


def test_how_it_is_looked_after(tmp_path: Path) -> None:
    _, wanted = request(tmp_path, "restart: on-failure:3, stop_signal: SIGUSR1, stop_grace_period: 1m")
    assert wanted == Detached("shop-web-1", Restart("on-failure", 3), False, 10, 60.0)
    assert request(tmp_path, "container_name: mine")[1].name == "mine"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("cap_add: [NOPE]", "compose.yaml:1:12: `web`: `NOPE` is no capability"),
        ("cap_add: [ALL], cap_drop: [ALL]", "`web`: all capabilities are to be added and dropped"),
        ("security_opt: [apparmor=x]", "`web`: `security_opt: apparmor=x` is not understood"),
        ("mem_limit: 1m", "`web`: its memory is too little to start in"),
        ("stop_signal: NOPE", "`web`: `NOPE` is no signal"),
        ("secrets: [s]", "`/run/secrets/s` is to come from `$S`, which is not set"),
    ],
)
def test_what_cannot_be_had(keys: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ComposeError) as found:
        request(tmp_path, keys, "secrets: {s: {environment: S}}")
    assert said in str(found.value)
    assert str(found.value).startswith("compose.yaml:")


def test_a_fingerprint_tells_what_is_another_container(tmp_path: Path) -> None:
    usual = fingerprint(*request(tmp_path, "environment: {A: b}"), RUNNABLE)
    assert usual == fingerprint(*request(tmp_path, "environment: [A=b]"), RUNNABLE)
    assert usual == fingerprint(*request(tmp_path, "environment: [A=b], pull_policy: always"), RUNNABLE)
    others = ["environment: {A: c}", "environment: {A: b}, restart: always", "environment: {A: b}, cap_drop: [CHOWN]"]
    others += ["environment: {A: b}, stop_grace_period: 1s", "environment: {A: b}, healthcheck: {test: x}"]
    prints = {fingerprint(*request(tmp_path, keys), RUNNABLE) for keys in others}
    assert len(prints | {usual}) == 6
    other = RUNNABLE.replace(config=ImageConfig(user="me"))
    assert usual != fingerprint(*request(tmp_path, "environment: {A: b}"), other)
    assert usual != fingerprint(*request(tmp_path, "environment: {A: b}"), RUNNABLE.replace(layers=("b" * 64,)))


def test_directories_are_made_where_they_may_be(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        "services: {web: {image: x, volumes: ['./a/b:/c'], secrets: [s]}}\nsecrets: {s: {file: s}}"
    )
    service = load(str(tmp_path), {}).services[0]
    with pytest.raises(ComposeError, match=r"compose\.yaml:2:21: there is no file `.*/s`"):
        make_sources(service)
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "s").write_text("")
    make_sources(service)


def test_what_is_unconfined_in_any_case_may_be_said(tmp_path: Path) -> None:
    options = "'apparmor:unconfined', 'apparmor=unconfined', 'label:disable', label=disable"
    assert request(tmp_path, f"security_opt: [{options}]") == request(tmp_path, "")
    with pytest.raises(ComposeError, match="`security_opt: apparmor:mine` is not understood"):
        request(tmp_path, "security_opt: ['apparmor:mine']")


def test_no_directory_is_made_where_a_socket_is_to_be(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {web: {image: x, volumes: ['./run/docker.sock:/s']}}")
    service = load(str(tmp_path), {}).services[0]
    with pytest.raises(ComposeError, match=r"compose\.yaml:1:\d+: there is no socket `.*/run/docker\.sock`"):
        make_sources(service)
    assert not (tmp_path / "run").exists()


def test_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "compose.yaml").write_text(
        """
services:
  plain: {build: .}
  named: {image: 'shop:dev', build: {context: ., dockerfile: other, args: [A=b], tags: ['shop:1'], target: t}}
  python: {build: {dockerfile: Buildfile.py, args: {a: b}, target: web}}
  remote: {build: {context: 'https://example.com/x.git#main', dockerfile: sub/Dockerfile}}
  keys: {build: {context: ., ssh: ['deploy=id', default]}}
"""
    )
    for name in ("Dockerfile", "other", "Buildfile.py", "id"):
        (tmp_path / name).write_text("")
    project = load(str(tmp_path), {}, name="shop")
    monkeypatch.setitem(os.environ, "SSH_AUTH_SOCK", "/agent")
    built = {one.name: build_request(project, one, "") for one in project.services}
    # A Buildfile.py runs only where it is named.
    assert (built["plain"].file, built["plain"].context, built["plain"].tags) == (
        f"{tmp_path}/Dockerfile",
        str(tmp_path),
        (),
    )
    assert built["python"].file == f"{tmp_path}/Buildfile.py"
    assert (built["named"].file, built["named"].build_args) == (f"{tmp_path}/other", (("A", "b"),))
    assert (built["named"].tags, built["named"].targets[0].name) == (("shop:dev", "shop:1"), "t")
    assert built["python"].targets[0].parameters == (("a", "b"),)
    assert built["python"].build_args == ()
    remote = built["remote"]
    assert (remote.remote, remote.context, remote.file) == ("https://example.com/x.git#main", "", "sub/Dockerfile")
    assert [(one.id, one.socket, one.keys) for one in built["keys"].ssh] == [
        ("deploy", "", (f"{tmp_path}/id",)),
        ("default", "/agent", ()),
    ]


def test_a_buildfile_py_that_is_not_named(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services:\n  plain: {build: .}\n")
    (service,) = load(str(tmp_path), {}, name="shop").services
    for name, hint in ("x", "one of `Buildfile`, `Dockerfile`"), ("Buildfile.py", "`dockerfile: Buildfile.py`"):
        (tmp_path / name).write_text("")
        with pytest.raises(ComposeError, match="has no Buildfile") as caught:
            build_request(load(str(tmp_path), {}, name="shop"), service, "")
        assert hint in caught.value.hint


def test_a_secret_of_a_build_has_the_value_that_the_project_knows(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TOKEN=hush\n")
    (tmp_path / "Dockerfile").touch()
    text = "services: {web: {build: {context: ., secrets: [t]}}}\nsecrets: {t: {environment: %s}}\n"
    for variable in ("TOKEN", "GONE"):
        (tmp_path / "compose.yaml").write_text(text % variable)
        project = load(str(tmp_path), {}, name="shop")
        if variable == "GONE":
            with pytest.raises(ComposeError, match="the secret `t` is to come from `\\$GONE`, which is not set"):
                build_request(project, project.services[0], "")
        else:
            (secret,) = build_request(project, project.services[0], "").secrets
            assert (secret.id, secret.data, secret.env, secret.file) == ("t", "hush", "", "")


def test_0_is_no_limit(tmp_path: Path) -> None:
    found, _ = request(tmp_path, "mem_limit: 0, shm_size: '0', deploy: {resources: {limits: {memory: 0}}}")
    assert (found.bounds, found.shm) == (Bounds(), 0)
