"""`pybuild verify`: what depends on an accident of the machine shows, by step and file, and nothing else does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.conftest import USER, make_user
from tests.behaviour.world import World

NOT_REPRODUCIBLE = 9
STEADY = """\
FROM busybox
COPY . /src
RUN sort /src/b > /sorted; mkdir /made; chmod 750 /made; ln -s sorted /link
RUN --mount=type=bind,target=/ctx cat /ctx/a > /seen
FROM busybox
COPY --from=0 --chown=77 /sorted /sorted
"""


@pytest.fixture
def context(base_layout: Path) -> tuple[str, str]:
    """What makes `FROM busybox` work."""
    return ("--build-context", f"busybox=oci-layout://{base_layout}")


def verified(world: World, *argv: str, code: int) -> dict[str, Any]:
    done = world.run("verify", "--json", "--progress=quiet", *argv, ok=False)
    assert done.returncode == code, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def states(answer: dict[str, Any]) -> dict[str, str]:
    return {step["name"].partition("] ")[2]: step["verdict"] for step in answer["steps"]}


def files(answer: dict[str, Any]) -> dict[str, str]:
    return {one["path"]: one["how"] for step in answer["steps"] for one in step["files"]}


def everything(world: World) -> set[str]:
    """All that is in the project and beside it."""
    return {str(path) for top in (world.project, world.store / "work") for path in top.rglob("*")}


def test_what_is_reproducible(world: World, context: tuple[str, str]) -> None:
    world.write({"Dockerfile": STEADY, "a": "a", "b": "2\n1\n", "sub/c": "c"})
    world.build(*context, "-t", "before")
    before, images = everything(world), world.run("images", "--json").stdout
    answer = verified(world, *context, code=0)
    assert answer["reproducible"] is True
    assert set(states(answer).values()) == {"SAME"}
    ((image),) = answer["images"]
    assert image["first"] == image["second"] != ""
    assert everything(world) == before
    assert world.run("images", "--json").stdout == images
    varied = {one["what"]: one["done"] for one in answer["varied"]}
    assert varied.keys() == {"time", "store", "order", "directory", "owners", "user", "processors", "umask"}
    assert not varied["user"]
    assert all(varied[what] for what in ("time", "store", "directory", "owners", "umask"))
    assert varied["processors"] == (len(os.sched_getaffinity(0)) > 1)
    said = world.run("verify", *context).stdout.splitlines()
    assert said[-1] == "reproducible: 5 steps gave the same twice"
    assert said[0].startswith("varied  time: ")


def test_accidents(world: World, context: tuple[str, str]) -> None:
    """Each is seen in the file that it got into, and in no other."""
    world.write(
        {
            "Dockerfile": """\
