"""What a build makes holds no value of its secrets: a leak fails the build, and leaves nothing; a log is masked."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from tests.behaviour.world import World

TOKEN = "tok-5ecr3t/V4lue+for=Tests"
LEAKED = 10
MOUNT = "RUN --mount=type=secret,id=token,env=TOKEN"
ENCODED = base64.b64encode(TOKEN.encode()).decode()


@pytest.fixture
def project(world: World, base_layout: Path) -> World:
    world.write({"secret/token": TOKEN + "\n", ".dockerignore": "secret\nout\n"})
    world.env["BASE"] = str(base_layout)
    return world


def build(
    project: World, dockerfile: str, *options: str, code: int = 0, secret: str = "id=token,src=secret/token"
) -> subprocess.CompletedProcess[str]:
    """Build with the secret given."""
    project.write({"Dockerfile": "FROM busybox AS base\n" + dockerfile})
    base = ("--build-context", f"busybox=oci-layout://{project.env['BASE']}")
    done = project.build(*base, "--secret", secret, *options, ok=False)
    assert done.returncode == code, done.stderr
    return done


def holds(store: Path, *texts: str) -> list[str]:
    """The files of a store that hold one of these texts, names included."""
    found = []
    for path in store.rglob("*"):
        data = str(path).encode() + (path.read_bytes() if path.is_file() and not path.is_symlink() else b"")
        if any(text.encode() in data for text in texts):
            found.append(str(path))
    return found


WRITTEN = {
    "as it is": ('echo "$TOKEN" > /etc/conf', "`/etc/conf`, which this step writes"),
    "in base64": ('echo "user:$TOKEN" | base64 > /b', "`/b`, which this step writes, in base64"),
    "in hex": ('printf "%s" "$TOKEN" | xxd -p | tr -d "\\n" > /h', "`/h`, which this step writes, in hex"),
    "in a name": ('touch "/$(printf "%s" "$TOKEN" | tr / -)" ; mkdir "/a-$TOKEN" -p', "which this step writes"),
    "in a link": ('ln -s "$TOKEN" /link', "`/link`, which this step writes"),
    "at the end of a large file": (
        '(head -c 1048570 /dev/zero; printf "%s" "$TOKEN"; head -c 3000000 /dev/zero) > /large',
        "`/large`, which this step writes",
    ),
}


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.attack("H1")
def test_a_secret_in_a_layer_fails_the_build(project: World, form: str) -> None:
    command, place = WRITTEN[form]
    said = build(project, f"{MOUNT} {command}\n", code=LEAKED).stderr
    assert "Dockerfile:2:1" in said
    assert "the secret `token` is in" in said
    assert place in said
    assert "scan=false" in said
    assert TOKEN not in said
    assert holds(project.store, TOKEN, ENCODED) == []
    # Nothing is there of it: the step runs again, and fails again.
    build(project, f"{MOUNT} {command}\n", code=LEAKED)


def test_a_step_that_leaves_nothing_of_it_is_kept(project: World) -> None:
    text = f'{MOUNT} printf "%s" "$TOKEN" | wc -c > /count\n'
    assert project.ran(build(project, text)) != []
    assert project.ran(build(project, text)) == []
    assert holds(project.store, TOKEN, ENCODED) == []


@pytest.mark.parametrize("form", WRITTEN)
def test_nothing_is_kept_of_a_failed_step_that_wrote_one(project: World, form: str) -> None:
    command, place = WRITTEN[form]
    said = build(project, f"{MOUNT} {command}; exit 3\n", code=1).stderr
    assert "ended with exit code 3" in said
    assert "what the step left could not be kept: the secret `token` is in" in said
    assert place in said
    assert TOKEN not in said
    assert holds(project.store, TOKEN, ENCODED) == []
    assert json.loads(project.run("cache", "du", "--json").stdout)["failed"]["count"] == 0


def test_a_failed_step_that_wrote_none_is_kept(project: World) -> None:
    build(project, f'{MOUNT} printf "%s" "$TOKEN" | wc -c > /count; exit 3\n', code=1)
    assert json.loads(project.run("cache", "du", "--json").stdout)["failed"]["count"] == 1
    build(project, f'{MOUNT} echo "$TOKEN" > /leak; exit 3\n', "--no-secret-scan", code=1)
    assert holds(project.store / "failed", TOKEN) != []


def test_all_files_with_it_are_named(project: World) -> None:
    said = build(project, f'{MOUNT} for i in 1 2 3; do echo "$TOKEN" > /$i; done\n', code=LEAKED).stderr
    assert "is in `/1`" in said
    assert "also in `/2`" in said
    assert "also in `/3`" in said


def test_its_own_file_in_the_context_is_a_leak_when_it_is_copied(project: World) -> None:
    project.write({".dockerignore": "out\n"})
    # Nobody asks for the stage that takes it, so it is not known as a secret.
    build(project, f"{MOUNT} true\nFROM scratch\nCOPY . /all\n")
    text = f"{MOUNT} true\nCOPY . /all\n"
    said = build(project, text, code=LEAKED)
    assert "Dockerfile:3:1" in said.stderr
    assert "`/all/secret/token`, which this step writes" in said.stderr
    assert [path for path in holds(project.store, TOKEN) if "/scans/" in path] == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"{MOUNT} true\nRUN curl -H {TOKEN} example.org\n", "itself"),
        (f"{MOUNT} true\nCOPY <<EOF /x\n{TOKEN}\nEOF\n", "itself"),
        (f"{MOUNT} true\nENV T={TOKEN}\n", "the configuration of `base`"),
        (f"{MOUNT} true\nENV T={TOKEN}\nRUN true\n", "the variable `T` of `[3/3] RUN true`"),
        (f"{MOUNT} true\nLABEL T=x{ENCODED}\n", "configuration of `base`"),
        (f"{MOUNT} true\nENTRYPOINT ['{TOKEN}']\n", "configuration of `base`"),
    ],
)
def test_a_value_in_the_buildfile_fails_before_anything_runs(project: World, text: str, place: str) -> None:
    done = build(project, text, code=LEAKED)
    assert project.ran(done) == []
    assert place in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert holds(project.store / "builds", TOKEN, ENCODED) == []


def test_a_build_argument_is_no_secret(project: World) -> None:
    done = build(project, f"ARG T\n{MOUNT} true\n", f"--build-arg=T={TOKEN}", code=LEAKED)
    assert "the secret `token` is in the build argument `T`" in done.stderr


def test_a_label_of_the_command_line_is_looked_at(project: World) -> None:
    done = build(project, f"{MOUNT} true\n", f"--label=T={TOKEN}", code=LEAKED)
    assert "the secret `token` is in a label" in done.stderr


def test_a_text_that_decides_the_graph_is_looked_at(project: World) -> None:
    project.write(
        {
            "Buildfile.py": """from buildkit_py import Image, secret, target
