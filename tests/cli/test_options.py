"""The syntax of command lines."""

from __future__ import annotations

import pytest

from buildkit_py.cli.options import Command, HelpWanted, Option, near, parse
from buildkit_py.errors import UsageError

COMMAND = Command(
    "try",
    "try it",
    ("pybuild try [options] THING…",),
    (
        Option(("-i", "--interactive"), "a switch"),
        Option(("-t", "--tty"), "a switch"),
        Option(("-e", "--env"), "a list", "NAME=VALUE", many=True),
        Option(("--network",), "a choice", "NETWORK", choices=("host", "none")),
        Option(("--pull",), "a switch with one word of its own", choices=("always",)),
    ),
    most=-1,
)
STOPPING = COMMAND.replace(stops=True)
FREE = COMMAND.replace(parameters=True)


def test_every_form_of_a_value():
    parsed = parse(COMMAND, ["-e", "a=1", "-eb=2", "-e=c=3", "--env", "d=4", "--env=e=5", "--env="])
    assert parsed.all("env") == ("a=1", "b=2", "c=3", "d=4", "e=5", "")
    assert parsed.one("env") == ""


def test_switches_bundle_and_can_be_off():
    parsed = parse(COMMAND, ["-it"])
    assert (parsed.has("interactive"), parsed.has("tty")) == (True, True)
    assert parse(COMMAND, ["-ite", "x=1"]).all("env") == ("x=1",)
    assert not parse(COMMAND, ["-i", "--interactive=false"]).has("interactive")
    assert not parse(COMMAND, ["-i=0"]).has("interactive")
    assert not parse(COMMAND, []).has("interactive")
    assert parse(COMMAND, ["--pull=always"]).one("pull") == "always"


def test_operands_and_options_mix():
    parsed = parse(COMMAND, ["a", "-i", "b", "-", "--", "-t", "c"])
    assert parsed.operands == ["a", "b", "-", "-t", "c"]
    assert parsed.has("interactive")
    assert not parsed.has("tty")


@pytest.mark.parametrize(
    ("argv", "operands"),
    [
        (["-i", "img", "ls", "-t", "--env=x"], ["img", "ls", "-t", "--env=x"]),
        (["img", "--", "ls", "--", "x"], ["img", "ls", "--", "x"]),
        (["img", "--"], ["img"]),
        (["img"], ["img"]),
    ],
)
def test_what_follows_the_first_operand_belongs_to_someone_else(argv, operands):
    parsed = parse(STOPPING, argv)
    assert parsed.operands == operands
    assert not parsed.has("tty")


def test_parameters_remember_the_operands_before_them():
    parsed = parse(FREE, ["f", "--x=1", "a", "--y=2=3", "-i"])
    assert parsed.parameters == [(1, "x", "1"), (2, "y", "2=3")]


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["--interactiv"], "unknown option `--interactiv`", "did you mean `--interactive`?"),
        (["-x"], "unknown option `-x`", "`pybuild try --help` shows what it takes"),
        (["-ix"], "unknown option `-x`", "`pybuild try --help` shows what it takes"),
        (["--env"], "option `--env` needs a value (NAME=VALUE)", ""),
        (["-e"], "option `-e` needs a value (NAME=VALUE)", ""),
        (["--tty=maybe"], "option `--tty` is a switch: `maybe` is neither true nor false", ""),
        (["--network=hots"], "option `--network` cannot be `hots`", "did you mean `host`?"),
        (["--network=xyz"], "option `--network` cannot be `xyz`", "it takes `host`, `none`"),
        (["--int=1"], "unknown option `--int`", ""),
    ],
)
def test_what_is_refused(argv, message, hint):
    with pytest.raises(UsageError) as caught:
        parse(COMMAND, argv)
    assert caught.value.message == message
    if hint:
        assert caught.value.hint == hint


def test_a_bare_unknown_option_is_no_parameter():
    with pytest.raises(UsageError) as caught:
        parse(FREE, ["f", "--colour"])
    assert caught.value.hint == "a parameter of a target is written `--colour=value`"


def test_counts_of_operands():
    two = COMMAND.replace(least=1, most=2)
    with pytest.raises(UsageError, match="needs to be told more") as caught:
        parse(two, [])
    assert caught.value.hint == "usage: pybuild try [options] THING…"
    with pytest.raises(UsageError) as caught:
        parse(two.replace(usage=("pybuild try this", "pybuild try that")), [])
    assert caught.value.hint == "usage: pybuild try this\n       pybuild try that"
    with pytest.raises(UsageError, match="cannot take `c`"):
        parse(two, ["a", "b", "c"])
    words = COMMAND.replace(words=("prune", "verify"))
    with pytest.raises(UsageError) as caught:
        parse(words, ["prun"])
    assert caught.value.hint == "did you mean `prune`?"


def test_help_wins_where_it_stands():
    with pytest.raises(HelpWanted):
        parse(COMMAND, ["a", "--help", "--nonsense"])
    with pytest.raises(HelpWanted):
        parse(COMMAND, ["-h"])
    taken = COMMAND.replace(options=(Option(("-h", "--hostname"), "a name", "NAME"),))
    assert parse(taken, ["-h", "box"]).one("hostname") == "box"


def test_near():
    assert near("buidl", ["build", "run"]) == "did you mean `build`?"
    assert near("zzz", ["build", "run"]) == ""
