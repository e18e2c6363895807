"""What is told of a difference."""

from __future__ import annotations

import pytest

from buildkit_py.graph.op import Copy, CopyPath, Inline, Mkdir, Mount, Pipe, Restack, Run, Service
from buildkit_py.image.content import content_digest
from buildkit_py.image.entry import DIR, FILE, Entry
from buildkit_py.solver.explain import FIELDS, Cause, Facts, differences, ranked, word_diff
from buildkit_py.solver.keys import op_parts

RUN = Run(("/bin/sh", "-c", "make all"), env=(("PATH", "/bin"), ("MODE", "1")))
COPY = Copy((CopyPath("src"),), "/app/")


def texts(before: Facts, now: Facts) -> list[str]:
    return [cause.text for cause in ranked(differences(before, now))]


def run(**changes: object) -> list[str]:
    return texts(Facts(op_parts(RUN)), Facts(op_parts(RUN.replace(**changes))))


@pytest.mark.parametrize("op", [RUN, COPY, Mkdir("/app"), Restack(("/app",))])
def test_every_part_of_a_key_has_a_name(op: Run | Copy | Mkdir | Restack) -> None:
    tag, *fields = op_parts(op)
    assert len(FIELDS[tag]) == len(fields)
    for name, value in zip(FIELDS[tag], fields, strict=True):
        own = getattr(op, name)
        assert value == own or isinstance(own, tuple), name


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"argv": ("/bin/sh", "-c", "make some")}, ["the command: make [-all-] {+some+}"]),
        ({"argv": ("make", "all")}, ["the command: white space only"]),
        ({"env": (("PATH", "/bin"), ("MODE", "2"))}, ["the variable MODE: `1` → `2`"]),
        ({"env": (("PATH", "/bin"),)}, ["the variable MODE is not set any more (was `1`)"]),
        ({"env": (*RUN.env, ("NEW", "x"))}, ["the variable NEW is new: `x`"]),
        ({"user": "app"}, ["the user: `` → `app`"]),
        ({"cwd": "/src"}, ["the working directory: `/` → `/src`"]),
        ({"capture": True}, ["`capture` was switched on"]),
        ({"pipes": (Pipe("h", b"x"),)}, ["the text of its heredoc"]),
        ({"mounts": (Mount("tmpfs", "/t"),)}, ["its mounts: {+tmpfs,/t,0+}"]),
    ],
)
def test_a_changed_run(changes: dict[str, object], told: list[str]) -> None:
    assert run(**changes) == told


USER = "the user of the service `db`: `` → `my`"
DB = Service("db", 0, ("postgres",), (("A", "1"),), "/", "", 5432, ("/bin/sh", "-c", "is up"))


@pytest.mark.parametrize(
    ("services", "told"),
    [
        ((), ["the service `db` is not asked for any more"]),
        ((DB, DB.replace(name="web")), ["the service `web` is new"]),
        ((DB.replace(port=1),), ["the port of the service `db`: `5432` → `1`"]),
        ((DB.replace(env=(("A", "2"),)),), ["of the service `db` the variable A: `1` → `2`"]),
        (
            (DB.replace(ready=("/bin/sh", "-c", "was up")),),
            ["the command that says it is ready of the service `db`: [-is-] {+was+} up"],
        ),
        ((DB.replace(argv=("mysql",), user="my"),), ["the command of the service `db`: [-postgres-] {+mysql+}", USER]),
        ((DB.replace(source=1),), []),
    ],
)
def test_changed_services(services: tuple[Service, ...], told: list[str]) -> None:
    before = Facts(op_parts(RUN.replace(services=(DB,))))
    assert texts(before, Facts(op_parts(RUN.replace(services=services)))) == told


