"""Several files, and what they make together: found, merged, extended, included; names, profiles, variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.errors import ComposeError, ContextError, UsageError
from buildkit_py.frontend.compose.load import load
from buildkit_py.frontend.compose.project import Project, Service
from tests.frontend.compose.test_load import plain


def write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        path = directory / name.replace("__", "/").replace("_yaml", ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def web(project: Project, name: str = "web") -> Service:
    found = project.service(name)
    assert found is not None
    return found


def merged(directory: Path, base: str, over: str) -> Service:
    """The service `web` of two files."""
    first = f"services: {{web: {{image: x, {base}}}, d: {{image: y}}}}"
    write(directory, a_yaml=first, b_yaml=f"services: {{web: {{{over}}}}}")
    return web(load(str(directory), {"HERE": "1"}, files=("a.yaml", "b.yaml"), name="shop"))


@pytest.mark.parametrize(
    ("base", "over", "field", "value"),
    [
        ("command: a", "command: b c", "command", ("b", "c")),
        ("command: [a]", "entrypoint: [b]", "command", ("a",)),
        ("entrypoint: [a]", "entrypoint: [b, c]", "entrypoint", ("b", "c")),
        ("environment: {A: 1, B: 2}", "environment: [B=3, C=4]", "environment", (("A", "1"), ("B", "3"), ("C", "4"))),
        ("environment: {HERE: x}", "environment: [HERE]", "environment", (("HERE", "1"),)),
        ("labels: [a=b]", "labels: {c: d}", "labels", (("a", "b"), ("c", "d"))),
        (
            "ports: ['80:80']",
            "ports: ['81:80', '80:80']",
            "ports",
            ((80, (80, 80), "", "tcp"), (80, (81, 81), "", "tcp")),
        ),
        (
            "ports: [{target: 80, published: 80, name: x}]",
            "ports: [{target: 80, published: '80', mode: host}]",
            "ports",
            ((80, (80, 80), "", "tcp"),),
        ),
        ("cap_add: [A]", "cap_add: [B]", "cap_add", ("A", "B")),
        ("expose: [1]", "expose: [2]", "expose", ("1", "2")),
        ("user: a", "hostname: b", "user", "a"),
        ("user: a", "user: b", "user", "b"),
        ("user: a", "user: ", "user", "a"),
        ("command: a", "command: ", "command", ()),
        ("entrypoint: [a]", "entrypoint: ", "entrypoint", None),
        ("environment: {A: 1}", "environment: ", "environment", (("A", "1"),)),
        ("environment: {HERE: x}", "environment: {HERE: }", "environment", (("HERE", "1"),)),
        ("ports: ['80:80']", "ports: !reset []", "ports", ()),
        ("ports: ['80:80']", "ports: !override ['81:81']", "ports", ((81, (81, 81), "", "tcp"),)),
        ("environment: {A: 1, B: 2}", "environment: {A: !reset null}", "environment", (("B", "2"),)),
        ("user: a", "user: !reset null", "user", ""),
        ("security_opt: [a]", "security_opt: [b]", "security_opt", ("a", "b")),
        ("extra_hosts: ['a:1.1.1.1']", "extra_hosts: {b: 2.2.2.2}", "hosts", (("a", "1.1.1.1"), ("b", "2.2.2.2"))),
        ("tmpfs: [/a, '/b:size=1m']", "tmpfs: ['/a:size=2m']", "mounts", None),
        ("networks: [default]", "networks: !override []", "networks", (("default", ()),)),
        (
            "depends_on: {d: {condition: service_healthy, required: false}}",
            "depends_on: [d]",
            "depends_on",
            (("d", "service_started", False, True),),
        ),
        ("networks: [default]", "networks: {default: {aliases: [x]}}", "networks", (("default", ("x",)),)),
    ],
)
def test_merging(base: str, over: str, field: str, value: object, tmp_path: Path) -> None:
    found = merged(tmp_path, base, over)
    if field == "mounts":
        assert [(one.target, one.tmpfs.size) for one in found.mounts if one.tmpfs] == [("/a", 2 << 20), ("/b", 1 << 20)]
    else:
        assert plain(getattr(found, field)) == value


def test_merging_mounts_by_their_targets(tmp_path: Path) -> None:
    found = merged(
        tmp_path,
        "volumes: [./a:/x/, ./b:/y, {type: bind, source: ./c, target: /z/.}], tmpfs: /t",
        "volumes: [./d:/x, {type: bind, target: /z, source: ./c, read_only: true}], tmpfs: [/u]",
    )
    assert [(one.target, one.source.removeprefix(f"{tmp_path}/"), one.read_only) for one in found.mounts] == [
        ("/x", "d", False),
        ("/y", "b", False),
        ("/z", "c", True),
        ("/t", "", False),
        ("/u", "", False),
    ]


def test_merging_a_health_check_and_a_build(tmp_path: Path) -> None:
    found = merged(
        tmp_path,
        "healthcheck: {test: [CMD, a], retries: 3}, build: ./app",
        "healthcheck: {test: b}, build: {target: dev, args: [A=1]}",
    )
    assert found.healthcheck is not None
    assert (found.healthcheck.test, found.healthcheck.retries) == (("CMD-SHELL", "b"), 3)
    assert found.build is not None
    assert (found.build.context, found.build.target, found.build.args) == (f"{tmp_path}/app", "dev", (("A", "1"),))


def test_merging_dependencies(tmp_path: Path) -> None:
    write(
        tmp_path,
        a_yaml="services: {web: {image: x, depends_on: [db]}, db: {image: x}, queue: {image: x}}",
        b_yaml="services: {web: {depends_on: {queue: {condition: service_healthy}}}}",
    )
    found = web(load(str(tmp_path), {}, files=("a.yaml", "b.yaml")))
    assert [(one.service, one.condition) for one in found.depends_on] == [
        ("db", "service_started"),
        ("queue", "service_healthy"),
    ]


def test_a_file_is_found_upward_with_its_override(tmp_path: Path) -> None:
    write(
        tmp_path,
        **{
            "docker-compose.yml": "services: {web: {image: other}}",
            "compose.yaml": "services: {web: {image: x}}",
            "compose.override.yaml": "services: {web: {user: me}}",
            "sub__deep__file": "",
        },
    )
    project = load(str(tmp_path / "sub" / "deep"), {})
    assert (web(project).image, web(project).user, project.directory) == ("x", "me", str(tmp_path))
    assert str(web(project).at) == "../../compose.override.yaml:1:12"
    alone = load(str(tmp_path / "sub" / "deep"), {}, files=("../../compose.yaml",))
    assert web(alone).user == ""
    assert web(load(str(tmp_path), {"COMPOSE_FILE": "docker-compose.yml:compose.override.yaml"})).image == "other"
    (tmp_path / "compose.yaml").unlink()
    assert web(load(str(tmp_path), {})).image == "other"


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match=r"there is no file `other\.yaml`"):
        load(str(tmp_path), {}, files=("other.yaml",))
    with pytest.raises(ContextError, match="there is no compose file here"):
        load("/proc/self", {})


def test_several_documents_in_a_file(tmp_path: Path) -> None:
    write(tmp_path, compose_yaml="services: {web: {image: x}}\n---\nservices: {web: {user: me}}\n---\n")
    found = web(load(str(tmp_path), {}))
    assert (found.image, found.user) == ("x", "me")


def test_extends(tmp_path: Path) -> None:
    write(
        tmp_path,
        compose_yaml="""