FROM busybox
RUN echo 1 > /steady; date +%s > /time; nproc > /cpus; find /bin -maxdepth 1 > /order
RUN --mount=type=bind,target=/ctx stat -c %Y /ctx/file > /mtime
RUN cat /time > /after
RUN echo fine > /fine
FROM busybox
RUN echo other > /other
COPY --from=0 /after /fine /
""",
            "file": "x",
        }
    )
    os.utime(world.project / "file", (1, 1))
    # The store of a test lies on a tmpfs wherever there is one.
    answer = verified(world, *context, code=NOT_REPRODUCIBLE)
    varied = {one["what"]: one["done"] for one in answer["varied"]}
    expected = {"time": "content", "after": "content", "mtime": "content"}
    expected |= {"order": "content"} if varied["order"] else {}
    expected |= {"cpus": "content"} if varied["processors"] else {}
    assert files(answer) == expected
    assert list(states(answer).items()) == [
        ("RUN echo other > /other", "SAME"),
        ("RUN echo 1 > /steady; date +%s > /time; nproc > /cpus; find /bin -maxdepth 1 > /order", "DIFFERS"),
        ("/", "SAME"),  # the context that is mounted
        ("RUN --mount=type=bind,target=/ctx stat -c %Y /ctx/file > /mtime", "AFTER"),
        ("RUN cat /time > /after", "AFTER"),
        ("RUN echo fine > /fine", "SAME"),
        ("COPY --from=0 /after /fine /", "AFTER"),
    ]
    assert answer["images"][0]["first"] != answer["images"][0]["second"]

    told = json.loads(world.run("why", "--json", "@date").stdout)["ran"][0]["why"][-1]
    assert told["kind"] == "unlike"
    assert "time" in told["files"]

    said = world.run("verify", *context, ok=False).stdout
    assert "        time  content\n" in said
    assert "not reproducible: 1 of 7 steps differs, and 3 more that stand on what differs\n" in said


def test_what_the_store_knows_of_other_builds_is_no_input(world: World, context: tuple[str, str]) -> None:
    """That some step ever came out otherwise is noted in the store, and each build looks at that note."""
    world.write({"Dockerfile": "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /u\n"})
    world.build(*context)
    world.build(*context, "--no-cache")
    world.write({"Dockerfile": "FROM busybox\nRUN --mount=target=/ctx stat -c %Y /ctx/a > /seen\n", "a": "a"})
    answer = verified(world, *context, code=NOT_REPRODUCIBLE)
    varied = {one["what"]: one["done"] for one in answer["varied"]}
    assert varied["directory"]


def test_what_is_left_alike(world: World, context: tuple[str, str]) -> None:
    world.write({"Dockerfile": "FROM busybox\nRUN nproc > /cpus; find /bin -maxdepth 1 > /order\n"})
    alike = [f"--same={what}" for what in ("directory", "order", "processors", "owners", "umask")]
    answer = verified(world, *context, *alike, code=0)
    assert {one["what"] for one in answer["varied"] if one["done"]} == {"time", "store"}


def test_times_count_up_to_the_epoch(world: World, context: tuple[str, str]) -> None:
    world.write({"Dockerfile": "FROM busybox\nCOPY old new /\n", "old": "o", "new": "n"})
    os.utime(world.project / "old", (1_000_000_000, 1_000_000_000))
    assert verified(world, *context, code=0)["reproducible"]
    done = world.run(*("verify", "--json", "--progress=quiet", *context), ok=False, SOURCE_DATE_EPOCH="1500000000")
    assert done.returncode == NOT_REPRODUCIBLE
    assert files(json.loads(done.stdout)) == {"old": "time"}


def test_nothing_comes_out(world: World, context: tuple[str, str]) -> None:
    world.write({"Buildfile": "FROM busybox\nRUN echo x > /x\nTAG shop:1\nOUTPUT /x out/x\n"})
    assert verified(world, *context, code=0)["reproducible"]
    assert world.run("images", "--json").stdout.count("shop") == 0
    assert sorted(os.listdir(world.project)) == ["Buildfile"]
    scratch = world.top / "scratch"
    scratch.mkdir(mode=0o777)
    scratch.chmod(0o777)
    assert verified(world, *context, f"--scratch={scratch}", code=0)["reproducible"]
    assert os.listdir(scratch) == []


def test_an_image_whose_name_only_this_store_knows(world: World, context: tuple[str, str]) -> None:
    world.write({"Dockerfile": "FROM busybox\nRUN echo base > /base\n"})
    world.build(*context, "-t", "mine:1")
    world.write({"Dockerfile": "FROM mine:1\nRUN cat /base > /copy\n"})
    assert verified(world, "--offline", code=0)["reproducible"]


def test_a_project_that_reaches_outside_of_its_context(world: World) -> None:
    """A copy of the context would not find what is beside it."""
    world.write({"app/Dockerfile": "FROM ../base+base\nCOPY a /\n", "app/a": "a"})
    world.write({"base/Dockerfile": "FROM scratch AS base\nCOPY b /\n", "base/b": "b"})
    answer = verified(world, "app", code=0)
    varied = {one["what"]: one for one in answer["varied"]}
    assert not varied["directory"]["done"]
    assert "project/base" in varied["directory"]["how"]
    assert not varied["order"]["done"]
    world.write({"app/Dockerfile": "FROM scratch\nCOPY b /\n", "app/Dockerfile.dockerignore": "c\n"})
    answer = verified(world, "-f", "app/Dockerfile", "base", code=0)
    assert {one["what"]: one["done"] for one in answer["varied"]}["directory"]


def test_a_python_buildfile_and_the_host(world: World) -> None:
    world.write(
        {
            "Buildfile.py": (
                "from buildkit_py import *\nimport json\n\n@target\ndef app(level: int = 1) -> Image:\n"
                "    made = host().run(f'echo {level} > /made; date +%s > /time')\n"
                "    return scratch().copy(made['/made'], '/').copy(made['/time'], '/')\n"
            )
        }
    )
    answer = verified(world, "Buildfile.py", "app", "--level=3", code=NOT_REPRODUCIBLE)
    assert files(answer) == {"time": "content"}
    assert {one["what"]: one["done"] for one in answer["varied"]}["directory"]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_one_that_is_ended(world: World, context: tuple[str, str], ending: signal.Signals) -> None:
    """In its second build, which finds a file that is not as old as it was; what is killed the next command removes."""
    old = "[ $(stat -c %Y /ctx/old) = 7 ] || sleep 600"
    world.write({"Dockerfile": f"FROM busybox\nRUN --mount=type=bind,target=/ctx {old}\n", "old": ""})
    os.utime(world.project / "old", (7, 7))
    argv = world.command("verify", "--progress=plain", *context)
    work = world.store / "work"
    with subprocess.Popen(argv, cwd=world.project, env=world.environment(), stderr=subprocess.PIPE, text=True) as done:
        assert done.stderr is not None
        built = 0
        while built < 1:
            built += done.stderr.readline().startswith("built in")
        while not done.stderr.readline().startswith("#3 [2/2] RUN"):
            pass
        assert any(name.startswith("verify-") for name in os.listdir(work))
        done.send_signal(ending)
        done.stderr.read()
    assert done.returncode == (-ending if ending == signal.SIGKILL else 128 + ending)
    if ending == signal.SIGKILL:
        world.run("images")
    assert os.listdir(work) == []


def test_what_fails_and_what_is_wrong(world: World, context: tuple[str, str]) -> None:
    world.write({"Dockerfile": "FROM busybox\nRUN exit 7\n"})
    assert world.run("verify", *context, ok=False).returncode == 1
    # Only the second build fails: it sees a copy of the context, whose times are new.
    world.write(
        {"Dockerfile": "FROM busybox\nRUN --mount=type=bind,target=/ctx test $(stat -c %Y /ctx/Dockerfile) = 7\n"}
    )
    os.utime(world.project / "Dockerfile", (7, 7))
    assert world.run("verify", *context, ok=False).returncode == 1
    assert world.run("verify", "--same=directory", *context).returncode == 0
    assert os.listdir(world.store / "work") == []
    for wrong in (("--same=everything",), ("--scratch=/nowhere",), ("-",), ("-f", "-", ".")):
        done = world.run("verify", *context, *wrong, ok=False, stdin="FROM scratch\n")
        assert done.returncode == 2, (wrong, done.stderr)


@pytest.mark.parametrize("more", [(), ("--same=directory",)])
def test_a_cache_in_the_context_is_no_difference(world: World, context: tuple[str, str], more: tuple[str, ...]) -> None:
    world.write({"Dockerfile": STEADY, "a": "a", "b": "2\n1\n"})
    world.build(*context, f"--cache-to=type=local,dest={world.project}/kept")
    answer = verified(world, *context, f"--cache-from=type=local,src={world.project}/kept", *more, code=0)
    assert set(states(answer).values()) == {"SAME"}


@pytest.mark.parametrize("same", [(), ("--same=directory",)], ids=["copied", "not copied"])
@pytest.mark.parametrize("where", ["context", "store", "cache"])
def test_links_are_no_difference(world: World, context: tuple[str, str], where: str, same: tuple[str, ...]) -> None:
    """The context, or what is part of none and lies in it, has another name through a link."""
    world.write({"p/Dockerfile": STEADY, "p/a": "a", "p/b": "2\n1\n", "p/kept/not": "", "p/tmp/not": ""})
    (world.project / "link").symlink_to("p")
    argv, env = [*context, *same, "link"], {}
    if where == "context":
        argv += ["--scratch=p/tmp"]
    elif where == "store":
        env["PYBUILD_HOME"] = str(world.project / "p/.store")
    else:
        (world.project / "p/kept/not").unlink()
        world.run("build", *context, "--cache-to=type=local,dest=p/kept", "p")
        argv = [*context, *same, "--cache-from=type=local,src=link/kept", "p"]
    done = world.run("verify", "--json", "--progress=quiet", *argv, ok=False, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert set(states(answer).values()) == {"SAME"}
    assert {one["what"]: one["done"] for one in answer["varied"]}["directory"] == (not same)
    assert os.listdir(world.project / "p/tmp") == ["not"]


def test_a_buildfile_and_its_context_by_two_names(world: World) -> None:
    world.write({"p/Dockerfile": "FROM ./base+base\nCOPY a /\n", "p/a": "a"})
    world.write({"p/base/Dockerfile": "FROM scratch AS base\nCOPY b /\n", "p/base/b": "b"})
    (world.project / "link").symlink_to("p")
    answer = verified(world, "-f", "p/Dockerfile", "link", code=0)
    assert {one["what"]: one["done"] for one in answer["varied"]}["directory"]


def test_a_buildfile_that_is_a_link_out_of_its_context(world: World) -> None:
    """The link would lead elsewhere from a copy."""
    world.write({"elsewhere/Dockerfile": "FROM scratch\nCOPY a /\n", "p/a": "a"})
    (world.project / "p/Dockerfile").symlink_to("../elsewhere/Dockerfile")
    answer = verified(world, "p", code=0)
    assert {one["what"]: one["done"] for one in answer["varied"]}["directory"]


LOOKS = """\
FROM busybox
COPY . /src
RUN --mount=type=bind,target=/ctx --mount=type=cache,target=/cache --mount=type=tmpfs,target=/t \\
    --mount=type=secret,id=s sh /src/look > /seen