def test_the_order_of_services() -> None:
    web = DB.replace(name="web", source=1)
    before = Facts(op_parts(RUN.replace(services=(DB, web))))
    swapped = RUN.replace(services=(web.replace(source=0), DB.replace(source=1)))
    assert texts(before, Facts(op_parts(swapped))) == ["the order of its services"]
    mounted = RUN.replace(mounts=(Mount("bind", "/m", 0),), services=(DB.replace(source=1), web.replace(source=2)))
    assert texts(before, Facts(op_parts(mounted))) == ["its mounts: {+bind,/m,0,/,True+}"]


def test_a_changed_service_of_a_seed() -> None:
    before, now = (Facts(op_parts(RUN.replace(seeds=DB.replace(port=port)))) for port in (1, 2))
    assert texts(before, now) == ["the port of the service `db`: `1` → `2`"]


def test_a_changed_copy() -> None:
    before = Facts(op_parts(COPY))
    assert texts(before, Facts(op_parts(COPY.replace(items=(CopyPath("lib"),))))) == [
        "what is copied: [-src-] {+lib+}",
    ]
    assert texts(before, Facts(op_parts(COPY.replace(owner="1:1")))) == ["the owner to set: `` → `1:1`"]
    heredoc = COPY.replace(items=(Inline("f", b"1"),))
    changed = COPY.replace(items=(Inline("f", b"2"),))
    assert texts(Facts(op_parts(heredoc)), Facts(op_parts(changed))) == ["what is copied: the text of a heredoc"]


def test_another_instruction() -> None:
    assert texts(Facts(op_parts(COPY)), Facts(op_parts(RUN))) == ["it was another instruction: copy, now run"]


def listing(*entries: Entry) -> tuple[tuple[tuple[str, bytes], ...], ...]:
    keep: list[bytes] = []
    content_digest(entries, keep)
    return ((("src", b"".join(keep)),),)


def file(path: str, data: bytes = b"", mode: int = 0o644, uid: int = 0) -> Entry:
    return Entry(path, FILE, mode, uid, 0, len(data), 0, data=data)


def files(before: list[Entry], now: list[Entry]) -> list[str]:
    parts = op_parts(COPY)
    return texts(Facts(parts, listing(*before)), Facts(parts, listing(*now)))


def test_changed_files() -> None:
    assert files([file("a", b"1")], [file("a", b"2")]) == ["src/a changed"]
    assert files([file("a")], [file("a"), file("b")]) == ["src/b is new"]
    assert files([file("a"), file("b")], [file("a")]) == ["src/b is gone"]
    assert files([file("a")], [file("a", mode=0o755)]) == ["src/a has another mode: 644 → 755"]
    assert files([file("a")], [file("a", uid=7)]) == ["src/a has other attributes or another owner"]
    assert files([file("a")], [Entry("a", DIR, 0o644)]) == ["src/a changed"]


def test_many_files_are_counted_and_the_first_named() -> None:
    before = [file(f"f{number}", b"1") for number in range(9)]
    now = [file(f"f{number}", b"2", 0o600) for number in range(5)]
    assert files(before, now) == [
        "5 files changed: src/f0, src/f1, src/f2 and 2 more",
        "4 files are gone: src/f5, src/f6, src/f7 and 1 more",
    ]


def test_the_most_telling_comes_first() -> None:
    causes = [Cause("input", "c"), Cause("env", "b"), Cause("files", "a"), Cause("evicted", "d")]
    assert [cause.text for cause in ranked(causes)] == ["a", "b", "d", "c"]


def test_words_far_from_a_change_are_left_out() -> None:
    words = [f"w{number}" for number in range(30)]
    changed = [*words]
    changed[15] = "new"
    assert word_diff(" ".join(words), " ".join(changed)) == "… w12 w13 w14 [-w15-] {+new+} w16 w17 w18 …"
    assert word_diff("a", "a b") == "a {+b+}"


def test_a_long_value_is_cut() -> None:
    (text,) = run(env=(("PATH", "/bin"), ("MODE", "x" * 5000)))
    assert len(text) < 400
    assert "…" in text
