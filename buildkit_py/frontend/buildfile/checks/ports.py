"""Rules about what EXPOSE names."""

from __future__ import annotations

from buildkit_py.frontend.buildfile.checks.rule import Edit, Finding
from buildkit_py.frontend.buildfile.expand import expand_words
from buildkit_py.frontend.buildfile.syntax import Expose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.frontend.buildfile.checks.subject import Subject
    from buildkit_py.frontend.buildfile.facts import Applied
    from buildkit_py.frontend.buildfile.syntax import Word


def expose_proto_casing(subject: Subject) -> Iterator[Finding]:
    """`80/TCP`."""
    for applied, word, spec in _ports(subject):
        port, slash, protocol = spec.rpartition("/")
        if slash and protocol != protocol.lower():
            message = f"Defined protocol '{spec}' in EXPOSE instruction should be lowercase"
            yield _finding(applied, word, message, spec, f"{port}/{protocol.lower()}")


def expose_invalid_format(subject: Subject) -> Iterator[Finding]:
    """`127.0.0.1:80:80`: an address and a port of the host, which EXPOSE does nothing with."""
    for applied, word, spec in _ports(subject):
        from buildkit_py import port_spec  # in most files nothing is exposed

        address, host, container = port_spec.split(spec)
        if address or host:
            message = f"EXPOSE instruction should not define an IP address or host-port mapping, found '{spec}'"
            yield _finding(applied, word, message, spec, container)


def _ports(subject: Subject) -> Iterator[tuple[Applied, Word, str]]:
    for applied in subject.facts.applied:
        if isinstance(applied.node, Expose):
            scope = dict(applied.before.env)
            for word in applied.node.ports:
                for spec in expand_words(word.text, scope.get, escape=subject.tree.escape):
                    yield applied, word, spec


def _finding(applied: Applied, word: Word, message: str, spec: str, new: str) -> Finding:
    if applied.trigger:
        return Finding(applied.line_of, message, applied.line_of.position)
    at = word.position
    # Of a word that expands the ports are not what stands there.
    edits = (Edit(at.line, at.column, spec, new),) if word.text == spec else ()
    return Finding(applied.node, message, at, edits, width=len(word.text))