services:
  web:
    extends: {file: common/base.yaml, service: app}
    environment: {A: web}
    ports: ['81:81']
  worker: {extends: web, command: work, ports: !reset []}
""",
        common__base_yaml="""
services:
  app: {extends: root, build: ., environment: {B: app, A: app}, ports: ['80:80'], env_file: app.env}
  root: {user: me, volumes: ['./data:/data']}
""",
        **{"common__app.env": "C=file\n"},
    )
    project = load(str(tmp_path), {})
    found = web(project)
    assert (found.user, [one.target for one in found.ports]) == ("me", [80, 81])
    assert found.environment == (("C", "file"), ("B", "app"), ("A", "web"))
    assert found.build is not None
    # Paths are relative to the file that they stand in.
    assert found.build.context == f"{tmp_path}/common"
    assert found.mounts[0].source == f"{tmp_path}/common/data"
    worker = web(project, "worker")
    assert (worker.command, worker.ports, worker.user) == (("work",), (), "me")


@pytest.mark.parametrize("file", ["compose.yaml", "base.yaml"])
def test_a_long_row_of_extends(tmp_path: Path, file: str) -> None:
    services = [f"  s{n}: {{extends: s{n - 1}, hostname: h{n}}}" for n in range(1600, 0, -1)]
    text = "\n".join(["services:", *services, "  s0: {image: x, user: me}"])
    write(tmp_path, compose_yaml="services: {web: {extends: {file: base.yaml, service: s1600}}}")
    (tmp_path / file).write_text(text)
    found = web(load(str(tmp_path), {}), "s1600" if file == "compose.yaml" else "web")
    assert (found.image, found.user, found.hostname) == ("x", "me", "h1600")


def test_include(tmp_path: Path) -> None:
    write(
        tmp_path,
        compose_yaml="""
