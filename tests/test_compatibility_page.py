"""The page on Dockerfile compatibility has a row for all that a Dockerfile and a command line of docker can say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from buildkit_py.cli.build import parser
from buildkit_py.errors import UsageError
from buildkit_py.exporter.output import parse_output
from buildkit_py.frontend.buildfile.flags import FLAGS
from buildkit_py.frontend.buildfile.run_mount import KINDS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "dockerfile-compatibility.md"
# Those of BuildKit's frontend (frontend/dockerfile/command).
INSTRUCTIONS = {
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"),
    *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
}
# Its flags (frontend/dockerfile/instructions); those of ours are in rows of their own.
BUILDKITS = {
    "ADD": {"checksum", "chmod", "chown", "exclude", "keep-git-dir", "link", "unpack"},
    "COPY": {"chmod", "chown", "exclude", "from", "link", "parents"},
    "FROM": {"platform"},
    "HEALTHCHECK": {"interval", "retries", "start-interval", "start-period", "timeout"},
    "RUN": {"device", "mount", "network", "security"},
}
# Those of `docker buildx build`, and of docker's old builder what buildx still lets pass.
OPTIONS = {
    *("add-host", "allow", "annotation", "attest", "build-arg", "build-context", "builder", "cache-from", "cache-to"),
    *("call", "cgroup-parent", "check", "compress", "cpu-period", "cpu-quota", "cpu-shares", "cpuset-cpus"),
    *("cpuset-mems", "file", "force-rm", "iidfile", "isolation", "label", "load", "memory", "memory-swap"),
    *("metadata-file", "network", "no-cache", "no-cache-filter", "output", "platform", "progress", "provenance"),
    *("pull", "push", "quiet", "rm", "sbom", "secret", "security-opt", "shm-size", "squash", "ssh", "tag", "target"),
    "ulimit",
}


def rows(heading: str, table: str = "") -> list[tuple[list[str], str, str]]:
    """The rows of a section, or of the table in it that has this text above its first column: spans, answer, notes."""
    text = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    text = text.partition(f"| {table} |")[2].partition("\n\n")[0] if table else text
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)][1:-1]
        if len(cells) == 3 and cells[1] and set(cells[1]) != {"-"}:
            found.append((re.findall(r"`([^`]+)`", cells[0]), cells[1], cells[2]))
    assert found
    return found


def said(spans: list[str]) -> list[tuple[str, str, str]]:
    """What the spans of a first column name: instruction, flag ("" for none) and what stands behind its `=`."""
    found = []
    keyword = ""
    for word in " ".join(spans).split():
        if not word.startswith("--"):
            keyword = word if word in INSTRUCTIONS else keyword
            found.append((keyword, "", ""))
        elif keyword:
            name, _, value = word[2:].partition("=")
            found.append((keyword, name, value))
    return found


def test_every_answer_is_one_of_three_and_a_refusal_says_why() -> None:
    for heading in ("The file", "Stages and arguments", "Instructions", "Images", "The command line"):
        for spans, answer, notes in rows(heading):
            assert answer in ("same", "better", "not supported"), spans
            assert notes or answer == "same", spans


def test_every_instruction_and_flag_has_a_row() -> None:
    all_rows = rows("Stages and arguments") + rows("Instructions")
    named = [what for spans, _, _ in all_rows for what in said(spans)]
    assert {keyword for keyword, flag, _ in named if keyword and not flag} == INSTRUCTIONS
    flags = {(keyword, flag) for keyword, flag, _ in named if flag}
    assert {(keyword, flag) for keyword, known in BUILDKITS.items() for flag in known} <= flags
    assert {(keyword, flag) for keyword in INSTRUCTIONS & set(FLAGS) for flag in FLAGS[keyword]} == flags
    kinds = {value.partition("type=")[2] for _, flag, value in named if flag == "mount" and "type=" in value}
    assert kinds == set(KINDS)


def test_every_option_has_a_row_that_is_true() -> None:
    ours = {name for option in parser().options for name in option.names}
    table = rows("The command line", "option")
    answers = {word: answer for spans, answer, _ in table for word in " ".join(spans).split()}
    assert set(answers) == {f"--{name}" for name in OPTIONS}
    for name, answer in answers.items():
        assert (name in ours) == (answer != "not supported"), name


def test_attributes_of_outputs_are_refused_as_the_page_says() -> None:
    refused = [
        name
        for spans, answer, _ in rows("The command line", "attribute of `--output`")
        if answer == "not supported" and "type=docker" not in spans
        for name in spans
    ]
    assert len(refused) > 10
    for name in refused:
        for kind in ("local,dest=x", "tar,dest=x", "oci,dest=x", "docker,dest=x", "image", "registry"):
            with pytest.raises(UsageError, match=f"no attribute `{name}`"):
                parse_output(f"type={kind},{name}=true")
