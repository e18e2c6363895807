"""What becomes of a service's keys: the values that the Compose Specification gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildkit_py.errors import ComposeError
from buildkit_py.frontend.compose.load import load
from buildkit_py.frontend.compose.project import Service
from buildkit_py.frontend.compose.unnamed_volumes import unnamed_volume
from buildkit_py.image.config import Healthcheck
from buildkit_py.image.platform import local

S = 1_000_000_000


def service(directory: Path, keys: str, rest: str = "", env: dict[str, str] | None = None) -> Service:
    """The service `web` with these keys, in flow style."""
    (directory / "compose.yaml").write_text(f"services:\n  web: {{image: x, {keys}}}\n  db: {{image: y}}\n{rest}\n")
    found = load(str(directory), env or {}, name="shop").service("web")
    assert found is not None
    return found


def plain(value: Any) -> Any:
    """Records as tuples of their fields, without places."""
    if isinstance(value, tuple):
        return tuple([plain(one) for one in value])
    if hasattr(value, "values") and callable(value.values):
        fields = zip(value.__fields__, value.values(), strict=True)
        return tuple([plain(one) for name, one in fields if name != "at"])
    return value


@pytest.mark.parametrize(
    ("keys", "field", "value"),
    [
        ("command: echo 'a b' c", "command", ("echo", "a b", "c")),
        ("command: [sleep, 10]", "command", ("sleep", "10")),
        ("entrypoint: /run.sh -x", "entrypoint", ("/run.sh", "-x")),
        ("entrypoint: []", "entrypoint", ()),
        ("entrypoint: ", "entrypoint", None),
        ("environment: {A: b, N: 0440, F: 1.50, T: true, E: '', H: , U: }", "environment", None),
        ("environment: [A=b, 'C=d=e', H, U]", "environment", (("A", "b"), ("C", "d=e"), ("H", "from-here"))),
        ("ports: [80]", "ports", ((80, (0, 0), "", "tcp"),)),
        ("ports: ['8080:80']", "ports", ((80, (8080, 8080), "", "tcp"),)),
        ("ports: ['127.0.0.1:8080:80/udp']", "ports", ((80, (8080, 8080), "127.0.0.1", "udp"),)),
        ("ports: ['[::1]:8080:80']", "ports", ((80, (8080, 8080), "::1", "tcp"),)),
        ("ports: ['127.0.0.1::80']", "ports", ((80, (0, 0), "127.0.0.1", "tcp"),)),
        ("ports: ['8080-8081:80-81']", "ports", ((80, (8080, 8080), "", "tcp"), (81, (8081, 8081), "", "tcp"))),
        ("ports: ['80-81']", "ports", ((80, (0, 0), "", "tcp"), (81, (0, 0), "", "tcp"))),
        (
            "ports: ['8080:80', '8080:80/tcp', '8080:80/udp']",
            "ports",
            ((80, (8080, 8080), "", "tcp"), (80, (8080, 8080), "", "udp")),
        ),
        (
            "ports: [{target: 80, published: '8080', host_ip: 0.0.0.0, protocol: udp, mode: host, name: web}]",
            "ports",
            ((80, (8080, 8080), "0.0.0.0", "udp"),),
        ),
        ("ports: ['8080-8089:80']", "ports", ((80, (8080, 8089), "", "tcp"),)),
        ("ports: [{target: 80}]", "ports", ((80, (0, 0), "", "tcp"),)),
        ("ports: [{target: 80, published: 8080}]", "ports", ((80, (8080, 8080), "", "tcp"),)),
        ("expose: [80, '90-91/udp']", "expose", ("80", "90-91/udp")),
        ("networks: [front]", "networks", (("front", ()),)),
        ("networks: {front: {aliases: [www]}, default: }", "networks", (("front", ("www",)), ("default", ()))),
        ("hostname: h", "networks", (("default", ()),)),
        ("network_mode: none", "networks", ()),
        ("network_mode: host", "mode", "host"),
        ("network_mode: bridge", "mode", ""),
        ("network_mode: default", "networks", (("default", ()),)),
        ("network_mode: $UNSET, networks: [front]", "networks", (("front", ()),)),
        ("restart: $UNSET", "restart", "no"),
        ("container_name: $UNSET", "container_name", ""),
        ("working_dir: $UNSET", "working_dir", ""),
        ("depends_on: [db]", "depends_on", (("db", "service_started", False, True),)),
        (
            "depends_on: {db: {condition: service_healthy, restart: true, required: false}}",
            "depends_on",
            (("db", "service_healthy", True, False),),
        ),
        ("depends_on: {gone: {condition: service_started, required: false}}", "depends_on", ()),
        ("healthcheck: {test: curl x}", "healthcheck", Healthcheck(("CMD-SHELL", "curl x"))),
        ("healthcheck: {test: [CMD, curl, x]}", "healthcheck", Healthcheck(("CMD", "curl", "x"))),
        ("healthcheck: {test: [NONE]}", "healthcheck", Healthcheck(("NONE",))),
        ("healthcheck: {disable: true}", "healthcheck", Healthcheck(("NONE",))),
        (
            "healthcheck: {test: x, interval: 1m30s, timeout: 500ms, retries: 3, start_period: 5s, start_interval: 1s}",
            "healthcheck",
            Healthcheck(("CMD-SHELL", "x"), 90 * S, S // 2, 5 * S, S, 3),
        ),
        ("healthcheck: {interval: 1s}", "healthcheck", Healthcheck((), S)),
        ("restart: on-failure:3", "restart", "on-failure:3"),
        ("restart: no", "restart", "no"),
        ("restart: false", "restart", "no"),
        ("restart: unless-stopped", "restart", "unless-stopped"),
        ("deploy: {restart_policy: {condition: on-failure, max_attempts: 2}}", "restart", "on-failure:2"),
        ("deploy: {restart_policy: {}}", "restart", "always"),
        ("deploy: {restart_policy: {condition: none}}", "restart", "no"),
        ("restart: always, deploy: {restart_policy: {condition: none}}", "restart", "always"),
        ("stop_signal: SIGUSR1", "stop_signal", "SIGUSR1"),
        ("stop_signal: 10", "stop_signal", "10"),
        ("stop_grace_period: 1m30s", "patience", 90.0),
        ("stop_grace_period: 0s", "patience", 0.0),
        ("user: '1000:100'", "user", "1000:100"),
        ("user: 1000", "user", "1000"),
        ("working_dir: /app", "working_dir", "/app"),
        ("extra_hosts: ['a:10.0.0.1', 'b=::1', 'c=[::2]']", "hosts", (("a", "10.0.0.1"), ("b", "::1"), ("c", "::2"))),
        (
            "extra_hosts: {a: 10.0.0.1, b: [10.0.0.2, '::3']}",
            "hosts",
            (("a", "10.0.0.1"), ("b", "10.0.0.2"), ("b", "::3")),
        ),
        ("extra_hosts: ['h:host-gateway', 'i=host-gateway']", "hosts", (("h", "host-gateway"), ("i", "host-gateway"))),
        ("cap_add: [NET_ADMIN], cap_drop: [ALL]", "cap_add", ("NET_ADMIN",)),
        ("security_opt: ['no-new-privileges:true']", "security_opt", ("no-new-privileges:true",)),
        ("read_only: true", "read_only", True),
        ("read_only: '${H:+yes}'", "read_only", True),
        ("init: true", "init", True),
        ("tty: true, stdin_open: true", "terminal", True),
        ("shm_size: 128m", "shm", 128 << 20),
        ("shm_size: 1048576", "shm", 1 << 20),
        ("ulimits: {nproc: 10, nofile: {soft: 20, hard: 40}}", "ulimits", (("nproc", 10, 10), ("nofile", 20, 40))),
        ("ulimits: {memlock: -1}", "ulimits", (("memlock", -1, -1),)),
        ("mem_limit: 1.5g", "memory", 3 << 29),
        ("deploy: {resources: {limits: {cpus: '0.5', memory: 50M, pids: 7}}}", "memory", 50 << 20),
        ("deploy: {resources: {limits: {cpus: '0.5', memory: 50M, pids: 7}}}", "cpus", 500),
        ("deploy: {resources: {limits: {cpus: '0.5', memory: 50M, pids: 7}}}", "pids", 7),
        ("cpus: 1.5", "cpus", 1500),
        ("cpus: '${H:+2}'", "cpus", 2000),
        ("pids_limit: -1", "pids", 0),
        ("mem_limit: 1g, deploy: {resources: {limits: {memory: 1024m}}}", "memory", 1 << 30),
        ("scale: 1, deploy: {replicas: 1}", "image", "x"),
        ("labels: {a: b, c: 1}", "labels", (("a", "b"), ("c", "1"))),
        ("labels: [a=b, c]", "labels", (("a", "b"), ("c", ""))),
        ("container_name: mine", "container_name", "mine"),
        ("pull_policy: if_not_present", "pull", "missing"),
        ("profiles: []", "profiles", ()),
        ("attach: false", "attach", False),
        ("x-own: {a: b}", "image", "x"),
        ("image: '${TAG:-y}:1'", "image", "y:1"),
    ],
)
def test_a_key(keys: str, field: str, value: object, tmp_path: Path) -> None:
    if keys.startswith("image"):
        (tmp_path / "compose.yaml").write_text(f"services: {{web: {{{keys}}}}}")
        found = load(str(tmp_path), {}).services[0]
    else:
        found = service(tmp_path, keys, "networks: {front: }", {"H": "from-here"})
    if value is None and field == "environment":
        value = (("A", "b"), ("N", "0440"), ("F", "1.50"), ("T", "true"), ("E", ""), ("H", "from-here"))
    got = getattr(found, field)
    assert (got if isinstance(value, Healthcheck) else plain(got)) == value


def test_mounts(tmp_path: Path) -> None:
    keys = """volumes: [data:/data, 'data:/again:ro', ./src:/src, '~/x:/x:ro,z', /abs:/abs:rw, /anonymous,
      {type: volume, source: named, target: /named, read_only: true}, {type: volume, target: /other},
      {type: bind, source: ., target: /here, bind: {create_host_path: false}},
      {type: tmpfs, target: /t, tmpfs: {size: 64m, mode: 0700}}],
      tmpfs: ['/run:size=1m,mode=755,exec,uid=7,gid=8', '/tmp:size=5%']"""
    rest = "volumes: {data: , named: {name: real}, theirs: {external: true}}"
    (tmp_path / "home").mkdir()
    found = service(tmp_path, keys, rest)
    home = str(Path("~/x").expanduser())
    assert plain(found.mounts) == (
        ("volume", "/data", "shop_data", False, False, None),
        ("volume", "/again", "shop_data", True, False, None),
        ("bind", "/src", f"{tmp_path}/src", False, True, None),
        ("bind", "/x", home, True, True, None),
        ("bind", "/abs", "/abs", False, True, None),
        ("volume", "/anonymous", unnamed_volume("shop", "web", "/anonymous"), False, False, None),
        ("volume", "/named", "real", True, False, None),
        ("volume", "/other", unnamed_volume("shop", "web", "/other"), False, False, None),
        ("bind", "/here", str(tmp_path), False, False, None),
        ("tmpfs", "/t", "", False, False, ("/t", 64 << 20, 0o700, False, 0, 0, 0)),
        ("tmpfs", "/run", "", False, False, ("/run", 1 << 20, 0o755, True, 7, 8, 0)),
        ("tmpfs", "/tmp", "", False, False, ("/tmp", 0, 0o1777, False, 0, 0, 5)),
    )
    project = load(str(tmp_path), {}, name="shop")
    unnamed = [unnamed_volume("shop", "web", path) for path in ("/anonymous", "/other")]
    assert project.volumes == ("shop_data", "real", *unnamed)
    assert project.external_volumes == ("theirs",)


def test_of_two_mounts_at_one_place_the_last_is_there(tmp_path: Path) -> None:
    found = service(tmp_path, "volumes: [/a, './x:/b', './y:/a/', './z:/c'], tmpfs: [/t, '/t:size=1m']")
    assert [(one.target, one.source.removeprefix(f"{tmp_path}/")) for one in found.mounts] == [
        *[("/a", "y"), ("/b", "x"), ("/c", "z"), ("/t", "")]
    ]
    assert found.mounts[-1].tmpfs is not None
    assert found.mounts[-1].tmpfs.size == 1 << 20
    project = load(str(tmp_path), {})
    assert project.volumes == ()  # the unnamed one is not there
    assert [f"{one.at}: {one.message} ({one.hint})" for one in project.remarks] == [
        "compose.yaml:2:43: two mounts are at `/a`, and this one is taken (leave out the one at compose.yaml:2:29)",
        "compose.yaml:2:77: two mounts are at `/t`, and this one is taken (leave out the one at compose.yaml:2:73)",
    ]


def test_secrets_and_configs(tmp_path: Path) -> None:
    keys = """secrets: [token, {source: token, target: other, mode: 0440, uid: '5'}, {source: password, target: /p}],
      configs: [nginx, {source: inline, target: /etc/inline}]"""
    rest = """secrets: {token: {file: ./token}, password: {environment: PASSWORD}}
