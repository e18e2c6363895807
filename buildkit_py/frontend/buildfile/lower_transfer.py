"""COPY and ADD: words, flags and heredocs of one instruction into a `Copy` step."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend import assemble
from buildkit_py.frontend.buildfile.heredoc import file_name
from buildkit_py.frontend.remote import remote_source
from buildkit_py.graph.op import CopyPath, HttpSource, Inline
from buildkit_py.graph.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.assemble import Stage
    from buildkit_py.frontend.buildfile.lower_stage import StageLowering
    from buildkit_py.frontend.buildfile.syntax import Flag, Transfer, Word


def lower_transfer(lowering: StageLowering, stage: Stage, node: Transfer) -> Stage:
    """The stage after a COPY or ADD. Raises `BuildfileError` for sources and flags that are not possible here."""
    adding = node.keyword.upper() == "ADD"
    flags = {flag.name: flag for flag in node.flags}
    exclude = tuple(flag.value or "" for flag in node.flags if flag.name == "exclude")
    checksum = _value(lowering, stage, flags.get("checksum"))
    sources: list[Step] = []
    local: int | None = None
    items: list[CopyPath | Inline] = []
    shown: list[str] = []
    for word in node.sources:
        if node.heredocs and _names_heredoc(word):
            continue
        path = lowering.expand(stage, word.text, word.position)
        shown.append(path)
        remote = _remote(lowering, path, word, node, checksum)
        if remote is not None:
            items.append(_taken(remote, len(sources), flags))
            sources.append(remote)
            continue
        if local is None:
            local = len(sources)
            sources.append(_local(lowering, node, flags.get("from")))
        items.append(CopyPath(path or "/", local))
    if "checksum" in flags:
        _check_checksum(lowering, flags["checksum"], len(node.sources), local is None and bool(sources))
    for document in node.heredocs:
        body = document.body
        if document.expand:
            body = lowering.expand(stage, body, document.position, raw=True)
        shown.append(f"<<{document.name}")
        name = file_name(document.name, lowering.place(document.position))
        items.append(Inline(name, body.encode("utf-8", "surrogateescape")))
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
        sources=tuple(sources),
        shown=tuple(shown),
        keyword="ADD" if adding else "COPY",
        owner=_value(lowering, stage, flags.get("chown")),
        mode=_value(lowering, stage, flags.get("chmod")),
        exclude=exclude,
        parents=_is_on(flags.get("parents")),
        link=_is_on(flags.get("link")),
        unpack=_is_on(flags["unpack"]) if "unpack" in flags else adding,
        label=lowering.label(_shown(node, shown, dest)),
        position=lowering.place(node.position),
    )


def _names_heredoc(word: Word) -> bool:
    return word.text.lstrip("0123456789").startswith("<<")


def _remote(lowering: StageLowering, path: str, word: Word, node: Transfer, checksum: str) -> Step | None:
    """The step of a source that is an address; None for a path."""
    at = lowering.place(word.position)
    keep = next((_is_on(flag) for flag in node.flags if flag.name == "keep-git-dir"), None)
    op = remote_source(path, checksum=checksum, keep_git_dir=keep, at=at)
    if op is None:
        return None
    if node.keyword.upper() != "ADD":
        kind = "a URL" if isinstance(op, HttpSource) else "git"
        raise BuildfileError(f"COPY cannot take files from {kind}", at=at, hint="ADD can, COPY copies local files")
    return lowering.build.remote(op, lowering.node.title, at)


def _taken(source: Step, index: int, flags: dict[str, Flag]) -> CopyPath:
    """What ADD takes of a remote source: a file as it is, unless told to unpack it, or a whole tree."""
    if isinstance(source.op, HttpSource):
        return CopyPath("/" + source.op.name, index, wildcard=False, unpack=_is_on(flags.get("unpack")))
    return CopyPath("/", index, wildcard=False, unpack=False, whole=True)


def _local(lowering: StageLowering, node: Transfer, origin: Flag | None) -> Step:
    """What paths are looked for in."""
    if origin is not None and origin.value:
        return lowering.build.source(origin.value, lowering.node, lowering.place(origin.position))[0]
    return lowering.build.context(lowering.place(node.position))


def _check_checksum(lowering: StageLowering, flag: Flag, count: int, remote: bool) -> None:
    at = lowering.place(flag.position)
    if count != 1:
        raise BuildfileError("--checksum is for one source, and there are several", at=at)
    if not remote:
        raise BuildfileError(
            "--checksum is for sources from the web or from git",
            at=at,
            hint="leave it away: a file of the context is compared by what it holds in any case",
        )


def _value(lowering: StageLowering, stage: Stage, flag: Flag | None) -> str:
    return lowering.expand(stage, flag.value or "", flag.position) if flag is not None else ""


def _is_on(flag: Flag | None) -> bool:
    return flag is not None and (flag.value is None or flag.value.lower() == "true")


def _shown(node: Transfer, sources: list[str], dest: str) -> str:
    words = [node.keyword.upper()]
    words += [f"--{flag.name}={flag.value}" if flag.value is not None else f"--{flag.name}" for flag in node.flags]
    return " ".join((*words, *sources, dest))
