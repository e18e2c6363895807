"""`RUN --inputs`: what the command sees of the context, what it is keyed by, and what its result holds."""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from pathlib import Path

import pytest

from tests.behaviour.world import REPOSITORY, World

DOCS = REPOSITORY / "docs"
# Everything below a directory: type, mode, owner, path and where a link leads, sorted.
LIST = "find /app | sort | while read -r p; do stat -c '%F %a %u:%g %N' \"$p\"; done"
FILES = {
    "src/main.c": "main\n",
    "src/lib/part.c": "part\n",
    "src/lib/part.h": "part\n",
    "src/gen/made.c": "made\n",
    "docs/guide.md": "guide\n",
    "docs/img/a.png": "png\n",
    "README": "readme\n",
}


@pytest.fixture
def project(world: World, base_layout: Path) -> World:
    world.env["BASE"] = f"oci-layout://{base_layout}"
    world.write(FILES)
    return world


def buildfile(world: World, text: str) -> None:
    world.write({"Dockerfile": f"FROM {world.env['BASE']}\n{text}"})


def seen(world: World, text: str, *options: str) -> list[str]:
    """The paths below /app that the command of the last line sees; it writes them to /seen."""
    buildfile(world, text)
    return (world.out(*options) / "seen").read_text().split("\n")[:-1]


FIND = "find /app | sort > /seen\n"


def test_only_what_matches_is_there(project: World) -> None:
    found = seen(project, f"WORKDIR /app\nCOPY . .\nRUN --inputs=src/**/*.c --inputs=!src/gen {FIND}")
    assert found == ["/app", "/app/src", "/app/src/lib", "/app/src/lib/part.c", "/app/src/main.c"]


def test_a_pattern_without_wildcards_names_a_directory_with_all_in_it(project: World) -> None:
    found = seen(project, f"COPY . /app\nRUN --inputs=/app/docs {FIND}")
    assert found == ["/app", "/app/docs", "/app/docs/guide.md", "/app/docs/img", "/app/docs/img/a.png"]


def test_a_pattern_has_variables(project: World) -> None:
    found = seen(project, f"ARG WHAT=README\nCOPY . /app\nRUN --inputs=/app/$WHAT {FIND}")
    assert found == ["/app", "/app/README"]


def test_what_matches_is_as_it_is_without_inputs(project: World) -> None:
    """Modes, owners, links of both kinds; a hard link whose first name is hidden is a file with the names that stay."""
    os.link(project.project / "src/main.c", project.project / "src/zz.c")
    os.link(project.project / "src/main.c", project.project / "a.c")
    (project.project / "src/link.c").symlink_to("main.c")
    (project.project / "src/lib").chmod(0o750)
    (project.project / "src/main.c").chmod(0o4755)
    copies = "COPY --chown=7:8 . /app\n"
    whole = seen(project, f"{copies}RUN ({LIST}) > /seen\n")
    part = seen(project, f"{copies}RUN --inputs=/app/src ({LIST}) > /seen\n")
    assert set(part) < set(whole)
    assert "regular file 4755 7:8 /app/src/zz.c" in part
    assert any("/app/src/link.c -> main.c" in line.replace("'", "") for line in part)
    assert not any("/app/a.c" in line for line in part)
    linked = f"{copies}RUN --inputs=/app/src stat -c %h /app/src/main.c /app/src/zz.c > /seen\n"
    assert seen(project, linked) == ["2", "2"]


def test_the_result_has_all_files(project: World) -> None:
    buildfile(
        project,
        "COPY . /app\n"
        "RUN --inputs=/app/src rm /app/src/main.c; mkdir /app/docs; echo new > /app/docs/new; echo mine > /app/README; "
        "rm -r /app/src/lib; mkdir /app/src/lib; echo only > /app/src/lib/x\n"
        "RUN find /app -type f | sort > /after\n",
    )
    out = project.out()
    assert (out / "after").read_text().split() == [
        "/app/Dockerfile",
        "/app/README",
        "/app/docs/guide.md",
        "/app/docs/img/a.png",
        "/app/docs/new",
        "/app/src/gen/made.c",
        "/app/src/lib/x",
    ], "new directories are merged, one that was removed and made again is not"
    assert sorted(str(path.relative_to(out)) for path in (out / "app").rglob("*") if path.is_file()) == [
        path.lstrip("/") for path in (out / "after").read_text().split()
    ], "what is written out is what a step sees"
    assert (out / "app/README").read_text() == "mine\n", "what the command wrote wins"


def test_a_directory_in_the_place_of_a_hidden_file_wins_and_so_does_a_file_in_that_of_a_directory(
    project: World,
) -> None:
    buildfile(
        project, "COPY . /app\nRUN --inputs=/app/src mkdir /app/README; touch /app/README/x; echo f > /app/docs\n"
    )
    out = project.out()
    assert (out / "app/README/x").exists()
    assert (out / "app/docs").read_text() == "f\n"


