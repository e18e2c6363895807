"""The commands that a RUN runs, as far as their words can be read without running a shell.

Quotes and escapes are honoured, variables are left as they are written, and
what a command substitutes is not looked into. Good enough to find `apt-get
update` among other commands, which is all that rules ask of it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.buildfile.syntax import RunStep

_BREAKS = frozenset(";&|\n(){}")
# They run the command that follows them.
_WRAPPERS = frozenset(("sudo", "env", "exec", "time", "command", "nice", "then", "do", "else", "if", "!"))
_SHELLS = frozenset(("sh", "bash", "ash", "dash", "zsh"))


def commands_of(node: RunStep) -> list[list[str]]:
    """The words of each simple command, without assignments and wrappers (`sudo`) in front of it."""
    argv = node.command.argv
    if argv is not None:
        name = argv[0].rpartition("/")[2] if argv else ""
        if name in _SHELLS and len(argv) > 2 and argv[1].endswith("c"):
            return commands(argv[2])
        return [list(argv)] if argv else []
    texts = [node.command.shell or "", *(document.body for document in node.heredocs)]
    return [command for text in texts for command in commands(text)]


def commands(text: str) -> list[list[str]]:
    """The words of each simple command of a script."""
    found: list[list[str]] = []
    words: list[str] = []
    word: str | None = None
    at, end = 0, len(text)
    while at < end:
        ch = text[at]
        at += 1
        if ch == "\\" and at < end:
            # An escaped line end joins lines, any other escape makes its character plain.
            if text[at] != "\n":
                word = (word or "") + text[at]
            at += 1
        elif ch in "'\"":
            close = _closing(text, at, ch)
            word = (word or "") + text[at:close]
            at = close + 1
        elif ch in _BREAKS or ch.isspace() or (ch == "#" and word is None):
            if word is not None:
                words.append(word)
                word = None
            if ch in _BREAKS and words:
                found.append(words)
                words = []
            if ch == "#":
                at = text.find("\n", at) if "\n" in text[at:] else end
        else:
            word = (word or "") + ch
    if word is not None:
        words.append(word)
    if words:
        found.append(words)
    return [bare for one in found if (bare := _bare(one))]


def _closing(text: str, at: int, quote: str) -> int:
    while at < len(text) and text[at] != quote:
        at += 2 if quote == '"' and text[at] == "\\" else 1
    return min(at, len(text))


def _bare(words: list[str]) -> list[str]:
    wraps = False
    for number, word in enumerate(words):
        name, equals, _ = word.partition("=")
        assigns = equals and name.replace("_", "a").isalnum()
        wraps = wraps or word in _WRAPPERS
        if not (assigns or word in _WRAPPERS or (wraps and word.startswith("-"))):
            return words[number:]
    return []


def operands(command: list[str]) -> list[str]:
    """The words of a command that are no options, its name first and without its directory."""
    return [command[0].rpartition("/")[2], *(word for word in command[1:] if not word.startswith("-"))]
