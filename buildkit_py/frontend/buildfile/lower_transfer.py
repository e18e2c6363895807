"""COPY and ADD: words, flags and heredocs of one instruction into a `Copy` step."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend import assemble
from buildkit_py.graph.op import CopyPath, Inline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.assemble import Stage
    from buildkit_py.frontend.buildfile.lower_stage import StageLowering
    from buildkit_py.frontend.buildfile.syntax import Flag, Transfer, Word
    from buildkit_py.graph.step import Step

_WEB = ("http://", "https://")
_GIT = ("git@", "git://", "ssh://")


def lower_transfer(lowering: StageLowering, stage: Stage, node: Transfer) -> Stage:
    """The stage after a COPY or ADD. Raises `BuildfileError` for sources and flags that are not possible here."""
    adding = node.keyword.upper() == "ADD"
    flags = {flag.name: flag for flag in node.flags}
    exclude = tuple(flag.value or "" for flag in node.flags if flag.name == "exclude")
    sources: tuple[Step, ...] = ()
    items: list[CopyPath | Inline] = []
    for word in node.sources:
        if node.heredocs and _names_heredoc(word):
            continue
        path = lowering.expand(stage, word.text, word.position)
        _refuse_remote(lowering, path, word, adding)
        items.append(CopyPath(path))
    if "checksum" in flags:
        at = lowering.place(flags["checksum"].position)
        raise BuildfileError("--checksum is for sources from the web or from git", at=at)
    if items:
        origin = flags.get("from")
        if origin is not None and origin.value:
            step, _ = lowering.build.source(origin.value, lowering.node, lowering.place(origin.position))
        else:
            step = lowering.build.context(lowering.place(node.position))
        sources = (step,)
    for document in node.heredocs:
        body = document.body
        if document.expand:
            body = lowering.expand(stage, body, document.position, raw=True)
        items.append(Inline(document.name, body.encode("utf-8", "surrogateescape")))
    dest = lowering.expand(stage, node.dest.text, node.dest.position)
    if len(items) > 1 and node.heredocs and not dest.endswith(("/", "/.")):
        at = lowering.place(node.dest.position)
        raise BuildfileError(
            f"with more than one source, `{dest}` has to be a directory", at=at, hint="end it with `/`"
        )
    return assemble.copy(
        stage,
        tuple(items),
        dest,
        sources=sources,
        keyword="ADD" if adding else "COPY",
        owner=_value(lowering, stage, flags.get("chown")),
        mode=_value(lowering, stage, flags.get("chmod")),
        exclude=exclude,
        parents=_is_on(flags.get("parents")),
        link=_is_on(flags.get("link")),
        unpack=_is_on(flags["unpack"]) if "unpack" in flags else adding,
        label=lowering.label(_shown(node, items, dest)),
        position=lowering.place(node.position),
    )


def _names_heredoc(word: Word) -> bool:
    return word.text.lstrip("0123456789").startswith("<<")


def _refuse_remote(lowering: StageLowering, path: str, word: Word, adding: bool) -> None:
    if not path.startswith(_WEB + _GIT):
        return
    at = lowering.place(word.position)
    kind = "git" if path.startswith(_GIT) or path.partition("#")[0].endswith(".git") else "a URL"
    if not adding:
        raise BuildfileError(f"COPY cannot take files from {kind}", at=at, hint="ADD can, COPY copies local files")
    raise BuildfileError(
        f"ADD from {kind} is not supported yet", at=at, hint="fetch it with RUN, or put it into the context"
    )


def _value(lowering: StageLowering, stage: Stage, flag: Flag | None) -> str:
    return lowering.expand(stage, flag.value or "", flag.position) if flag is not None else ""


def _is_on(flag: Flag | None) -> bool:
    return flag is not None and (flag.value is None or flag.value.lower() == "true")


def _shown(node: Transfer, items: list[CopyPath | Inline], dest: str) -> str:
    words = [node.keyword.upper()]
    words += [f"--{flag.name}={flag.value}" if flag.value is not None else f"--{flag.name}" for flag in node.flags]
    words += [item.path if isinstance(item, CopyPath) else f"<<{item.name}" for item in items]
    return " ".join((*words, dest))