def test_only_what_matches_makes_it_run_again(project: World) -> None:
    text = "COPY . /app\nRUN --inputs=/app/src cat /app/src/*.c > /all\nRUN --inputs=/none cat /all > /again\n"
    buildfile(project, text)
    names = [name.partition("] ")[2] for name in project.ran(project.build())]
    assert names[:2] == ["COPY . /app", "COPY . /app (what --inputs=/app/src leaves)"]
    assert len(names) == 5
    assert project.ran(project.build()) == []
    for path, content in (("docs/guide.md", "changed\n"), ("docs/new", ""), ("README", "x")):
        project.write({path: content})
        assert not any("RUN" in name for name in project.ran(project.build())), path
    (project.project / "docs").chmod(0o700)
    assert not any("RUN" in name for name in project.ran(project.build()))
    project.write({"src/main.c": "changed\n"})
    assert len([name for name in project.ran(project.build()) if "RUN" in name]) == 2
    assert (project.out() / "again").read_text().startswith("changed\n")
    (project.project / "src/lib").chmod(0o700)
    assert len([name for name in project.ran(project.build()) if "RUN" in name]) == 1, "it came out the same"


def test_a_hidden_file_that_changed_is_in_the_result(project: World) -> None:
    buildfile(project, "COPY . /app\nRUN --inputs=/app/src cat /app/src/*.c > /all\n")
    project.build()
    project.write({"README": "changed\n"})
    assert (project.out() / "app/README").read_text() == "changed\n"


def test_why_and_plan_tell_of_what_it_saw(project: World) -> None:
    buildfile(project, "COPY . /app\nRUN ls /app > /names\nWORKDIR /w\nRUN --inputs=/app/src cat /app/src/*.c > /all\n")
    project.build()
    project.write({"src/main.c": "changed\n"})
    plan = project.run("plan", "Dockerfile").stdout
    assert "UNKNOWN [5/5] RUN --inputs=/app/src cat /app/src/*.c > /all" in plan
    assert "src/main.c changed" in plan
    project.build()
    # What hides files and puts them back is no step that anybody is shown.
    said = project.run("why", "Dockerfile").stdout.splitlines()
    assert said[0].endswith(f": {sum('  (ran' in line for line in said)} of 6 steps ran")
    why = project.run("why", "Dockerfile@cat /app").stdout
    assert "it stands on `" in why
    assert "(above what" not in why


def test_an_earlier_command_is_seen_as_it_left_things(project: World) -> None:
    found = seen(
        project,
        "COPY . /app\nRUN mkdir /app/gen; echo x > /app/gen/x; rm /app/src/main.c; echo more >> /app/README\n"
        f"WORKDIR /app/docs\nRUN --inputs=/app/src/* {FIND}",
    )
    assert found == [
        "/app",
        "/app/README",
        "/app/docs",
        "/app/gen",
        "/app/gen/x",
        "/app/src",
        "/app/src/gen",
        "/app/src/gen/made.c",
        "/app/src/lib",
        "/app/src/lib/part.c",
        "/app/src/lib/part.h",
    ], "README is what the command before wrote; the working directory is there"


def test_files_of_stages_heredocs_and_images_are_not_of_the_context(project: World) -> None:
    base = project.env["BASE"]
    project.write(
        {
            "Dockerfile": f"FROM {base} AS made\nRUN mkdir /m; echo m > /m/m\nCOPY README /m/readme\n"
            f"FROM {base}\nCOPY . /app\nCOPY --from=made /m /app/m\nCOPY <<EOF /app/here\ntext\nEOF\n"
            f"RUN --inputs=/nothing {FIND}"
        }
    )
    assert (project.out() / "seen").read_text().split() == ["/app", "/app/here", "/app/m", "/app/m/m", "/app/m/readme"]


def test_a_stage_that_goes_on_from_another_hides_what_that_one_copied(project: World) -> None:
    base = project.env["BASE"]
    project.write({"Dockerfile": f"FROM {base} AS a\nCOPY . /app\nFROM a\nRUN --inputs=/app/README {FIND}"})
    assert (project.out() / "seen").read_text().split() == ["/app", "/app/README"]


def test_a_linked_copy_an_archive_and_a_named_context(project: World) -> None:
    other = project.top / "other"
    other.mkdir(mode=0o755)
    (other / "o.c").write_text("o")
    (other / "o.h").write_text("o")
    shutil.make_archive(str(project.project / "all"), "tar", project.project / "src")
    found = seen(
        project,
        "COPY --link src /app/linked\nADD all.tar /app/unpacked/\nCOPY --from=other . /app/other/\n"
        f"RUN --inputs=/app/**/*.c {FIND}",
        "--build-context",
        f"other={other}",
    )
    assert [path for path in found if path.endswith((".c", ".h", ".tar"))] == [
        "/app/linked/gen/made.c",
        "/app/linked/lib/part.c",
        "/app/linked/main.c",
        "/app/other/o.c",
        "/app/unpacked/gen/made.c",
        "/app/unpacked/lib/part.c",
        "/app/unpacked/main.c",
    ]


