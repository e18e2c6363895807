"""`pybuild why` and `pybuild plan`: each kind of change is named, before and after the build."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.world import World
from tests.web_server import web_server

DOCKERFILE = """\
FROM busybox AS build
ARG LEVEL=1
WORKDIR /src
COPY src .
RUN cat a.txt > /made; echo $LEVEL >> /made
FROM busybox
COPY --from=build /made /made
ENV MODE=fast
RUN test -s /made
"""


@pytest.fixture
def project(world: World, base_layout: Path) -> World:
    world.write({"Dockerfile": DOCKERFILE, "src/a.txt": "a\n", "src/sub/b.txt": "b\n"})
    return world


def build(world: World, layout: Path, *argv: str, ok: bool = True) -> None:
    world.build("--build-context", f"busybox=oci-layout://{layout}", *argv, ok=ok)


def bare(name: str) -> str:
    return name.partition("] ")[2]


def plan(world: World, layout: Path, *argv: str) -> dict[str, dict[str, Any]]:
    """The steps of the plan by their text."""
    context = ("--build-context", f"busybox=oci-layout://{layout}")
    steps = json.loads(world.run("plan", "--json", *context, *argv, ".").stdout)
    return {bare(step["name"]): step for step in steps}


def why(world: World, *argv: str) -> dict[str, list[str]]:
    """The reasons by the text of the step."""
    answer = json.loads(world.run("why", "--json", *argv).stdout)
    return {bare(one["name"]): [cause["text"] for cause in one["why"]] for one in answer["ran"]}


def edit(old: str, new: str) -> Callable[[World], None]:
    def change(world: World) -> None:
        path = world.project / "Dockerfile"
        path.write_text(path.read_text().replace(old, new))

    return change


def write(path: str, content: str) -> Callable[[World], None]:
    return lambda world: world.write({path: content})


COPY, CAT, TEST = "COPY src .", "RUN cat a.txt > /made; echo $LEVEL >> /made", "RUN test -s /made"


@pytest.mark.parametrize(
    ("change", "step", "told"),
    [
        (write("src/a.txt", "other\n"), COPY, "a.txt changed"),
        (write("src/new.txt", ""), COPY, "new.txt is new"),
        (lambda world: os.remove(world.project / "src/sub/b.txt"), COPY, "sub/b.txt is gone"),
        (lambda world: os.chmod(world.project / "src/a.txt", 0o600), COPY, "a.txt has another mode: 644 → 600"),
        (lambda world: os.chmod(world.project / "src/sub", 0o700), COPY, "sub has another mode: 755 → 700"),
        (edit("-s /made", "-f /made"), "RUN test -f /made", "the command: test [--s-] {+-f+} /made"),
        (edit("MODE=fast", "MODE=slow"), TEST, "the variable MODE: `fast` → `slow`"),
        (edit("LEVEL=1", "LEVEL=2"), CAT, "the variable LEVEL: `1` → `2`"),
        (edit("RUN test", "USER 1\nRUN test"), TEST, "the user: `` → `1`"),
        (edit("COPY src .", "COPY --chmod=700 src ."), "COPY --chmod=700 src .", "the mode to set: `` → `700`"),
    ],
)
def test_a_change_is_named(
    project: World, base_layout: Path, change: Callable[[World], None], step: str, told: str
) -> None:
    build(project, base_layout)
    change(project)
    planned = plan(project, base_layout)[step]
    assert planned["verdict"] == "RUN"
    assert told in " ".join(planned["why"])
    assert planned["last_seconds"] is not None
    build(project, base_layout)
    assert told in " ".join(why(project)[step])


def test_what_stands_on_a_change_says_so(project: World, base_layout: Path) -> None:
    build(project, base_layout)
    project.write({"src/a.txt": "other\n"})
    planned = plan(project, base_layout)
    assert planned[COPY]["files"] == ["a.txt"] or planned[COPY]["files"] == ["src/a.txt"]
    assert planned[CAT]["verdict"] == "UNKNOWN"
    assert planned[CAT]["files"] == planned[COPY]["files"], "it hangs on the same file"
    assert planned[CAT]["waits_for"] == [planned[COPY]["step"]]
    build(project, base_layout)
    assert "COPY src .`, which gave other files" in why(project)[CAT][0]


def test_a_first_build_and_a_build_with_nothing_to_do(project: World, base_layout: Path) -> None:
    planned = plan(project, base_layout)
    assert {step["verdict"] for step in planned.values()} == {"CACHED", "RUN", "UNKNOWN"}
    assert planned[COPY]["why"] == ["it was never built here"]
    build(project, base_layout)
    assert {text for told in why(project).values() for text in told} == {"it was never built here"}
    assert {step["verdict"] for step in plan(project, base_layout).values()} == {"CACHED"}


def test_a_moved_base_image(project: World, base_layout: Path, tmp_path: Path) -> None:
    layout = project.top / "layout"
    shutil.copytree(base_layout, layout)
    build(project, layout)
    index = json.loads((layout / "index.json").read_text())
    blob = layout / "blobs/sha256" / index["manifests"][0]["digest"].partition(":")[2]
    manifest = json.loads(blob.read_text())
    manifest["annotations"] = {"moved": "yes"}
    import hashlib

    data = json.dumps(manifest).encode()
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(data)
    index["manifests"][0].update(digest=f"sha256:{digest}", size=len(data))
    (layout / "index.json").write_text(json.dumps(index))
    # The same layers: nothing has to run, which is what content keys are for.
    assert {step["verdict"] for step in plan(project, layout).values()} <= {"CACHED", "RUN", "UNKNOWN"}
    build(project, layout)
    assert why(project) == {}


def test_a_step_that_gave_the_same_is_not_blamed(world: World, base_layout: Path) -> None:
    text = "FROM busybox\nCOPY a /a\nRUN true\nRUN cat /a | wc -c > /n\nRUN echo x > /x\n"
    world.write({"Dockerfile": text, "a": "1"})
    build(world, base_layout)
    world.write({"a": "2"})
    build(world, base_layout)
    told = why(world)
    blamed = "it stands on `[2/5] COPY a /a`, which gave other files"
    assert told["RUN echo x > /x"] == told["RUN cat /a | wc -c > /n"] == told["RUN true"] == [blamed]


def test_a_copy_that_was_never_run_so_tells_which_files_changed(world: World, base_layout: Path) -> None:
    world.write({"Dockerfile": "FROM busybox\nCOPY s /one\n", "s/a": "1", "s/b": "2"})
    build(world, base_layout)
    world.write({"Dockerfile": "FROM busybox\nCOPY s /two\n", "s/a": "other"})
    wanted = ["s/a changed", "the destination: `/one` → `/two`"]
    assert plan(world, base_layout)["COPY s /two"]["why"] == wanted
    build(world, base_layout)
    assert why(world)["COPY s /two"] == wanted


def test_a_mode_that_the_copy_sets_is_none_of_the_file(world: World, base_layout: Path) -> None:
    world.write({"Dockerfile": "FROM busybox\nCOPY a /\n", "a": "1"})
    build(world, base_layout)
    world.write({"Dockerfile": "FROM busybox\nCOPY --chmod=700 a /\n"})
    build(world, base_layout)
    assert why(world)["COPY --chmod=700 a /"] == ["the mode to set: `` → `700`"]


def test_a_file_that_became_a_link_is_not_gone(world: World, base_layout: Path) -> None:
    world.write({"Dockerfile": "FROM busybox\nCOPY s/a s/b /y/\n", "s/a": "1", "s/b": "2"})
    build(world, base_layout)
    (world.project / "s/a").unlink()
    (world.project / "s/a").symlink_to("b")
    assert plan(world, base_layout)["COPY s/a s/b /y/"]["why"] == ["s/a changed"]


def test_only_who_was_asked_not_to_use_the_cache_says_so(world: World, base_layout: Path) -> None:
    text = "FROM busybox AS a\nRUN --ttl=1s date +%s > /d\nFROM busybox\nCOPY --from=a /d /d\nRUN cat /d\n"
    world.write({"Dockerfile": text})
    build(world, base_layout)
    planned = plan(world, base_layout, "--no-cache-filter=a")
    assert [(one["verdict"], one["why"]) for name, one in planned.items() if "ttl" in name] == [
        ("RUN", ["asked not to use the cache"])
    ]
    for name in ("COPY --from=a /d /d", "RUN cat /d"):
        assert planned[name]["verdict"] == "UNKNOWN"
        assert "asked" not in " ".join(planned[name]["why"])
    time.sleep(1.1)
    build(world, base_layout)
    told = why(world)
    assert told.pop("RUN --ttl=1s date +%s > /d")[0] == "has no result that is young enough"
    assert told["COPY --from=a /d /d"] == ["it stands on `[a 2/2] RUN --ttl=1s date +%s > /d`, which gave other files"]
    assert "asked" not in str(told)


def test_a_plan_does_not_know_what_only_a_build_compares(world: World, base_layout: Path) -> None:
    text = (
        "FROM busybox AS a\nRUN echo 1 > /x\nARG N\nRUN echo $N > /n\nFROM busybox\nCOPY --from=a /x /y\nRUN cat /y\n"
    )
    world.write({"Dockerfile": text})
    build(world, base_layout, "--build-arg=N=1")
    build(world, base_layout, "--build-arg=N=2", "--target=a")
    planned = plan(world, base_layout, "--build-arg=N=2")
    assert {one["verdict"] for one in planned.values()} == {"CACHED", "UNKNOWN"}
    done = world.build("--build-context", f"busybox=oci-layout://{base_layout}", "--build-arg=N=2")
    assert world.ran(done) == []


def test_a_plan_finds_what_a_build_finds(world: World, base_layout: Path) -> None:
    """Also a step whose definition is new, and that takes what one took that is there."""
    text = f"""FROM oci-layout://{base_layout} AS s0
