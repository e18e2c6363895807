"""Rules about the form in which something is written where a better one exists."""

from __future__ import annotations

from buildkit_py.frontend.buildfile.checks.rule import Edit, Finding
from buildkit_py.frontend.buildfile.checks.subject import place_of, written_keyword
from buildkit_py.frontend.buildfile.syntax import (
    Arg,
    Cmd,
    Entrypoint,
    Env,
    From,
    HealthcheckStep,
    Label,
    Maintainer,
    Pair,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.frontend.buildfile.checks.subject import Subject
    from buildkit_py.frontend.buildfile.facts import Applied
    from buildkit_py.frontend.buildfile.syntax import Instruction

_PLAIN_KEY = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def no_empty_continuation(subject: Subject) -> Iterator[Finding]:
    """An empty line between the lines of one instruction; BuildKit names the instruction's last line."""
    for at, rows, last in subject.tree.empty_lines:
        node = next((node for node in subject.nodes if node.position.line < at.line <= node.line_end), None)
        if node is not None:
            edits = tuple([Edit(row, 1, text, "") for row, text in rows])
            yield Finding(node, "Empty continuation line", at, edits, (last, last))


def maintainer_deprecated(subject: Subject) -> Iterator[Finding]:
    """MAINTAINER."""
    for node in subject.nodes:
        if isinstance(node, Maintainer):
            message = "Maintainer instruction is deprecated in favor of using label"
            yield Finding(node, message, node.position, width=len(node.keyword))


def json_args_recommended(subject: Subject) -> Iterator[Finding]:
    """CMD and ENTRYPOINT in the shell form, unless SHELL says which shell it is."""
    for applied in subject.facts.applied:
        node = applied.node
        if isinstance(node, Cmd | Entrypoint) and node.command.argv is None and not applied.before.config.shell:
            message = (
                f"JSON arguments recommended for {written_keyword(node)} to prevent unintended behavior related to "
                "OS signals"
            )
            yield Finding(applied.line_of, message, applied.line_of.position, width=len(node.keyword))


def legacy_key_value_format(subject: Subject) -> Iterator[Finding]:
    """`ENV name value`."""
    for applied in subject.facts.applied:
        node = applied.node
        if isinstance(node, Env | Label) and node.pairs[0].legacy:
            keyword = written_keyword(node)
            message = f'"{keyword} key=value" should be used instead of legacy "{keyword} key value" format'
            edits = () if applied.trigger else _with_equals(node, node.pairs[0], subject.tree.escape)
            yield Finding(applied.line_of, message, applied.line_of.position, edits, width=len(node.keyword))


def multiple_instructions_disallowed(subject: Subject) -> Iterator[Finding]:
    """CMD, ENTRYPOINT or HEALTHCHECK twice in a stage; shown at the one that is lost."""
    for steps in subject.by_stage().values():
        last: dict[str, Applied] = {}
        for applied in steps:
            node = applied.node
            if isinstance(node, Cmd | Entrypoint | HealthcheckStep):
                earlier = last.get(node.keyword)
                if earlier is not None:
                    message = (
                        f"Multiple {written_keyword(node)} instructions should not be used in the same stage because "
                        "only the last one will be used"
                    )
                    yield Finding(earlier.line_of, message, earlier.line_of.position, width=len(node.keyword))
                last[node.keyword] = applied


def invalid_definition_description(subject: Subject) -> Iterator[Finding]:
    """A comment directly above an ARG or a named FROM that does not begin with its name."""
    for node in subject.nodes:
        if isinstance(node, From) and node.name:
            names = [node.name]
        elif isinstance(node, Arg):
            names = [pair.key for pair in node.pairs]
        else:
            continue
        comments = [text for text in subject.comments(node) if not text.startswith("check=")]
        if comments and comments[-1].split(" ")[0] not in names:
            shown = names[0] if len(names) == 1 else "<arg_key>"
            message = f"Comment for {node.keyword} should follow the format: `# {shown} <description>`"
            yield Finding(node, message, node.position, width=len(node.keyword))


def _with_equals(node: Instruction, pair: Pair, escape: str) -> tuple[Edit, ...]:
    """`name=value` for the old form, where that cannot change what the value expands to."""
    value = pair.value or ""
    if not set(pair.key) <= _PLAIN_KEY or set(value) & {"'", '"', escape, "\n"}:
        return ()
    text = node.source.rstrip()
    offset = len(text) - len(value)
    start = text.rfind(pair.key, 0, offset)
    at = place_of(node, start)
    if at is None or not text.endswith(value) or text[start + len(pair.key) : offset].strip():
        return ()
    new = f'"{value}"' if any(ch.isspace() for ch in value) else value
    return (Edit(at.line, at.column, text[start:], f"{pair.key}={new}"),)