configs: {nginx: {file: nginx.conf}, inline: {content: 'port = ${PORT:-80}'}}"""
    found = service(tmp_path, keys, rest, {"PASSWORD": "hush"})
    assert plain(found.files) == (
        ("/run/secrets/token", f"{tmp_path}/token", "", "", None),
        ("/run/secrets/other", f"{tmp_path}/token", "", "", (5, 0, 0o440)),
        ("/p", "", "hush", "", None),
        ("/nginx", f"{tmp_path}/nginx.conf", "", "", None),
        ("/etc/inline", "", "port = 80", "", None),
    )
    found = service(tmp_path, keys, rest)
    assert [one.missing for one in found.files] == ["", "", "PASSWORD", "", ""]


def test_builds(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        """
services:
  short: {build: ./app}
  git: {build: 'https://example.com/x.git#main'}
  inline: {build: {dockerfile_inline: "FROM scratch\\n"}}
  ours: {image: 'shop:dev', build: {context: ., dockerfile: Buildfile.py, target: web}}
  long:
    platform: linux/amd64
    build:
      context: app
      dockerfile: ../Dockerfile.dev
      target: dev
      args: [A=1, HERE, GONE]
      additional_contexts: {lib: ../lib, base: 'docker-image://alpine'}
      cache_from: ['type=local,src=cache']
      labels: {a: b}
      extra_hosts: ['a=10.0.0.1']
      secrets: [token, {source: password, target: pw}]
      ssh: [default]
      tags: ['shop:1']
      network: none
      no_cache: true
      pull: 'true'