ARG B
RUN touch -d '2001-01-01 00:00:00' /x
FROM s0
COPY v /v
COPY v /w
"""
    world.write({"Dockerfile": text, "v": "v"})
    world.build("--build-arg", "B=1")
    world.build("--build-arg", "B=2", "--target", "s0")
    planned = json.loads(world.run("plan", "--json", "--build-arg", "B=2", ".").stdout)
    assert [step["verdict"] for step in planned] == ["CACHED"] * len(planned)
    assert world.ran(world.build("--build-arg", "B=2")) == []
    # Nothing was filed by looking: another build comes to the same again.
    assert json.loads(world.run("plan", "--json", "--build-arg", "B=2", ".").stdout) == planned


def test_a_plan_of_what_its_server_is_asked_for(world: World, base_layout: Path) -> None:
    with web_server() as web:
        web.pages["/file"] = b"one"
        world.write({"Dockerfile": f"FROM busybox\nADD {web.url}/file /\n"})
        build(world, base_layout)
        (planned,) = [one for one in plan(world, base_layout).values() if one["verdict"] != "CACHED" and one["why"]][:1]
        assert (planned["verdict"], planned["why"]) == ("RUN", ["its server is asked at each build"])


def test_no_cache_and_a_removed_result(project: World, base_layout: Path) -> None:
    build(project, base_layout)
    build(project, base_layout, "--no-cache")
    assert {text for told in why(project).values() for text in told} == {"asked not to use the cache"}
    first = json.loads(project.run("builds", "--json").stdout)[1]["id"]
    assert why(project, "--build", first)[COPY] == ["it was never built here"]


def test_a_result_that_was_removed(project: World, base_layout: Path) -> None:
    build(project, base_layout)
    for path in (project.store / "records").rglob("*"):
        if path.is_file():
            path.unlink()
    edit("-s /made", "-f /made")(project)
    assert "was removed" in plan(project, base_layout)[COPY]["why"][0]
    build(project, base_layout)
    assert "was removed" in why(project)[COPY][0]


def test_a_failed_step_is_explained_too(project: World, base_layout: Path) -> None:
    build(project, base_layout)
    edit("-s /made", "-s /nothing")(project)
    build(project, base_layout, ok=False)
    assert why(project) == {"RUN test -s /nothing": ["the command: test -s [-/made-] {+/nothing+}"]}
    build(project, base_layout, ok=False)
    assert json.loads(project.run("builds", "--json").stdout)[0]["state"] == "failed"


def test_secrets_never_appear(project: World, base_layout: Path) -> None:
    project.write({"key": "hunter2"})
    step = 'RUN --mount=type=secret,id=key,env=KEY test -n "$KEY"'
    edit("RUN test -s /made", step)(project)
    build(project, base_layout, "--secret", "id=key,src=key")
    project.write({"key": "correct horse"})
    edit("MODE=fast", "MODE=slow")(project)
    build(project, base_layout, "--secret", "id=key,src=key")
    for command in (("why",), ("builds", "--json"), ("why", "--json")):
        said = project.run(*command).stdout
        assert "hunter2" not in said
        assert "correct horse" not in said
    for path in (project.store / "builds").rglob("*"):
        if path.is_file():
            assert b"hunter2" not in path.read_bytes()
            assert b"correct horse" not in path.read_bytes()


def test_two_machines_are_compared(project: World, base_layout: Path) -> None:
    build(project, base_layout)
    other = project.top / "other-store"
    shutil.copytree(project.store, other, symlinks=True)
    shutil.rmtree(project.store)
    project.write({"src/a.txt": "other\n"})
    build(project, base_layout)
    assert why(project)[COPY] == ["it was never built here"]
    if project.mode == "user":
        for path in (other, *other.rglob("*")):
            os.chown(path, project.project.stat().st_uid, project.project.stat().st_gid, follow_symlinks=False)
    assert "a.txt changed" in why(project, "--against", str(other))[COPY][0]


def test_a_step_can_be_asked_for(project: World, base_layout: Path) -> None:
    build(project, base_layout)
    project.write({"src/a.txt": "other\n"})
    build(project, base_layout)
    assert list(why(project, "@cat a.txt")) == [CAT]
    assert why(project, "@WORKDIR") == {"WORKDIR /src": ["it was there already"]}
    text = project.run("why", "Dockerfile:@COPY src").stdout
    assert "a.txt changed" in text
    assert "Dockerfile:4:1" in text


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("why", "nothing"), "the target `nothing` of `Dockerfile` was never built here"),
        (("why", "--build", "x"), "nothing is known of a build `x`"),
        (("why", "--build", "../x"), "nothing is known of a build `../x`"),
        (("why", "@no such step"), "is `no such step`"),
        (("why", "@/made"), "is in the text of several steps"),
        (("why", "--against", "src"), "`src` is no store of pybuild"),
        (("logs", "x"), "nothing is known of a build `x`"),
    ],
)
def test_what_is_not_known_is_said(project: World, base_layout: Path, argv: tuple[str, ...], said: str) -> None:
    build(project, base_layout)
    done = project.run(*argv, ok=False)
    assert done.returncode == 2
    assert said in done.stderr


def test_logs_of_a_build_and_of_a_step(project: World, base_layout: Path) -> None:
    edit("RUN test -s /made", "RUN echo hello; printf '\\033[31mred\\n'")(project)
    build(project, base_layout)
    assert "hello" in project.run("logs").stdout
    assert "\\x1b[31mred" in project.run("logs").stdout
    (id,) = [one["id"] for one in json.loads(project.run("builds", "--json").stdout)]
    assert project.run("logs", "--raw", id, "echo hello").stdout == "hello\n\x1b[31mred\n"
    assert "COPY src ." in project.run("logs", "--list").stdout
    assert id in project.run("builds").stdout


def test_a_plan_runs_nothing_and_leaves_no_build(project: World, base_layout: Path) -> None:
    plan(project, base_layout)
    assert json.loads(project.run("builds", "--json").stdout) == []
    assert not any((project.store / "builds").iterdir())


def test_a_step_that_gives_other_bytes_is_remembered(world: World, base_layout: Path) -> None:
    """Also by builds that come after, and whatever made it run again."""
    text = "cat /proc/sys/kernel/random/uuid | tee /a /b > /c; echo same > /same; ln -s $(cat /a) /d"
    world.write({"Dockerfile": f"FROM busybox\nRUN mkdir /steady\nRUN {text}\nRUN test -s /c\n"})
    build(world, base_layout)
    assert "not reproducible" not in str(why(world))
    build(world, base_layout, "--no-cache")
    causes = why(world)
    told = "not reproducible: the same inputs gave other files: a (content), b (content), c (content), 1 more"
    assert causes == {
        "RUN mkdir /steady": ["asked not to use the cache"],
        f"RUN {text}": ["asked not to use the cache", told],
        "RUN test -s /c": ["asked not to use the cache"],
    }
    answer = json.loads(world.run("why", "--json", f"@{text}").stdout)
    (step,) = answer["ran"]
    assert step["why"][-1]["kind"] == "unlike"
    assert step["why"][-1]["files"] == ["a", "b", "c", "d"]

    build(world, base_layout)
    ((_, cached),) = why(world, f"@{text}").items()
    assert cached[0] == "it was there already"
    assert cached[1] == told.replace("files:", f"files in the build {answer['build']}:")
    (world.project / "Dockerfile").write_text(f"FROM busybox\nRUN mkdir /steady\nRUN {text}; true\n")
    build(world, base_layout)
    assert "not reproducible" not in str(why(world))  # of another command nothing is known


def test_a_step_that_removes_other_files_is_remembered(world: World, base_layout: Path) -> None:
    """What it left has the same bytes: a whiteout is a difference, too."""
    text = "rm /$(($(od -An -N1 -tu1 /dev/urandom) % 8))"
    world.write({"Dockerfile": f"FROM busybox\nRUN touch 0 1 2 3 4 5 6 7\nRUN {text}\n"})
    build(world, base_layout)
    for _ in range(20):
        build(world, base_layout, "--no-cache")
        if told := [cause for causes in why(world).values() for cause in causes if "reproducible" in cause]:
            break
    assert told == ["not reproducible: the same inputs gave other files: what it removed"]
