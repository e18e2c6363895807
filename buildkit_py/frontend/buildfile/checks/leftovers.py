"""Our rules about variables that do nothing, or not what they seem to."""

from __future__ import annotations

from buildkit_py.frontend.buildfile.checks.rule import Finding
from buildkit_py.frontend.buildfile.syntax import Arg, Env, From
from buildkit_py.frontend.platform_args import PLATFORM_ARGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.frontend.buildfile.checks.subject import Subject
    from buildkit_py.frontend.buildfile.facts import Applied
    from buildkit_py.frontend.buildfile.syntax import Instruction, Pair

# Programs read these without the file naming them: proxies, tools' settings, what BuildKit itself looks at, and the
# platforms, as `xx-apk` and the others of https://github.com/tonistiigi/xx do.
_READ_BY_PROGRAMS = PLATFORM_ARGS | frozenset(
    ("DEBIAN_FRONTEND", "SOURCE_DATE_EPOCH", "LANG", "TZ", "PATH", "HOME", "MAKEFLAGS", "CFLAGS", "CXXFLAGS", "LDFLAGS")
)
_PREFIXES = ("BUILDKIT_", "PIP_", "UV_", "NPM_", "YARN_", "GO", "CGO_", "CARGO_", "RUST", "PYTHON", "NODE_", "LC_")


def unused_arg(subject: Subject) -> Iterator[Finding]:
    """An ARG whose name is nowhere below it, and which no program is known to read."""
    nodes = subject.nodes
    for at, node in enumerate(nodes):
        if not isinstance(node, Arg):
            continue
        for number, pair in enumerate(node.pairs):
            if pair.key in _READ_BY_PROGRAMS or pair.key.startswith(_PREFIXES) or pair.key.lower().endswith("_proxy"):
                continue
            rest = [other.value or "" for other in node.pairs[number + 1 :]]
            if not any(_names(text, pair.key) for text in rest) and not _used_below(nodes[at + 1 :], pair.key):
                message = f"the ARG `{pair.key}` is used nowhere below"
                yield Finding(node, message, pair.position, width=len(pair.key))


def shadowed_env(subject: Subject) -> Iterator[Finding]:
    """ARG and ENV of one name, where the later one hides the earlier: for the steps, but not for the image."""
    for steps in subject.by_stage().values():
        args: dict[str, Applied] = {}
        for applied in steps:
            node = applied.node
            if applied.trigger or not isinstance(node, Arg | Env):
                continue
            for pair in node.pairs:
                if isinstance(node, Arg):
                    args[pair.key] = applied
                    if _is_set(applied, pair):
                        message = f"steps below see the ARG `{pair.key}`, the image keeps the ENV of that name"
                        yield Finding(node, message, pair.position, width=len(pair.key))
                elif pair.key in args and not _names(pair.value or "", pair.key):
                    line = args[pair.key].node.position.line
                    message = f"the ENV `{pair.key}` hides the ARG of line {line}: --build-arg does nothing below"
                    yield Finding(node, message, pair.position, width=len(pair.key))


def _is_set(applied: Applied, pair: Pair) -> bool:
    """Whether an ARG gets a value, while the image's own configuration has a variable of that name."""
    config = dict(applied.before.config.env)
    return pair.value is not None and pair.key in config


def _used_below(nodes: tuple[Instruction, ...], name: str) -> bool:
    for node in nodes:
        texts = [node.source, *(document.body for document in getattr(node, "heredocs", ()))]
        if isinstance(node, From):
            texts = [node.image.text, *(flag.value or "" for flag in node.flags)]
        if any(_names(text, name) for text in texts):
            return True
    return False


def _names(text: str, name: str) -> bool:
    """Whether the name stands in a text as a whole word."""
    at = text.find(name)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(name) : at + len(name) + 1]
        if not (before == "_" or before.isalnum() or after == "_" or after.isalnum()):
            return True
        at = text.find(name, at + 1)
    return False
