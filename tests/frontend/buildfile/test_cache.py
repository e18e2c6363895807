"""Kept trees: the same tree as parsing gives, or none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_py.digest import blake3_hex
from buildkit_py.frontend.buildfile import cache
from buildkit_py.frontend.buildfile.parse import parse_text

TEXT = b"""# escape=`
# The app
FROM --platform=linux/amd64 a AS app
ARG x y=1
ENV a=b c='d e'
LABEL old value
RUN --mount=type=cache,target=/x <<-'E' cat `

\t
\tbody
E
COPY --link a <<F b
$x
F
CMD ["a", "b"]
ENTRYPOINT a
SHELL ["sh"]
WORKDIR /x
USER u
EXPOSE 80 81
VOLUME ["/v"]
STOPSIGNAL 9
HEALTHCHECK --interval=5s CMD x
HEALTHCHECK NONE
ONBUILD ADD a b
MAINTAINER me
"""


def test_what_is_kept_is_what_was_parsed(tmp_path: Path) -> None:
    store = str(tmp_path / "trees")
    assert cache.load(store, TEXT, "Buildfile") is None
    tree = parse_text(TEXT, "Buildfile", cache_dir=store)
    assert cache.load(store, TEXT, "Buildfile") == tree
    assert parse_text(TEXT, "Buildfile", cache_dir=store) == tree == parse_text(TEXT, "Buildfile")


def test_places_are_in_the_file_that_is_asked_for(tmp_path: Path) -> None:
    parse_text(TEXT, "one", cache_dir=str(tmp_path))
    assert cache.load(str(tmp_path), TEXT, "two") == parse_text(TEXT, "two")


def test_the_directory_is_private(tmp_path: Path) -> None:
    store = tmp_path / "trees"
    parse_text(TEXT, "B", cache_dir=str(store))
    assert store.stat().st_mode & 0o777 == 0o700
    assert len([name for name in os.listdir(store) if name.startswith("tree-")]) == 1
    assert not [name for name in os.listdir(store) if name.endswith(f".{os.getpid()}")]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign"])
def test_a_damaged_tree_is_none(tmp_path: Path, damage: str) -> None:
    store = str(tmp_path)
    tree = parse_text(TEXT, "B", cache_dir=store)
    path = Path(cache.path_of(store, TEXT))
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[:-10],
            "flip": data[:200] + bytes([data[200] ^ 1]) + data[201:],
            "empty": b"",
            "foreign": blake3_hex(b"\xe9\x05\x00\x00\x00").encode() + b"\xe9\x05\x00\x00\x00",
        }[damage]
    )
    assert cache.load(store, TEXT, "B") is None
    assert parse_text(TEXT, "B", cache_dir=store) == tree
    assert path.read_bytes() == data


def test_damaged_tables_are_made_again(tmp_path: Path) -> None:
    program = (
        "from buildkit_py.frontend.buildfile.parse import parse_text\n"
        # With a backtick to escape: the tables for a backslash come with the grammar.
        f"parse_text(b'# escape=`\\nFROM a', 'B', cache_dir={str(tmp_path)!r})"
    )
    env = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", program], check=True, env=env)
    (tables,) = tmp_path.glob("tables-*")
    whole = tables.stat().st_size
    for damage in (b"", b"junk", tables.read_bytes()[:1000]):
        tables.write_bytes(damage)
        subprocess.run([sys.executable, "-c", program.replace("FROM a", "FROM b")], check=True, env=env)
        assert tables.stat().st_size > whole // 2
        next(
            path
            for path in tmp_path.glob("tree-*")
            if path != Path(cache.path_of(str(tmp_path), b"# escape=`\nFROM a"))
        ).unlink()


def test_a_directory_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert parse_text(TEXT, "B", cache_dir=str(tmp_path / "file" / "trees")) == parse_text(TEXT, "B")


def test_kept_trees_are_those_of_this_parser() -> None:
    """Fails when the parser makes another tree of a text: then raise `cache.FORMAT` and write the new digest here."""
    digest = blake3_hex(repr(parse_text(TEXT, "B")).encode())
    assert (cache.FORMAT, digest[:16]) == (5, "2a151040437dd3f0")