def test_a_context_from_elsewhere(project: World) -> None:
    buildfile(project, f"COPY . /app\nRUN --inputs=/app/docs/*.md {FIND}")
    tar = shutil.make_archive(str(project.top / "context"), "tar", project.project)
    out = project.project / "out"
    with open(tar, "rb") as file:
        import subprocess

        subprocess.run(
            project.command("build", "-o", str(out), "-"),
            stdin=file,
            env=project.environment(),
            cwd=project.project,
            check=True,
            capture_output=True,
            timeout=240,
        )
    assert (out / "seen").read_text().split() == ["/app", "/app/docs", "/app/docs/guide.md"]


def test_without_a_copy_there_is_nothing_to_hide(project: World) -> None:
    assert seen(project, f"RUN mkdir /app\nRUN --inputs=/app/x {FIND}") == ["/app"]


def test_a_mount_is_not_narrowed(project: World) -> None:
    found = seen(project, f"COPY . /app\nRUN --inputs=/app/README --mount=target=/app/mnt,source=docs {FIND}")
    assert "/app/mnt/guide.md" in found
    assert "/app/docs" not in found


def test_both_doors_make_the_same(project: World, base_layout: Path) -> None:
    buildfile(project, "WORKDIR /app\nCOPY . .\nRUN --inputs=src --inputs=!src/gen cat src/*.c > /all\n")
    project.build()
    project.write(
        {
            "Buildfile.py": f"""\
from buildkit_py import Image, context, target
@target
def app():
    base = Image("oci-layout://{base_layout}").workdir("/app").copy(context(".", ignore=["Buildfile.py"]))
    return base.run("cat src/*.c > /all", inputs=["src", "!src/gen"])
"""
        }
    )
    assert not any(" cat " in name for name in project.ran(project.run("Buildfile.py", "--progress=plain")))


def test_a_failure_says_where_and_what_is_saved_is_what_it_saw(project: World) -> None:
    buildfile(project, "COPY . /app\nRUN --inputs=/app/src --save-always=/app:kept cat /app/README\n")
    done = project.build(ok=False)
    assert done.returncode == 1
    assert "Dockerfile:3:1" in done.stderr
    assert not (project.project / "kept/README").exists()
    assert (project.project / "kept/src/main.c").read_text() == "main\n"


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--inputs=", "--inputs: there is no pattern"),
        ("--inputs", "`--inputs` lacks a value"),
        ("--inputs=[", "--inputs: "),
        ("--inputs=!src", "--inputs names nothing that the command sees"),
    ],
)
def test_patterns_that_cannot_be_meant(project: World, flag: str, message: str) -> None:
    if project.mode == "user":
        pytest.skip("messages do not depend on who builds")
    buildfile(project, f"COPY . /app\nRUN {flag} true\n")
    done = project.build(ok=False)
    assert done.returncode == 3
    assert "Dockerfile:3:" in done.stderr
    assert message in done.stderr


def test_many_commands_make_no_more_steps_than_they_are(project: World) -> None:
    lines = "".join(f"RUN --inputs=/app/src echo {number} > /n\n" for number in range(30))
    buildfile(project, f"COPY . /app\n{lines}")
    ran = project.ran(project.build())
    assert len(ran) == 32
    assert stat.S_ISREG((project.out() / "n").stat().st_mode)


def test_the_result_travels_with_a_portable_cache(project: World) -> None:
    buildfile(project, "COPY . /app\nRUN --inputs=/app/src cat /app/src/*.c > /all\n")
    project.write({".dockerignore": "kept\nout\n"})
    project.build("--cache-to", "type=local,dest=kept", "-o", "out")
    project.env["PYBUILD_HOME"] = str(project.top / "other")
    assert project.ran(project.build("--cache-from", "type=local,src=kept")) == []
    project.write({"docs/guide.md": "changed\n"})
    done = project.build("--cache-from", "type=local,src=kept", "-o", "out")
    assert not any(" cat " in name for name in project.ran(done))
    assert (project.project / "out/all").read_text() == (project.project / "src/main.c").read_text()
    assert (project.project / "out/app/docs/guide.md").read_text() == "changed\n"


def test_as_the_how_to_has_it(project: World) -> None:
    """A change of a file runs only those that see it."""
    (text,) = re.findall(
        r"```dockerfile\nFROM gcc:14\n(.*?)```", (DOCS / "how-to/narrow-inputs.md").read_text(), re.DOTALL
    )
    buildfile(project, text.replace(" make\n", " cat src/main.c Makefile > /made\n"))
    project.write({"Makefile": "all:\n", "docs/drafts/d": "d"})
    assert len([name for name in project.ran(project.build()) if "RUN" in name]) == 3

    def runs(path: str) -> list[str]:
        project.write({path: f"changed {time.time_ns()}\n"})
        return [name.partition("] ")[2].split()[-1] for name in project.ran(project.build()) if "RUN" in name]

    assert runs("README") == ["ls"]
    assert runs("docs/guide.md") == ["contents", "ls"]
    assert runs("docs/drafts/d") == ["ls"]
    assert runs("src/main.c") == ["/made", "contents", "ls"], "what the first one wrote the others see"
