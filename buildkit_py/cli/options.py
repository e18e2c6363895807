"""Options: what a command accepts on its command line, as a table, and the reading of argv by it.

One table a command serves parsing, `--help`, shell completion and
docs/reference/cli.md. The syntax is that of docker and of GNU: `--name=value`,
`--name value`, `-n value`, `-nvalue`, switches bundled as `-it`, and
`--switch=false`. Not argparse: its import takes 6 ms of the 21 that
`pybuild run IMAGE true` has, it cannot take a target's `--parameter=value`,
and it accepts any abbreviation, so that each new option may break a script.
"""

from __future__ import annotations

from buildkit_py.errors import UsageError
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TRUE = ("true", "1")
_FALSE = ("false", "0")


class Option(Record):
    """One option. `names` has the long name last; `value` is the placeholder of its value, "" for a switch.

    `many`: may be given several times, else the last one counts. `completes` is what a shell offers for
    the value: "file", "directory" or "image".
    """

    names: tuple[str, ...]
    help: str
    value: str = ""
    many: bool = False
    choices: tuple[str, ...] = ()
    completes: str = ""

    @property
    def key(self) -> str:
        """The long name without its dashes, under which `Parsed` has it."""
        return self.names[-1].lstrip("-")


class Command(Record):
    """A command: its usage lines, its options, and how many operands it takes (`most` -1: any number).

    `stops`: everything after the first operand belongs to someone else. `parameters`: an unknown
    `--name=value` is a parameter of a target. `operands` is what a shell offers for an operand, as in
    `Option.completes`; `words` are the fixed words that the first operand may be.
    """

    name: str
    summary: str
    usage: tuple[str, ...]
    options: tuple[Option, ...] = ()
    about: str = ""
    examples: tuple[tuple[str, str], ...] = ()
    least: int = 0
    most: int = 0
    stops: bool = False
    parameters: bool = False
    operands: str = ""
    words: tuple[str, ...] = ()


HELP = Option(("-h", "--help"), "show this help and end")


def with_help(command: Command) -> tuple[Option, ...]:
    """The command's options and `--help`, which is not `-h` where that means something else (as for `run`)."""
    taken = any("-h" in option.names for option in command.options)
    return (*command.options, Option(HELP.names[1:], HELP.help) if taken else HELP)


class HelpWanted(Exception):
    """`--help` was given; `command` is the one to explain."""

    def __init__(self, command: Command) -> None:
        super().__init__(command.name)
        self.command = command


class Parsed:
    """What a command line said. `parameters` are (operands seen before it, name, value); `spelled` are the options that
    were written like one of these. `behind`: `--` came before the first operand.
    """

    def __init__(self) -> None:
        self.behind = False
        self.given: dict[str, list[str]] = {}
        self.operands: list[str] = []
        self.parameters: list[tuple[int, str, str]] = []
        self.spelled: list[str] = []

    def has(self, key: str) -> bool:
        """Whether a switch is on."""
        return self.given.get(key, ["false"])[-1] == "true"

    def one(self, key: str, default: str = "") -> str:
        """The value of an option, the last one where there are several."""
        return self.given.get(key, [default])[-1]

    def all(self, key: str) -> tuple[str, ...]:
        """All values of an option in the order given."""
        return tuple(self.given.get(key, ()))


def near(word: str, candidates: Iterable[str]) -> str:
    """A hint "did you mean" with the candidate most like a word, or ""."""
    from difflib import get_close_matches

    matches = get_close_matches(word, list(candidates), 1, 0.6)
    return f"did you mean `{matches[0]}`?" if matches else ""


def parse(command: Command, argv: Sequence[str]) -> Parsed:
    """Read a command line. Raises `UsageError` for what is not in the table, `HelpWanted` for `--help`."""
    return _Reader(command, argv).read()


class _Reader:
    def __init__(self, command: Command, argv: Sequence[str]) -> None:
        self.command = command
        self.left = list(reversed(argv))
        self.parsed = Parsed()
        self.table = {name: option for option in with_help(command) for name in option.names}

    def read(self) -> Parsed:
        parsed = self.parsed
        while self.left:
            word = self.left.pop()
            if word == "--":
                parsed.behind = not parsed.operands
                parsed.operands += reversed(self.left)
                break
            if word.startswith("--"):
                self._long(word)
            elif word.startswith("-") and word != "-":
                self._short(word)
            else:
                parsed.operands.append(word)
                if self.command.stops:
                    rest = list(reversed(self.left))
                    parsed.operands += rest[1:] if rest[:1] == ["--"] else rest
                    break
        self._count()
        return parsed

    def _long(self, word: str) -> None:
        name, equals, value = word.partition("=")
        option = self.table.get(name)
        if option is not None:
            self._put(option, name, value if equals else None)
            if self.command.parameters and equals:
                self.parsed.spelled.append(name[2:])
        elif self.command.parameters and equals and len(name) > 2:
            self.parsed.parameters.append((len(self.parsed.operands), name[2:], value))
        else:
            hint = near(name, (n for n in self.table if n.startswith("--")))
            if not hint and self.command.parameters:
                hint = f"a parameter of a target is written `{name}=value`"
            raise self._wrong(f"unknown option `{name}`", hint)

    def _short(self, word: str) -> None:
        letters = word[1:]
        while letters:
            name, letters = "-" + letters[0], letters[1:]
            option = self.table.get(name)
            if option is None:
                raise self._wrong(
                    f"unknown option `{name}`", near("-" + word, (n for n in self.table if n.startswith("--")))
                )
            if option.value and letters:
                self._put(option, name, letters.removeprefix("="))
                return
            if letters.startswith("="):
                self._put(option, name, letters[1:])
                return
            self._put(option, name, None)

    def _put(self, option: Option, name: str, value: str | None) -> None:
        if option.key == HELP.key:
            raise HelpWanted(self.command)
        if option.value:
            if value is None:
                if not self.left:
                    raise self._wrong(f"option `{name}` needs a value ({option.value})")
                value = self.left.pop()
        elif value is None or value.lower() in _TRUE:
            value = "true"
        elif value.lower() in _FALSE:
            value = "false"
        elif value not in option.choices:
            raise self._wrong(f"option `{name}` is a switch: `{value}` is neither true nor false")
        if option.value and option.choices and value not in option.choices:
            hint = near(value, option.choices) or "it takes " + ", ".join(f"`{c}`" for c in option.choices)
            raise self._wrong(f"option `{name}` cannot be `{value}`", hint)
        self.parsed.given.setdefault(option.key, []).append(value)

    def _count(self) -> None:
        command, operands = self.command, self.parsed.operands
        if command.words and operands and operands[0] not in command.words:
            hint = near(operands[0], command.words) or "it takes " + ", ".join(f"`{w}`" for w in command.words)
            raise self._wrong(f"`pybuild {command.name}` has no `{operands[0]}`", hint)
        if len(operands) < command.least:
            raise self._wrong(
                f"`pybuild {command.name}` needs to be told more", "usage: " + "\n       ".join(command.usage)
            )
        if 0 <= command.most < len(operands):
            raise self._wrong(f"`pybuild {command.name}` cannot take `{operands[command.most]}`")

    def _wrong(self, message: str, hint: str = "") -> UsageError:
        return UsageError(message, hint=hint or f"`pybuild {self.command.name} --help` shows what it takes")