include: [db/compose.yaml, {path: [queue/q.yaml], project_directory: ., env_file: queue.env}]
services: {web: {image: x, depends_on: [db, queue]}}
""",
        db__compose_yaml="services: {db: {image: 'pg:${VERSION}', volumes: ['data:/d', './x:/x']}}\nvolumes: {data: }",
        **{
            "db__.env": "VERSION=17\n",
            "queue__q.yaml": "services: {queue: {image: 'q:${VERSION}', volumes: ['./y:/y']}}",
            "queue.env": "VERSION=4\n",
        },
    )
    project = load(str(tmp_path), {}, name="shop")
    assert [one.name for one in project.services] == ["db", "queue", "web"]
    db, queue = web(project, "db"), web(project, "queue")
    assert (db.image, queue.image) == ("pg:17", "q:4")
    assert [one.source for one in db.mounts] == ["shop_data", f"{tmp_path}/db/x"]
    assert queue.mounts[0].source == f"{tmp_path}/y"
    write(tmp_path, db__compose_yaml="services: {web: {image: other}}")
    with pytest.raises(ComposeError, match=r"compose\.yaml:3:12: `services.web` is in a file that is included here"):
        load(str(tmp_path), {})
    write(tmp_path, db__compose_yaml="include: [../compose.yaml]\nservices: {db: {image: y}}")
    with pytest.raises(ComposeError, match=r"files include each other: compose\.yaml includes db/compose\.yaml incl"):
        load(str(tmp_path), {})


def test_what_is_included_has_its_own_variables(tmp_path: Path) -> None:
    write(
        tmp_path,
        compose_yaml="include: [db/compose.yaml]\nservices: {web: {image: x, environment: [V]}}",
        db__compose_yaml="""
