"""Contexts that are no directory: an address of git, a file of the web, or a tar on standard input.

As BuildKit's frontend and buildx have it: an archive is unpacked, and any
other file is the Buildfile itself; no ignore file counts; `-f` names a file
in the context, unless it is absolute or `-`. Such a context is fetched before
the graph can be made, and the graph then stands on exactly what was fetched.
"""

from __future__ import annotations

import os
import sys

from buildkit_py.errors import ContextError, SourceError, UsageError
from buildkit_py.executor.web_file import Fetched
from buildkit_py.frontend.remote import remote_source
from buildkit_py.graph.op import Copy, CopyPath, GitSource, HttpSource, moves
from buildkit_py.graph.step import Step
from buildkit_py.http.address import shown_url
from buildkit_py.image.entry import FILE
from buildkit_py.record import Record
from buildkit_py.store.faults import store_error
from buildkit_py.store.work import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from buildkit_py.api.request import BuildRequest
    from buildkit_py.api.witness import Witness
    from buildkit_py.executor.tree import Tree
    from buildkit_py.store.store import Store

    class Take(Protocol):
        """Performs a step now."""

        def __call__(self, step: Step, given: Fetched | None = None, /) -> tuple[Step, Tree]:
            """The step with what its sources are now, and its files. `given` holds the bytes of one of them."""


# No Buildfile.py: a program from elsewhere would run on this machine, outside of any sandbox.
NAMES = ("Buildfile", "Dockerfile", "dockerfile")
_FILE = "context"
_MAGIC = 512
_LARGEST_BUILDFILE = 16 << 20
_BLOCK = 1 << 20
_TRUE = ("1", "t", "T", "true", "TRUE", "True")


class Opened(Record):
    """The Buildfile's text, what it is called in errors, and the context (None: there is none)."""

    text: bytes
    name: str
    context: Step | None


