"""RUN: heredocs and mounts."""

import pytest

from buildkit_py.errors import BuildfileError
from buildkit_py.graph.op import Copy, CopyPath, LocalSource, Mount, Pipe, Run
from tests.frontend.buildfile.lowering import Lowered

HEREDOCS = [
    ("RUN <<E\na $x\nb\nE", "a $x\nb\n"),
    ("RUN <<-E\n\ta\n\tb\n\tE", "a\nb\n"),
    ('RUN <<"E"\na\nE', "a\n"),
    ("RUN  <<E  \na\nE", "a\n"),
    ("RUN <<E\nE", ""),
    ("RUN <<E sh\na\nE", "<<E sh\na\nE"),
    ("RUN cat <<A - <<B\na\nA\nb\nB", "cat <<A - <<B\na\nA\nb\nB"),
    ("RUN <<A <<B\na\nA\nb\nB", "<<A <<B\na\nA\nb\nB"),
    ("RUN 3<<E\na\nE", "a\n"),
]


@pytest.mark.parametrize(("text", "command"), HEREDOCS)
def test_heredocs(text, command):
    made = Lowered(f"FROM base\n{text}\n")
    assert made.op.argv == ("/bin/sh", "-c", command)
    assert made.op.pipes == ()


def test_a_script_with_an_interpreter_is_a_file():
    made = Lowered('FROM base\nSHELL ["/bin/bash", "-c"]\nRUN <<run.py\n#!/usr/bin/python3\nprint()\nrun.py\n')
    assert made.op.argv == ("/bin/bash", "-c", "/dev/pipes/run.py")
    assert made.op.pipes == (Pipe("run.py", b"#!/usr/bin/python3\nprint()\n"),)


def test_a_heredoc_shows_its_first_line():
    assert Lowered("FROM base\nRUN <<E\nmake\nmake install\nE\n").target.step.name == "[2/2] RUN <<E (make...)"


def mounts(flags, prefix=""):
    made = Lowered(f"FROM other AS tools\nFROM base\nWORKDIR /w\n{prefix}RUN {flags} x\n")
    assert isinstance(made.op, Run)
    return made.op.mounts, made.target.step


MOUNTS = [
    ("type=tmpfs,target=/t,size=64m", Mount("tmpfs", "/t", read_only=False, size=64 << 20)),
    ("type=cache,target=/c/", Mount("cache", "/c", read_only=False, id="/c")),
    ("type=cache,target=//c", Mount("cache", "/c", read_only=False, id="/c")),
    ("type=cache,target=/a/../c", Mount("cache", "/c", read_only=False, id="/c")),
    ("type=cache,target=c", Mount("cache", "/w/c", read_only=False, id="c")),
    (
        "type=cache,id=go,target=/c,sharing=LOCKED,mode=0700,uid=5,gid=6,ro",
        Mount("cache", "/c", id="go", sharing="locked", mode=0o700, uid=5, gid=6),
    ),
    ("type=secret,id=a/b", Mount("secret", "/run/secrets/b", id="a/b")),
    ("type=secret,target=/etc/npmrc", Mount("secret", "/etc/npmrc", id="npmrc")),
    ("type=secret,id=t,env=TOKEN", Mount("secret", "", id="t", env="TOKEN")),
    (
        "type=secret,id=t,env=TOKEN,target=/t,required,mode=0444,uid=1",
        Mount("secret", "/t", id="t", env="TOKEN", required=True, mode=0o444, uid=1),
    ),
    ("type=secret,src=t", Mount("secret", "/run/secrets/t", id="t")),
]


@pytest.mark.parametrize(("spec", "expected"), MOUNTS)
def test_mounts_without_a_source(spec, expected):
    found, step = mounts(f"--mount={spec}")
    assert found == (expected,)
    assert step.sources == ()


def test_a_bind_from_the_context_sees_a_sealed_snapshot():
    found, step = mounts("--mount=target=/src,source=./lib/x,rw")
    assert found == (Mount("bind", "/src", 0, "/lib/x", read_only=False),)
    snapshot = step.sources[0]
    assert snapshot.op == Copy((CopyPath("lib/x", wildcard=False),), "/lib/x")
    assert snapshot.base is None
    assert isinstance(snapshot.sources[0].op, LocalSource)


def test_a_bind_of_the_whole_context():
    found, step = mounts("--mount=target=/src")
    assert found == (Mount("bind", "/src", 0, "/"),)
    assert step.sources[0].op == Copy((CopyPath("/", wildcard=False),), "/")


def test_a_bind_from_a_stage_sees_the_stage():
    found, step = mounts("--mount=from=TOOLS,source=bin,target=bin --mount=from=tools,target=/all")
    assert found == (Mount("bind", "/w/bin", 0, "/bin"), Mount("bind", "/all", 0, "/"))
    assert [source.name for source in step.sources] == ["[tools 1/1] FROM other"]


def test_a_bind_may_name_a_stage_by_its_number():
    _, step = mounts("--mount=from=0,target=/x")
    assert step.sources[0].name == "[tools 1/1] FROM other"


def test_the_same_path_twice_is_one_snapshot():
    _, step = mounts("--mount=source=a,target=/1 --mount=source=b,target=/2 --mount=source=a,target=/3")
    assert [mount.source for mount in step.op.mounts] == [0, 1, 0]


def test_a_cache_may_be_filled_from_a_stage():
    found, step = mounts("--mount=type=cache,from=tools,source=seed,target=/c")
    assert found == (Mount("cache", "/c", 0, "/seed", read_only=False, id="/c"),)
    assert len(step.sources) == 1


def test_values_expand_and_the_cache_namespace_goes_before_the_id():
    made = Lowered(
        "FROM base\nARG V=1\nRUN --mount=type=cache,id=go-$V,target=/c/${V} x",
        build_args=(("BUILDKIT_CACHE_MOUNT_NS", "ns"),),
    )
    assert made.op.mounts == (Mount("cache", "/c/1", read_only=False, id="ns/go-1"),)


@pytest.mark.parametrize(
    ("flag", "mount"),
    [
        ("type=tmpfs", Mount("tmpfs", "/w", read_only=False)),
        ("type=cache", Mount("cache", "/w", read_only=False, id=".")),
        ("type=cache,target=.", Mount("cache", "/w", read_only=False, id=".")),
        ("type=cache,target=./a//b/", Mount("cache", "/w/a/b", read_only=False, id="a/b")),
    ],
)
def test_without_a_target_it_lies_over_the_working_directory(flag, mount):
    assert Lowered(f"FROM base\nWORKDIR /w\nRUN --mount={flag} x").op.mounts == (mount,)


def test_without_a_target_and_a_working_directory():
    with pytest.raises(BuildfileError, match="without a `target` covers the working directory"):
        Lowered("FROM base\nRUN --mount=type=cache x")


@pytest.mark.parametrize("target", ["/", "/a/..", "../.."])
def test_the_root_cannot_be_covered(target):
    with pytest.raises(BuildfileError, match="cannot cover the whole filesystem"):
        mounts(f"--mount=type=tmpfs,target={target}")


def test_the_empty_command_of_an_empty_filesystem():
    made = Lowered("FROM scratch\nRUN true")
    assert made.target.step.base is None
    assert made.op.cwd == "/"