secrets: {token: {file: token}, password: {environment: PASSWORD}}
"""
    )
    project = load(str(tmp_path), {"HERE": "there", "PASSWORD": "hush"})
    builds = {one.name: one.build for one in project.services}
    assert all(builds.values())
    assert builds["short"].context == f"{tmp_path}/app"
    assert builds["git"].context == "https://example.com/x.git#main"
    assert (builds["inline"].context, builds["inline"].inline) == (str(tmp_path), "FROM scratch\n")
    assert (builds["ours"].dockerfile, builds["ours"].target) == ("Buildfile.py", "web")
    long = builds["long"]
    assert (long.context, long.dockerfile, long.target) == (f"{tmp_path}/app", "../Dockerfile.dev", "dev")
    assert long.args == (("A", "1"), ("HERE", "there"))
    assert long.contexts == (("lib", str(tmp_path.parent / "lib")), ("base", "docker-image://alpine"))
    assert plain(long.secrets) == (("token", f"{tmp_path}/token", "", ""), ("pw", "", "hush", ""))
    assert (long.labels, long.hosts, long.ssh, long.tags) == (
        (("a", "b"),),
        (("a", "10.0.0.1"),),
        ("default",),
        ("shop:1",),
    )
    assert (long.network, long.no_cache, long.pull, long.platform) == ("none", True, True, "linux/amd64")


def test_env_files(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=1\nB=${A}2\nC=file\n")
    (tmp_path / "raw.env").write_text("D='$A'\n")
    keys = """env_file: [a.env, {path: none.env, required: false}, {path: raw.env, format: raw}],
      environment: {C: own}"""
    assert service(tmp_path, keys).environment == (("A", "1"), ("B", "12"), ("C", "own"), ("D", "'$A'"))
    assert service(tmp_path, "env_file: a.env").environment == (("A", "1"), ("B", "12"), ("C", "file"))


def test_a_platform_is_that_of_this_machine(tmp_path: Path) -> None:
    here = local()
    assert service(tmp_path, f"platform: {here}").image == "x"
    other = "linux/s390x" if here.architecture != "s390x" else "linux/arm64"
    with pytest.raises(ComposeError) as found:
        service(tmp_path, f"platform: {other}")
    assert str(found.value) == (f"compose.yaml:2:29: `platform: {other}` is not that of this machine, {here}")


def test_a_driver_of_a_variable_that_is_not_set_is_the_usual_one(tmp_path: Path) -> None:
    rest = "volumes: {data: {driver: $UNSET}}\nnetworks: {front: {driver: $UNSET}}"
    found = service(tmp_path, "networks: [front], volumes: ['data:/data']", rest)
    assert (plain(found.networks), found.mounts[0].source) == ((("front", ()),), "shop_data")


def test_an_external_network_that_no_service_is_on_is_no_error(tmp_path: Path) -> None:
    found = service(tmp_path, "hostname: h", "networks: {proxy: {external: true}}")
    assert plain(found.networks) == (("default", ()),)


def test_networks_that_are_one(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        """
services:
  proxy: {image: x, networks: [front]}
  web: {image: x, networks: [front, back]}
  db: {image: x, networks: [back]}
  alone: {image: x, networks: [apart]}
  none: {image: x, network_mode: none}
  usual: {image: x}
