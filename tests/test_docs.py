"""The documentation is true: the commands it shows exist, its configuration loads, its Python example builds."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit_py.cli.build import parser as build_parser
from buildkit_py.cli.completion import all_commands
from buildkit_py.cli.main import COMMANDS
from buildkit_py.cli.options import HelpWanted, parse
from buildkit_py.config import Config, RegistryConfig, load
from buildkit_py.errors import UsageError
from tests.behaviour.conftest import base_layout, shared, user_python, world
from tests.behaviour.world import World

__all__ = ["base_layout", "shared", "user_python", "world"]

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
TABLES = {command.name: command for command in all_commands()}
# What ends a command for the shell.
CONTROL = {"|", ";", "&", "&&", "||", ">", ">>", "<"}
# `pybuild build [options] CONTEXT` and `pybuild …` describe commands and are none.
SHORTENED = re.compile(r"…|\[[a-z-]")

# A code span ends with as many backticks as it begins with (CommonMark 6.1).
SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")


def code_of(page: Path) -> Iterator[str]:
    """Every line of code: of fenced blocks, of indented ones, and spans within text."""
    fence = False
    text = []
    for line in page.read_text().splitlines():
        if line.lstrip().startswith("```"):
            fence = not fence
        elif fence or line.startswith("    "):
            yield line.strip()
        else:
            text.append(line)
    for _, span in SPAN.findall(" ".join(text)):
        yield span


def commands_of(line: str) -> Iterator[list[str]]:
    """The arguments of each pybuild that a line of shell starts. A line that is no shell starts none."""
    if "pybuild" not in line or SHORTENED.search(line):
        return
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # a quote that another language opened
        return
    begins = True
    command: list[str] | None = None
    for word in [*words, ";"]:
        if word in CONTROL or word == ")":
            if command is not None:
                yield command
            command, begins = None, True
        elif command is not None:
            command.append(word)
        elif begins and (word == "pybuild" or word.endswith("/bin/pybuild")):
            command = []
        else:
            # `$ pybuild`, `eval $(pybuild`, `A=1 pybuild`: still the beginning of a command.
            begins = begins and (word in ("$", "(", "eval") or "=" in word)


def shown() -> list[tuple[str, list[str]]]:
    return [
        (f"{page.relative_to(ROOT)}: pybuild {shlex.join(command)}", command)
        for page in PAGES
        for line in code_of(page)
        for command in commands_of(line)
        if command
    ]


def check(argv: list[str]) -> None:
    """Read a command line as `pybuild` does. Raises `UsageError` where that would."""
    if argv[0] in ("--help", "--version"):
        return
    if argv[0] in COMMANDS:
        table, rest = TABLES[argv[0]], argv[1:]
        if not rest or (len(rest) == 1 and not rest[0].startswith("-") and rest[0] in table.words):
            return  # the name of a command in a sentence
    else:
        # A file or a directory, as `pybuild FILE` takes it.
        if not argv[0].startswith("-") and not re.fullmatch(r"[\w./-]*(file(\.py)?|FILE|\.)", argv[0]):
            raise UsageError(f"there is no command `{argv[0]}`")
        table, rest = build_parser(parameters=True), argv
    try:
        parse(table, rest)
    except HelpWanted:
        return
    except UsageError as problem:
        # In a sentence a command is named with the option that the sentence is about.
        if "needs to be told more" not in str(problem):
            raise


def test_every_command_shown_exists() -> None:
    commands = shown()
    assert len(commands) > 80
    assert {"build", "run", "cache", "info"} <= {command[0] for _, command in commands}
    wrong = []
    for where, command in commands:
        try:
            check(command)
        except UsageError as problem:
            wrong.append(f"{where}: {problem}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "line", ["pybuild biuld .", "pybuild build --squash .", "A=1 pybuild cache prnue", "ls | pybuild run --port=80 x"]
)
def test_a_wrong_command_is_found(line: str) -> None:
    (command,) = commands_of(line)
    with pytest.raises(UsageError):
        check(command)


def test_values_shown_are_among_the_choices() -> None:
    """`--compression=zstd|gzip`, wherever it stands: in text an option is named without its command."""
    options = build_parser().options
    choices = {name: option.choices for option in options for name in option.names if option.choices}
    wrong = []
    for page in PAGES:
        for name, values in re.findall(r"`(--[a-z-]+)=([a-z|]+)`", page.read_text()):
            if set(values.split("|")) - set(choices.get(name, values.split("|"))):
                wrong.append(f"{page.relative_to(ROOT)}: {name}={values}")
    assert not wrong


def _anchor(heading: str) -> str:
    """The name of a heading in a link."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_every_anchor_exists() -> None:
    links = [
        (page, page.parent / target if target else page, anchor)
        for page in PAGES
        for target, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)]+)\)", page.read_text())
    ]
    assert links
    missing = []
    for page, target, anchor in links:
        if anchor not in map(_anchor, re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)):
            missing.append(f"{page.relative_to(ROOT)}: {target.name}#{anchor}")
    assert not missing


