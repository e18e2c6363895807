"""Messages: an error or a notice as lines for a person, in the form that docs/style.md fixes."""

from __future__ import annotations

from buildkit_py.errors import PybuildError, SecretLeaked, StepFailed
from buildkit_py.report import color
from buildkit_py.report.escape import line, visible
from buildkit_py.source_map import Position, caret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from buildkit_py.events import Notice, ShellOpened, StepRetried

_MOST_SOURCE = 1 << 20


def error_text(error: PybuildError, stream: TextIO, step_name: str = "") -> str:
    """What a person sees of an error; ends with a newline.

    A failed step's last lines come first, because the message below them is what stays on the screen.
    """
    on = color.wanted(stream)
    out = []
    if isinstance(error, StepFailed) and error.tail:
        out += _last_lines(error.tail, step_name, on)
    out.append(_headline("error", error.message, error.at, on))
    # The line of a Buildfile may be where the secret stands.
    excerpt = "" if isinstance(error, SecretLeaked) else error.excerpt or _source_line(error.at)
    if excerpt:
        out += [line(text) for text in excerpt.split("\n")]
    out += [f"{color.paint('note:', 'note', on)} {_lines(note)}" for note in error.notes]
    if error.hint:
        out += ["", f"{color.paint('hint:', 'hint', on)} {_lines(error.hint)}"]
    return "\n".join(out) + "\n"


def notice_text(notice: Notice, stream: TextIO) -> str:
    """What a person sees of a notice; ends with a newline."""
    return notice_lines(notice, color.wanted(stream))


def notice_lines(notice: Notice, on: bool) -> str:
    """As `notice_text`, with colour or without."""
    kind = "warning" if notice.level == "warning" else "note"
    message = f"{notice.rule}: {notice.message}" if notice.rule else notice.message
    out = [_headline(kind, message, notice.position, on)]
    if notice.hint:
        out.append(f"{color.paint('hint:', 'hint', on)} {_lines(notice.hint)}")
    return "\n".join(out) + "\n"


def retry_text(event: StepRetried) -> str:
    """What a person sees of a new attempt, on one line."""
    return f"RETRY {event.attempt}/{event.attempts}: {visible(event.reason)}"


_WORDS = {
    "retry": "run the step again, in the files as they are then",
    "commit": "take the files as they are for what the step gives",
    "exit": "end the build",
}


def shell_text(event: ShellOpened, stream: TextIO, step_name: str, *, tail: bool) -> str:
    """What a person sees before a shell where a step failed; with the step's last lines, if they are wanted."""
    on = color.wanted(stream)
    out = []
    if tail and event.tail:
        out += _last_lines(event.tail, step_name, on)
    out.append(_headline("error", event.message, None, on))
    out.append("This shell is where it ran:")
    out += [f"  {color.paint(word.ljust(8), 'note', on)}{_WORDS[word]}" for word in (*event.words, "exit")]
    return "\n".join(out) + "\n"


def _last_lines(tail: tuple[str, ...], step_name: str, on: bool) -> list[str]:
    rule = color.paint("------", "dim", on)
    return [rule, *([f" > {visible(step_name)}:"] if step_name else []), *(line(text) for text in tail), rule]


def _source_line(at: object) -> str:
    """The line of a file that a position names, with a caret; "" where there is none to show."""
    if not isinstance(at, Position):
        return ""
    try:
        with open(at.file, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read(_MOST_SOURCE).split("\n")
    except OSError:
        return ""
    if not 0 < at.line <= len(lines):
        return ""
    text = lines[at.line - 1].rstrip()
    if not text:
        return ""
    if at.column == 1 and text[:1].isspace():  # a line of Python, of which no column is known
        return caret(text, len(text) - len(text.lstrip()) + 1, len(text.strip()))
    word = text[at.column - 1 :].split(" ", 1)[0]
    return caret(text, at.column, len(word))


def _headline(kind: str, message: str, at: object, on: bool) -> str:
    place = f"{visible(str(at))}: " if at is not None and str(at) else ""
    return f"{color.paint(kind + ':', kind, on)} {place}{_lines(message)}"


def _lines(text: str) -> str:
    return "\n".join(line(part) for part in text.split("\n"))