networks: {front: , back: , apart: }
"""
    )
    assert sorted(load(str(tmp_path), {}).networks) == [("apart",), ("back", "front"), ("default",)]


def test_what_has_no_use_is_said(tmp_path: Path) -> None:
    service(tmp_path, "develop: {watch: []}, hostname: $NOT_SET")
    remarks = load(str(tmp_path), {}).remarks
    assert [str(one.at) for one in remarks] == ["compose.yaml:2:51", "compose.yaml:2:19"]
    assert [one.message for one in remarks] == [
        "the variable `NOT_SET` is not set, and stands for nothing",
        "`develop` of `web` is not used",
    ]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("logging: {driver: syslog, options: {max-size: 1m}}", "compose.yaml:2:19: `logging` of `web` is not used"),
        (
            "network_mode: host, ports: ['80:80']",
            "compose.yaml:2:39: `ports` of `web` are not published: it has `network_mode: host`",
        ),
        (
            "network_mode: none, ports: ['80:80']",
            "compose.yaml:2:39: `ports` of `web` are not published: it has `network_mode: none`",
        ),
        ("network_mode: bridge, ports: ['80:80']", ""),
        ("command: a && b", "compose.yaml:2:28: no shell reads the `&` in `command` of `web`"),
        ("entrypoint: a >b", "compose.yaml:2:31: no shell reads the `>` in `entrypoint` of `web`"),
        ('command: "sh -c \'a; b\' \\\\; \\"<\\""', ""),
        ("command: [a, '&&', b]", ""),
    ],
)
def test_what_has_no_effect_is_said_and_no_error(keys: str, said: str, tmp_path: Path) -> None:
    found = service(tmp_path, keys)
    assert "\n".join([f"{one.at}: {one.message}" for one in load(str(tmp_path), {}).remarks]) == said
    assert bool(found.ports) == ("bridge" in keys)
