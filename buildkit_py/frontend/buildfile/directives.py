"""Parser directives: the `# name=value` comments at the very top of a Buildfile.

Known are `escape`, `syntax` and `check`. The first line that is none of them
(a blank line, another comment, an instruction) ends the search. After a `#!`
line `syntax` and `check` still count, `escape` does not: so BuildKit has it.
"""

from __future__ import annotations

from buildkit_py.frontend.buildfile.suggest import did_you_mean

NAMES = ("escape", "syntax", "check")
_CHECK_KEYS = ("skip", "error", "experimental")
_BOOLEANS = frozenset(("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"))


class DirectiveProblem(ValueError):
    """A directive that is wrong: the message, the column (from 1) of what is wrong, its width, a hint."""

    def __init__(self, message: str, column: int, width: int, hint: str = "") -> None:
        super().__init__(message)
        self.column = column
        self.width = width
        self.hint = hint


class Directives:
    """What the top of a file says; `feed` it line by line while `searching`."""

    def __init__(self) -> None:
        self.escape = "\\"
        self.found: dict[str, str] = {}
        self.searching = True
        self._script = False

    def feed(self, line: str, number: int) -> bool:
        """Whether this line is a directive. Raises `DirectiveProblem` for a wrong one."""
        if number == 1 and line.startswith("#!"):
            self._script = True
            return False
        comment = line.lstrip()
        name, begin, value, column = split(comment) or ("", 0, "", 0)
        name = name.lower()
        if name not in NAMES:
            self.searching = False
            return False
        indent = len(line) - len(comment)
        if name in self.found:
            raise DirectiveProblem(f"the `{name}` directive is given twice", indent + begin + 1, len(name))
        column += indent + 1
        if name == "escape" and not self._script:
            if value not in ("\\", "`"):
                raise DirectiveProblem(
                    f"`{value}` cannot be the escape character", column, len(value), "it is `\\` or a backtick"
                )
            self.escape = value
        elif name == "check":
            _verify_check(value, column)
        self.found[name] = value
        return True


def split(comment: str) -> tuple[str, int, str, int] | None:
    """The name of `# name = value`, where it begins, the value and where that begins; None for any other comment.

    It is what `#\\s*([a-zA-Z][a-zA-Z0-9]*)\\s*=\\s*(.+?)\\s*$` matches: every file is asked, and expressions take
    5 ms to load and compile.
    """
    if not comment.startswith("#"):
        return None
    rest = comment[1:].lstrip()
    begin = len(comment) - len(rest)
    left, equals, right = rest.partition("=")
    name = left.rstrip()
    if not equals or not (name.isascii() and name.isalnum() and name[:1].isalpha()):
        return None
    value = right.strip()
    at = len(right) - len(right.lstrip())
    if not value:  # of blanks alone the last one is the value; the end of a line is none
        value = right.removesuffix("\n")[-1:]
        at = len(right.removesuffix("\n")) - 1
    if not value or "\n" in value:
        return None
    return name, begin, value, len(comment) - len(right) + at


def _verify_check(value: str, column: int) -> None:
    parts = value.split(";")
    if len(parts) > len(_CHECK_KEYS):
        raise DirectiveProblem("the `check` directive has more than three parts", column, len(value))
    for part in parts:
        key, equals, setting = part.strip().partition("=")
        key, setting = key.strip(), setting.strip()
        at = column + value.index(part.strip())
        if not equals:
            raise DirectiveProblem(f"`{part.strip()}` in the `check` directive is not key=value", at, len(part.strip()))
        if key not in _CHECK_KEYS:
            hint = did_you_mean(key, _CHECK_KEYS) or "known are `skip`, `error` and `experimental`"
            raise DirectiveProblem(f"unknown key `{key}` in the `check` directive", at, len(key), hint)
        if key == "error" and setting not in _BOOLEANS:
            raise DirectiveProblem(f"`error` in the `check` directive is true or false, not `{setting}`", at, len(part))
