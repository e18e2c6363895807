"""Which words open a heredoc, and what their bodies are."""

from __future__ import annotations

import pytest

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile.heredoc import Opening, file_name, openings, parse_opening, read_body
from buildkit_py.source_map import Position


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("RUN <<EOF", ["EOF"]),
        ("run cat <<A - <<B", ["A", "B"]),
        ("COPY <<a <<b /d", ["a", "b"]),
        ("ADD --chown=1 <<a /d", ["a"]),
        ("ONBUILD RUN <<EOF", ["EOF"]),
        ("onbuild  copy <<EOF .", ["EOF"]),
        ("RUN <<EOF>out", ["EOF>out"]),
        ("RUN 3<<EOF cat", ["EOF"]),
        ("RUN <<'A B'", ["A B"]),
        ("RUN [ x ] <<EOF", ["EOF"]),
        ("RUN <<<text cat", []),
        ('RUN "<<EOF"', []),
        ("RUN '<<EOF'", []),
        (r"RUN \<<EOF", []),
        ("RUN echo a<<EOF", []),
        ("RUN echo $((1<<2)) $((1 << 2))", []),
        ("RUN echo don't <<EOF", []),
        ('RUN ["cat", "<<EOF"]', []),
        ('COPY ["<<EOF", "/"]', []),
        ('RUN ["cat", 1, "<<EOF"]', []),
        ("CMD cat <<EOF", []),
        ("ENTRYPOINT <<EOF", []),
        ("ENV a=<<EOF", []),
        ("FROM <<EOF", []),
        ("RUNX <<EOF", []),
        ("RUN cat <<", []),
        ("RUN cat <<-", []),
        ("RUN cat <<''", []),
    ],
)
def test_openings(line: str, names: list[str]) -> None:
    assert [opening.name for opening in openings(line)] == names


@pytest.mark.parametrize(
    ("word", "opening"),
    [
        ("<<EOF", Opening("EOF", 0, True, False, 0, "<<EOF")),
        ("<<-EOF", Opening("EOF", 0, True, True, 0, "<<-EOF")),
        ("5<<'EOF'", Opening("EOF", 5, False, False, 0, "5<<'EOF'")),
        ('<<E"O"F', Opening("EOF", 0, False, False, 0, '<<E"O"F')),
        (r"<<E\OF", Opening("EOF", 0, False, False, 0, r"<<E\OF")),
        ("<<$X", Opening("$X", 0, True, False, 0, "<<$X")),
        ("<<'EOF", None),
        ("x<<EOF", None),
        ("<<a<b", None),
        ("EOF", None),
    ],
)
def test_opening(word: str, opening: Opening | None) -> None:
    assert parse_opening(word) == opening


def test_columns_are_the_words() -> None:
    line = "RUN a 'b c' <<E \\<< <<-F"
    assert [line[o.column :].split(maxsplit=1)[0] for o in openings(line)] == ["<<E", "<<-F"]


@pytest.mark.parametrize(
    ("word", "lines", "text", "after"),
    [
        ("<<E", ["E\n"], "", 1),
        ("<<E", ["a\n", " E\n", "E \n", "E"], "a\n E\nE \n", 4),
        ("<<E", ["a\r\n", "E\r\n", "x"], "a\r\n", 2),
        ("<<-E", ["\t\ta\n", "\n", " \tb\n", "\tE\n"], "a\n\n \tb\n", 4),
        ("<<E", ["\ta\n", "\tE\n", "E\n"], "\ta\n\tE\n", 3),
        ("<<E", ["# a\\\n", "E\n"], "# a\\\n", 2),
    ],
)
def test_bodies(word: str, lines: list[str], text: str, after: int) -> None:
    opening = parse_opening(word)
    assert opening is not None
    read = read_body(opening, lines, 0)
    assert read is not None
    assert (read[0].text, read[1]) == (text, after)


def test_a_body_without_end() -> None:
    assert read_body(Opening("E", 0, True, False, 0, "<<E"), ["a\n", "EE"], 0) is None


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("EOF", "EOF"),
        ("/A", "A"),
        ("//A/", "A"),
        ("../../A", "A"),
        ("x/../A", "A"),
        ("a b", "a b"),
        ("é" * 127, "é" * 127),
    ],
)
def test_a_name_is_a_path_from_the_root(name: str, file: str) -> None:
    assert file_name(name, Position("Buildfile", 2, 6)) == file


@pytest.mark.parametrize("name", [".", "..", "/", "a/b", "../etc/A", "a/..", "a\0b", "é" * 128])
def test_a_name_that_is_no_file(name: str) -> None:
    with pytest.raises(BuildfileError, match=r"Buildfile:2:6: .* is no name of a file"):
        file_name(name, Position("Buildfile", 2, 6))