services: {db: {build: {args: [V]}, environment: [V], env_file: own.env, secrets: [s]}}
secrets: {s: {environment: V}}
""",
        **{"db__.env": "V=theirs\n", "db__own.env": "W=$V\n", ".env": "V=ours\n"},
    )
    project = load(str(tmp_path), {})
    db = web(project, "db")
    assert db.build is not None
    assert (db.build.context, db.build.args) == (f"{tmp_path}/db", (("V", "ours"),))
    (tmp_path / ".env").unlink()
    project = load(str(tmp_path), {})
    db = web(project, "db")
    assert db.build is not None
    assert db.build.args == (("V", "theirs"),)
    assert db.environment == (("W", "theirs"), ("V", "theirs"))
    assert db.files[0].data == "theirs"
    assert web(project).environment == ()


def test_a_build_of_another_file_is_there(tmp_path: Path) -> None:
    write(
        tmp_path,
        compose_yaml="services: {web: {extends: {file: other/base.yaml, service: base}, build: {target: t}}}",
        other__base_yaml="services: {base: {build: {dockerfile: D}}}",
    )
    found = web(load(str(tmp_path), {})).build
    assert found is not None
    assert (found.context, found.dockerfile, found.target) == (f"{tmp_path}/other", "D", "t")


def test_the_project_s_name(tmp_path: Path) -> None:
    directory = tmp_path / "_My App.2"
    directory.mkdir()
    write(directory, compose_yaml="services: {web: {image: 'x:${COMPOSE_PROJECT_NAME}'}}")
    assert load(str(directory), {}).name == "myapp2"
    assert web(load(str(directory), {})).image == "x:myapp2"
    write(directory, compose_yaml="name: ${N:-mine}\nservices: {web: {image: x}}")
    assert load(str(directory), {}).name == "mine"
    write(directory, compose_yaml="name: mine\nservices: {web: {image: 'x:${COMPOSE_PROJECT_NAME}'}}")
    assert web(load(str(directory), {})).image == "x:mine"
    write(directory, compose_yaml="name: ${N:-mine}\nservices: {web: {image: x}}")
    assert load(str(directory), {"N": "n"}).name == "n"
    assert load(str(directory), {"N": "My_App.X"}).name == "my_appx"
    write(directory, compose_yaml="name: ${N}\nservices: {web: {image: x}}")
    assert load(str(directory), {}).name == "myapp2"
    assert load(str(directory), {"COMPOSE_PROJECT_NAME": "env"}).name == "env"
    (directory / ".env").write_text("COMPOSE_PROJECT_NAME=dot\n")
    assert load(str(directory), {}).name == "dot"
    assert load(str(directory), {}, name="given").name == "given"
    with pytest.raises(UsageError, match="`Given` is no name of a project"):
        load(str(directory), {}, name="Given")


def test_variables_of_the_environment_go_before_those_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, compose_yaml="services: {web: {image: '$A:$B', environment: [A, B, C]}}")
    (tmp_path / ".env").write_text("A=file\nB=file-$A\nexport C='c'\n")
    found = web(load(str(tmp_path), {"A": "env"}))
    assert found.image == "env:file-env"
    assert found.environment == (("A", "env"), ("B", "file-env"), ("C", "c"))
    (tmp_path / "other.env").write_text("A=other\n")
    assert web(load(str(tmp_path), {}, env_files=("other.env",))).image == "other:"
    with pytest.raises(UsageError, match=r"there is no file `gone\.env`"):
        load(str(tmp_path), {}, env_files=("gone.env",))


def test_profiles(tmp_path: Path) -> None:
    write(
        tmp_path,
        compose_yaml="""
services:
  web: {image: x}
  debug: {image: x, profiles: [dev, test], depends_on: [web]}
  tools: {image: x, profiles: [tools]}
  usual: {image: x, profiles: ["", dev]}