@target
def app():
    base = Image("busybox")
    return base.run("echo " + base.run("echo x$T", mounts=[secret("token", env="T")]).stdout.value())
"""
        }
    )
    base = ("--build-context", f"busybox=oci-layout://{project.env['BASE']}")
    done = project.run("Buildfile.py", *base, "--secret", "id=token,src=secret/token", ok=False)
    assert done.returncode == LEAKED, done.stderr
    assert "printed for its file to take" in done.stderr
    assert TOKEN not in done.stderr
    assert holds(project.store, TOKEN, ENCODED) == []


@pytest.mark.attack("H3")
def test_logs_and_progress_are_masked(project: World) -> None:
    text = f"""{MOUNT} echo "say $TOKEN"; printf '%s' "$TOKEN" | cut -c 1-9 | tr -d '\\n'; sleep 0.3; \\
  printf '%s' "$TOKEN" | cut -c 10-; printf '%s' "$TOKEN" | base64 >&2
"""
    done = build(project, text)
    assert "say ***" in done.stderr
    assert TOKEN not in done.stderr
    assert ENCODED not in done.stderr
    assert "the secret `token` was printed by this step" in done.stderr
    logs = project.run("logs").stdout
    assert "say ***\n\n***\n***" in logs  # the variable has the newline of the file
    assert holds(project.store, TOKEN, ENCODED) == []


def test_what_a_failed_step_printed_is_masked(project: World) -> None:
    done = build(project, f'{MOUNT} echo "no $TOKEN"; exit 3\n', code=1)
    assert "no ***" in done.stderr
    assert TOKEN not in done.stderr
    done = build(project, f'{MOUNT} echo "no $TOKEN"; exit 3\n', "--progress=json", code=1)
    assert TOKEN not in done.stderr + done.stdout


def test_a_key_of_several_lines_is_masked_line_by_line(project: World) -> None:
    lines = [f"line-{number}-of-the-key" for number in range(4)]
    project.write({"secret/token": "-----BEGIN KEY-----\n" + "\n".join(lines) + "\n-----END KEY-----\n"})
    done = build(project, "RUN --mount=type=secret,id=token sed 's/^/> /' /run/secrets/token\n")
    assert done.stderr.count("> ***") == len(lines)
    assert "of-the-key" not in done.stderr


def test_one_secret_can_be_allowed(project: World) -> None:
    text = f'{MOUNT} echo "$TOKEN" | tee /kept\n'
    done = build(project, text, secret="id=token,src=secret/token,scan=false")
    assert TOKEN in done.stderr


def test_the_gate_can_be_left_open(project: World) -> None:
    text = f'{MOUNT} echo "$TOKEN" | tee /kept\n'
    assert TOKEN in build(project, text, "--no-secret-scan").stderr


def test_only_secrets_that_the_build_takes_are_looked_for(project: World) -> None:
    build(project, f"RUN echo {TOKEN} > /x\n")


def test_a_short_secret_is_not_looked_for_and_that_is_said(project: World) -> None:
    project.write({"secret/token": "12345\n"})
    done = build(project, f'{MOUNT} echo "$TOKEN" > /x\n')
    assert "the secret `token` has fewer than 6 bytes, and is not looked for" in done.stderr


def test_it_is_found_in_a_large_context_of_which_one_file_changed(project: World) -> None:
    project.write({f"src/{number}": f"{number}\n" for number in range(600)})
    text = f"{MOUNT} true\nCOPY src /src\n"
    build(project, text)
    project.write({"src/77": f"x{TOKEN}"})
    assert "`/src/77`, which this step writes" in build(project, text, code=LEAKED).stderr


def test_a_plan_refuses_what_the_build_would(project: World) -> None:
    plan = build(project, f"{MOUNT} echo {json.dumps(TOKEN)}\n", "--dry-run", code=LEAKED)
    assert "itself" in plan.stderr
