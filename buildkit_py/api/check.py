"""Checking a Buildfile without building it: what the rules find, in the whole file or in what a target needs."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from tempfile import TemporaryDirectory

from buildkit_py.api.session import Session
from buildkit_py.api.witness import Witness
from buildkit_py.errors import BuildfileError, ImageNotFound, PybuildError, SourceError, UsageError
from buildkit_py.frontend.buildfile.checks import registry, settings
from buildkit_py.frontend.buildfile.checks.library import called, is_library, of_the_file
from buildkit_py.frontend.buildfile.checks.mend import applicable
from buildkit_py.frontend.buildfile.checks.run import run
from buildkit_py.frontend.buildfile.checks.subject import Subject
from buildkit_py.frontend.buildfile.facts import Facts
from buildkit_py.frontend.buildfile.lower import survey
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.target import Options, Resolved
from buildkit_py.image.config import ImageConfig, ImageDocument
from buildkit_py.record import Record
from buildkit_py.whole_file import read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from buildkit_py.frontend.buildfile.checks.rule import Finding
    from buildkit_py.frontend.buildfile.syntax import Buildfile
    from buildkit_py.registry.client import Client
    from buildkit_py.registry.resolve import ImageResolver
    from buildkit_py.source_map import Position


class CheckRequest(Record):
    """`file` is an absolute path or "-" for standard input, `context` a directory or "".

    `target` "" means the whole file. `own`: our rules run, too. `fetch`: base
    images that the store does not have are asked for at their registries.
    """

    file: str
    context: str = ""
    target: str = ""
    build_args: tuple[tuple[str, str], ...] = ()
    build_contexts: tuple[tuple[str, str], ...] = ()
    platform: str = ""
    own: bool = True
    fetch: bool = False


class Checked(Record):
    """`name` is what places show, `text` the whole file. `error` is what is wrong with it beyond any check."""

    name: str
    text: str
    tree: Buildfile | None
    facts: Facts
    findings: tuple[Finding, ...] = ()
    error: PybuildError | None = None
    fails: bool = False


def read(file: str) -> bytes:
    """The bytes of a Buildfile. Raises `UsageError` for one in Python, `SourceError`, `BuildfileError`."""
    if file == "-":
        return sys.stdin.buffer.read()
    if file.endswith(".py"):
        raise UsageError(
            f"`{os.path.relpath(file)}` is Python, which these commands do not read", hint="name a Buildfile with `-f`"
        )
    if os.path.isdir(file):
        raise SourceError("this is a directory, not a Buildfile", at=file)
    try:
        return read_whole(file)
    except OSError as problem:
        raise BuildfileError(f"the file cannot be read: {problem.strerror}", at=os.path.relpath(file)) from problem


def shown_name(file: str) -> str:
    """How places name a file."""
    return "<stdin>" if file == "-" else os.path.relpath(file)


def check(request: CheckRequest, data: bytes | None = None) -> Checked:
    """What the rules find in a file, or in `data`, which is then its text.

    What is wrong with the file itself is the answer's `error` and not raised.
    Raises what `read` raises, and `UsageError` for a build arg or a target
    that means nothing.
    """
    data = read(request.file) if data is None else data
    name, text = shown_name(request.file), data.decode("utf-8", "surrogateescape")
    facts = Facts()
    try:
        tree = parse_text(data, name)
    except BuildfileError as problem:
        return Checked(name, text, None, facts, error=problem)
    wanted = settings.of_file(tree, dict(request.build_args), own=request.own)
    error: PybuildError | None = None
    library = is_library(tree) and not request.target
    if library:
        facts.unknown.add("*")  # the variables of whoever calls a function
    try:
        look(request, called(tree) if library else tree, data, facts)
    except UsageError:
        raise
    except PybuildError as problem:
        error = problem
    found = run(Subject(tree, facts), registry.RULES, wanted)
    findings = applicable(text, of_the_file(found) if library else found)
    return Checked(name, text, tree, facts, findings, error, wanted.error)


def look(request: CheckRequest, tree: Buildfile, data: bytes, facts: Facts) -> None:
    """Lower what the request is about, for the sake of the facts. Raises what lowering raises."""
    with _session(request) as session:
        _survey(request, tree, data, session, facts)


def _survey(request: CheckRequest, tree: Buildfile, data: bytes, session: Session | None, facts: Facts) -> None:
    if not request.context:
        # A text alone: what it copies is not there to be looked at, but that is not its fault.
        with TemporaryDirectory() as empty:
            _survey(request.replace(context=empty), tree, data, session, facts)
        return
    options = Options(
        context=request.context,
        build_args=request.build_args,
        build_contexts=request.build_contexts,
        platform=request.platform,
    )
    resolver = _Shelf(session, request.fetch, facts)
    file = "" if request.file == "-" else request.file
    survey(tree, options, resolver, Witness(), target=request.target, file=file, text=data, facts=facts)


def _session(request: CheckRequest) -> AbstractContextManager[Session | None]:
    """The store, if there is one already: a look at a file is no reason to make it."""
    from buildkit_py.config import store_root

    if not request.fetch and not os.path.isdir(store_root(os.environ)):
        return nullcontext()
    try:
        return Session()
    except PybuildError:
        if request.fetch:
            raise
        return nullcontext()  # this machine cannot build, but the file can be checked


class _Shelf:
    """A `Resolver` that knows the images of the store, and takes others for empty ones of which nothing is known."""

    def __init__(self, session: Session | None, fetch: bool, facts: Facts) -> None:
        self._session = session
        self._fetch = fetch
        self._facts = facts
        self._images: ImageResolver | None = None

    def resolve(self, reference: str, platform: str, position: Position | None) -> Resolved:
        """What an image name stands for."""
        try:
            found = self._resolver(reference).resolve(reference, platform, position)
        except SourceError:
            if self._fetch:
                raise
            # A named context gives an address, and what it stands for by name in the file is not known here.
            self._facts.unknown.add("*" if "://" in reference else reference)
            system, _, architecture = platform.partition("/")
            document = ImageDocument(architecture.partition("/")[0], system, ImageConfig())
            return Resolved(reference, "sha256:" + "0" * 64, platform, (), document)
        return Resolved(found.reference, found.digest, found.platform, found.layers, found.document)

    def _resolver(self, reference: str) -> ImageResolver:
        if self._session is None:
            raise ImageNotFound(f"there is no store that could have `{reference}`")
        if self._images is None:
            from buildkit_py.registry.resolve import ImageResolver

            client = self._session.client if self._fetch else _no_client
            self._images = ImageResolver(self._session.store, client)
        return self._images


def _no_client() -> Client:
    raise ImageNotFound("checks ask no registry")