""",
    )

    def names(**given: object) -> list[str]:
        return [one.name for one in load(str(tmp_path), **{"env": {}, **given}).services]  # type: ignore[arg-type]

    assert names() == ["web", "usual"]
    assert names(profiles=("dev",)) == ["web", "debug", "usual"]
    assert names(profiles=("*",)) == ["web", "debug", "tools", "usual"]
    assert names(env={"COMPOSE_PROFILES": "test,tools"}) == ["web", "debug", "tools"]
    assert names(wanted=("tools",)) == ["web", "tools", "usual"]
    assert [one.name for one in load(str(tmp_path), {}).disabled] == ["debug", "tools"]
    with pytest.raises(UsageError, match="there is no service `wbe`") as found:
        names(wanted=("wbe",))
    assert found.value.hint == "did you mean `web`?"


def test_services_come_behind_what_they_depend_on(tmp_path: Path) -> None:
    services = ", ".join(f"s{n}: {{image: x, depends_on: [s{n + 1}]}}" for n in range(1500))
    write(tmp_path, compose_yaml=f"services: {{{services}, s1500: {{image: x}}}}")
    names = [one.name for one in load(str(tmp_path), {}).services]
    assert names == [f"s{n}" for n in range(1500, -1, -1)]


def test_a_context_is_relative_to_the_file_that_says_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        sub__base_yaml="services: {base: {build: {context: ., additional_contexts: {c: ./x}}}}",
        compose_yaml="services: {web: {extends: {file: sub/base.yaml, service: base}, "
        "build: {labels: {a: b}, additional_contexts: [d=./y]}}}",
    )
    build = web(load(str(tmp_path), {}, name="shop")).build
    assert build is not None
    assert build.context == f"{tmp_path}/sub"
    assert dict(build.contexts) == {"c": f"{tmp_path}/sub/x", "d": f"{tmp_path}/y"}


def test_keys_of_ssh_and_secrets_are_relative_to_the_file_that_says_them(tmp_path: Path) -> None:
    ssh = "{mine: ./a, two: 'b,/c'}"
    write(
        tmp_path,
        sub__base_yaml=f"services: {{base: {{build: {{context: ., ssh: {ssh}}}}}}}",
        inc__inc_yaml="services: {db: {build: {context: ., ssh: [k=key, default], secrets: [s]}, secrets: [s]}}\n"
        "secrets: {s: {file: ./s}}",
        compose_yaml="include: [inc/inc.yaml]\n"
        "services: {web: {extends: {file: sub/base.yaml, service: base}, build: {ssh: {own: ./o, default: }}}}",
    )
    project = load(str(tmp_path), {}, name="shop")
    build, included = web(project).build, web(project, "db").build
    assert build is not None
    assert included is not None
    assert build.ssh == (f"mine={tmp_path}/sub/a", f"two={tmp_path}/sub/b,/c", f"own={tmp_path}/o", "default")
    assert included.ssh == (f"k={tmp_path}/inc/key", "default")
    assert [one.file for one in included.secrets] == [f"{tmp_path}/inc/s"]
    assert [one.source for one in web(project, "db").files] == [f"{tmp_path}/inc/s"]


def test_a_context_that_is_another_service_is_refused_at_its_place(tmp_path: Path) -> None:
    write(tmp_path, compose_yaml="services:\n  web:\n    build:\n      additional_contexts:\n        c: service:two\n")
    with pytest.raises(ComposeError, match="what another service is built as") as caught:
        load(str(tmp_path), {}, name="shop")
    assert str(caught.value.at).startswith("compose.yaml:5:")


def test_what_is_included_can_be_overridden(tmp_path: Path) -> None:
    write(
        tmp_path,
        sub__inc_yaml="services: {db: {image: x, command: one, user: me}}",
        compose_yaml="include: [sub/inc.yaml]\nservices: {web: {image: x, depends_on: [db]}}",
        compose_override_yaml="services: {db: {command: two}}",
    )
    (tmp_path / "compose_override.yaml").rename(tmp_path / "compose.override.yaml")
    found = web(load(str(tmp_path), {}, name="shop"), "db")
    assert (found.command, found.user) == (("two",), "me")


def test_files_with_variables_that_are_named_have_to_be_there(tmp_path: Path) -> None:
    write(
        tmp_path,
        inc_yaml="services: {web: {image: x}}",
        base_yaml="services: {base: {image: x}}",
        compose_yaml="include: [{path: inc.yaml, x-a: 1}]\n"
        "services: {d: {extends: {file: base.yaml, service: base, x-a: 1}}}",
    )
    assert web(load(str(tmp_path), {}, name="shop"), "d").image == "x"
    write(tmp_path, compose_yaml="include: [{path: inc.yaml, env_file: tyop.env}]")
    with pytest.raises(ContextError, match=r"there is no file `tyop\.env`"):
        load(str(tmp_path), {}, name="shop")
