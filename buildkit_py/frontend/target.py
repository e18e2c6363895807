"""A target: what a person can ask for by name, the end of a path through the graph and its image config."""

from __future__ import annotations

from buildkit_py.image.config import History, ImageConfig, ImageDocument
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from buildkit_py.graph.step import Step
    from buildkit_py.source_map import Position


class Output(Record):
    """Files of the target's filesystem that land on the host when the target is asked for.

    `dest` is relative to the project directory and may not leave it. `position` is where `source` is written.
    """

    source: str
    dest: str
    position: Position | None = None


class Test(Record):
    """A test of the stage `stage`: it passes where the step, a `Run` whose changes are dropped, succeeds."""

    name: str
    stage: str
    step: Step


class Target(Record):
    """`step` None: an empty filesystem. `history` includes the base image's entries, which are its first `inherited`.

    `host`: stands on this machine's own root filesystem and cannot become an image.
    """

    name: str
    step: Step | None
    config: ImageConfig
    history: tuple[History, ...]
    platform: str
    description: str = ""
    default: bool = False
    tags: tuple[str, ...] = ()
    outputs: tuple[Output, ...] = ()
    author: str = ""
    host: bool = False
    position: Position | None = None
    # names of this target's parameters as (name, type, default, description), for --list and --help
    parameters: tuple[tuple[str, str, str, str], ...] = ()
    inherited: int = 0
    # of its stage and of all that it is made of, where tests are wanted
    tests: tuple[Test, ...] = ()


class Resolved(Record):
    """An image that a reference stands for: manifest digest, platform, layers by diff_id, config document."""

    reference: str
    digest: str
    platform: str
    layers: tuple[str, ...]
    document: ImageDocument


class Options(Record):
    """What the command line says that decides the graph.

    `context` is an absolute directory, "" for none; `source` is the context where it is no directory of this machine.
    `build_args`, `build_contexts` (values as given: a directory, `docker-image://REF`, `oci-layout://DIR[@digest]`,
    `docker-archive://FILE`, an address) and `hosts` are pairs. `no_cache_filter` names stages. `platform` is the
    target platform, "" for this machine's. `allow` are the entitlements that were given.
    `normalize`: what git tracks of a directory has git's modes.
    """

    context: str
    build_args: tuple[tuple[str, str], ...] = ()
    build_contexts: tuple[tuple[str, str], ...] = ()
    platform: str = ""
    network: str = "default"
    hosts: tuple[tuple[str, str], ...] = ()
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    source: Step | None = None
    allow: tuple[str, ...] = ()
    normalize: bool = False


if TYPE_CHECKING:

    class Resolver(Protocol):
        """Finds images; the frontend never talks to a registry or a store itself."""

        def resolve(self, reference: str, platform: str, position: Position | None) -> Resolved:
            """`reference` is an image name, `oci-layout://DIR[@digest]` or `docker-archive://FILE`.

            Raises `ImageNotFound`, `RegistryError`, `DigestMismatch` with `at=position`.
            """

    class Inputs(Protocol):
        """Remembers everything outside the graph that a frontend looked at, so that a no-op can be proved."""

        def file(self, path: str) -> None:
            """A file was read, or was looked for and is not there."""

        def env(self, name: str, value: str | None) -> None:
            """An environment variable was read."""

        def impure(self, what: str) -> None:
            """Something was done that cannot be checked later (a process, a socket, a directory listing)."""