def open_context(request: BuildRequest, store: Store, witness: Witness, take: Take) -> Opened:
    """What the request's remote context holds. Raises `UsageError`, `SourceError`, `ContextError`."""
    if request.file.endswith(".py"):
        raise UsageError(
            f"`{request.file}` is a program, which says itself where its files come from",
            hint="check it out and build it from its directory",
        )
    if request.remote == "-":
        witness.impure("the context came from standard input")
        return _from_input(request, store, take)
    keep = dict(request.build_args).get("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "") in _TRUE
    # An address that says so itself wins, as an argument for all contexts cannot contradict it.
    op = remote_source(request.remote, name=_FILE, short=True)
    if isinstance(op, GitSource) and keep and op.subdir == "/":
        op = op.replace(keep_git_dir=True)
    if op is None:
        raise UsageError(f"`{request.remote}` is no address of a context")
    if moves(op):
        witness.impure("a context from elsewhere is asked for at each build")
    shown = shown_url(request.remote)
    step, tree = take(Step(op, name=f"[context] {shown}"))
    if isinstance(op, HttpSource):
        return _from_file(request, step, tree, take, witness)
    return _named(request, step, tree, witness)


def _from_input(request: BuildRequest, store: Store, take: Take) -> Opened:
    """A tar, which may be long, or a Buildfile."""
    head = _exactly(_MAGIC)
    if not is_archive(head):
        if request.file:
            raise UsageError("`-` as the context is a Buildfile on standard input, so `-f` has no place")
        text = head + sys.stdin.buffer.read(_LARGEST_BUILDFILE)
        if len(text) > _LARGEST_BUILDFILE:
            raise ContextError("the Buildfile on standard input is longer than 16 MiB")
        return Opened(text, "<stdin>", None)
    given = _spooled(head, store)
    source = Step(HttpSource("", _FILE, given.digest), name="[context] standard input")
    step, tree = take(_unpacked(source), given)
    return _named(request, step, tree, None)


def _from_file(request: BuildRequest, source: Step, tree: Tree, take: Take, witness: Witness) -> Opened:
    if is_archive(_read(tree, _FILE, _MAGIC)):
        step, tree = take(_unpacked(source))
        return _named(request, step, tree, witness)
    if request.file:
        return Opened(_given_text(request, tree, witness), request.file, source)
    return Opened(_whole(tree, _FILE), shown_url(request.remote), source)


def _unpacked(source: Step) -> Step:
    op = Copy((CopyPath(f"/{_FILE}", wildcard=False, unpack=True),), "/")
    return Step(op, None, (source,), name="[context] unpack")


def _named(request: BuildRequest, step: Step, tree: Tree, witness: Witness | None) -> Opened:
    """The Buildfile that `-f` names, else the first of the usual names."""
    if request.file:
        name = "<stdin>" if request.file == "-" else request.file
        return Opened(_given_text(request, tree, witness), name, step)
    for name in NAMES:
        if tree.lookup(name) is not None:
            return Opened(_whole(tree, name), name, step)
    listed = ", ".join(f"`{name}`" for name in NAMES[:-1])
    raise ContextError(
        "the context has no Buildfile",
        at=shown_url(request.remote) if request.remote != "-" else "standard input",
        hint=f"one of {listed} is looked for; `-f` names another",
    )


def _given_text(request: BuildRequest, tree: Tree, witness: Witness | None) -> bytes:
    """The text that `-f` names: standard input, a file of this machine (absolute), a file of the context."""
    if request.file == "-":
        if request.remote == "-":
            raise UsageError("the context and the Buildfile cannot both be on standard input")
        if witness is not None:
            witness.impure("the Buildfile came from standard input")
        return sys.stdin.buffer.read()
    if not request.file.startswith("/"):
        return _whole(tree, request.file)
    if witness is not None:
        witness.file(request.file)
    try:
        with open(request.file, "rb") as file:
            return file.read()
    except OSError as problem:
        raise SourceError(f"the Buildfile cannot be read: {problem.strerror}", at=request.file) from problem


def _whole(tree: Tree, name: str) -> bytes:
    text = _read(tree, name, _LARGEST_BUILDFILE + 1)
    if len(text) > _LARGEST_BUILDFILE:
        raise ContextError(f"the Buildfile `{name}` is longer than 16 MiB")
    return text


def _read(tree: Tree, name: str, most: int) -> bytes:
    """The beginning of a file of the context."""
    entry = tree.lookup(name)
    if entry is None or entry.kind != FILE:
        missing = "no file" if entry is None else "a directory, or no regular file,"
        raise ContextError(f"there is {missing} `{name}` in the context")
    if entry.data is not None:
        return bytes(entry.data[:most])
    fd = os.open(entry.source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        return file.read(most)


def is_archive(head: bytes) -> bool:
    """Whether a file that begins so is taken for an archive: compressed, or a tar by its first header's checksum."""
    from buildkit_py.image.compress import kind_of_bytes

    if len(head) >= 6 and kind_of_bytes(head[:6]) != "none":
        return True
    if len(head) < _MAGIC:
        return False
    field = head[148:156].strip(b" \0")
    if not field or any(digit not in b"01234567" for digit in field):
        return False
    # POSIX pax, "ustar Interchange Format": the sum of all bytes with those of the checksum as spaces.
    return int(field, 8) == sum(head[:148]) + 8 * ord(" ") + sum(head[156:_MAGIC])


def _exactly(size: int) -> bytes:
    """The first bytes of standard input, fewer only at its end."""
    pieces = b""
    while len(pieces) < size and (piece := sys.stdin.buffer.read(size - len(pieces))):
        pieces += piece
    return pieces


def _spooled(head: bytes, store: Store) -> Fetched:
    """The rest of standard input in a file of the store."""
    from hashlib import sha256

    hasher, size = sha256(), 0
    fd, path = store.work.temporary()
    try:
        piece = head
        while piece:
            hasher.update(piece)
            size += len(piece)
            write_all(fd, piece)
            piece = sys.stdin.buffer.read(_BLOCK)
        os.utime(fd, (0, 0))
    except OSError as problem:
        raise store_error(problem, store.root, "keep the context") from problem
    finally:
        os.close(fd)
    return Fetched("sha256:" + hasher.hexdigest(), size, 0, path)