USER 1000
RUN id > /tmp/id; stat -c "%n %u:%g %a" /tmp/* >> /tmp/id
"""
LOOK = """\
id; env | sort; hostname; umask
for name in limits cgroup oom_score_adj setgroups; do cat /proc/self/$name; done
grep -E "^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)" /proc/self/status
cd /
for path in * /src/* /ctx/* /cache /t /run/secrets/* /dev/shm /dev/pts /proc/1/status /etc/*; do
    case $path in proc | sys) ;; *) stat -c "%n %u:%g %a" $path ;; esac
done
cut -d " " -f 2 /proc/self/mounts | sort -u | grep -v ^/sys/
"""


def test_a_step_does_not_see_who_builds(world: World, context: tuple[str, str], user_python: tuple[str, str]) -> None:
    """But in a few places that the how-to names: two users who build the same get the same image."""
    if world.mode != "root":
        pytest.skip("needs both users")
    make_user(world.top)
    python, library = user_python
    world.top.chmod(0o755)
    (world.top / "other").mkdir()
    other = World(
        world.top / "other", "user", python, ("setpriv", "--reuid", USER, "--regid", USER, "--clear-groups"), library
    )
    other.env = world.env
    for place in (other.top, other.project):
        shutil.chown(place, USER, USER)
    digests = []
    for one in (world, other):
        one.write({"Dockerfile": LOOKS, "look": LOOK, "s": "a secret that is one", ".dockerignore": "iid\ns\nout\n"})
        one.build(*context, "--reproducible", "--secret=id=s,src=s", "--iidfile", "iid")
        digests.append((one.project / "iid").read_text())
    seen = [(one.out(*context, "--secret=id=s,src=s") / "seen").read_text() for one in (world, other)]
    assert seen[0] == seen[1]
    assert "src/look 0:0 644" in seen[0]
    assert digests[0] == digests[1]