def test_every_page_is_in_the_index() -> None:
    """In that of the documentation, or in that of its own folder, which is in the other."""
    index = (DOCS / "README.md").read_text()
    for page in sorted(DOCS.rglob("*.md")):
        near = page.parent / "README.md"
        listed = f"({page.relative_to(DOCS)}" in index
        if page != near and near.exists() and near.parent != DOCS:
            listed = listed or f"({page.name}" in near.read_text()
        assert listed or page == DOCS / "README.md", page


@pytest.mark.parametrize(("page", "heading"), [("own-words.md", "### ([A-Z]+)$"), ("run-flags.md", "## (--.+)$")])
def test_each_word_and_flag_of_our_own_is_in_a_how_to(page: str, heading: str) -> None:
    reference = (DOCS / "reference" / page).read_text()
    names = [name for line in re.findall(f"^{heading}", reference, re.MULTILINE) for name in line.split(", ")]
    assert len(names) > 7
    how_to = "".join(path.read_text() for path in (DOCS / "how-to").glob("*.md"))
    assert [name for name in names if not re.search(rf"(^ *|RUN .*){name}[ =]", how_to, re.MULTILINE)] == []


def _configuration(tmp_path: Path, text: str) -> Config:
    (tmp_path / "pybuild").mkdir(exist_ok=True)
    (tmp_path / "pybuild" / "config.toml").write_text(text)
    return load({"XDG_CONFIG_HOME": str(tmp_path)})


def test_the_configuration_shown_sets_everything_there_is(tmp_path: Path) -> None:
    text = (DOCS / "reference" / "config.md").read_text()
    (example,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    config = _configuration(tmp_path, example)
    assert [name for name in Config.__fields__ if getattr(config, name) == getattr(Config(), name)] == []
    unset = RegistryConfig("")
    for name in RegistryConfig.__fields__:
        assert any(getattr(registry, name) != getattr(unset, name) for registry in config.registries), name


def test_the_keys_of_the_configuration_are_those_of_the_table(tmp_path: Path) -> None:
    text = (DOCS / "reference" / "config.md").read_text()
    keys = re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE)
    known = []
    named = (("[registries.a]\n", "registries.NAME."), ("[trust.a]\n", "trust.NAME."))
    tables = (("", ""), ("[build]\n", "build."), ("[run]\n", "run."), ("[cache]\n", "cache."), *named)
    for table, prefix in tables:
        with pytest.raises(UsageError) as caught:
            _configuration(tmp_path, f"{table}nonsense = 1\n")
        names = caught.value.hint.removeprefix("known here: ").split(", ")
        known += [
            prefix + name for name in names if prefix + name not in ("build", "run", "cache", "registries", "trust")
        ]
    assert sorted(keys) == sorted(known)


def _blocks(page: Path) -> list[str]:
    """Indented blocks, without their indentation."""
    found = re.findall(r"(?:^    .*\n)+", page.read_text(), re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in found]


def test_the_python_example_gives_what_the_tutorial_shows(world: World) -> None:
    example = DOCS / "tutorial" / "examples" / "python"
    world.write({path.name: path.read_bytes() for path in example.iterdir() if path.is_file()})
    blocks = _blocks(DOCS / "tutorial" / "python.md")

    assert world.run("Buildfile.py", "--list").stdout in blocks
    for options in ((), ("--greeting=bye",)):
        world.run("Buildfile.py", "both", *options, "-o", "out")
        assert (world.project / "out" / "loud.txt").read_text() in blocks
        shutil.rmtree(world.project / "out")


def test_the_failure_shown_is_the_one_that_comes(world: World, base_layout: Path) -> None:
    page = DOCS / "how-to" / "failed-step.md"
    (dockerfile,) = re.findall(r"^```dockerfile\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    world.write({"Dockerfile": dockerfile.replace("debian:trixie", "busybox")})
    done = world.build("--build-context", f"busybox=oci-layout://{base_layout}", ok=False)
    assert done.returncode == 1
    (failure,) = (block for block in _blocks(page) if block.startswith("------"))
    # busybox's cat has its own words for it.
    assert failure in done.stderr.replace("cat: can't open '/nothing'", "cat: /nothing")
