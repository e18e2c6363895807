"""Named contexts (`--build-context NAME=VALUE`): things that stand in for an image or a stage of that name.

A value is a directory, `docker-image://REF`, `oci-layout://DIR[@digest]`,
`docker-archive://FILE`, an address of git, or a URL, whose file is called
`context` there, as BuildKit has it. Names are compared as docker writes them in short:
`docker.io/library/alpine:latest` is `alpine`.
"""

from __future__ import annotations

import os

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend import assemble
from buildkit_py.frontend.local_context import context_step
from buildkit_py.frontend.remote import remote_source
from buildkit_py.graph.op import Copy, CopyPath
from buildkit_py.graph.step import Step
from buildkit_py.http.address import shown_url
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.assemble import Settings, Stage
    from buildkit_py.frontend.target import Inputs, Resolved, Resolver
    from buildkit_py.source_map import Position

_RESERVED = ("scratch", "context")
_IMAGES = ("oci-layout://", "docker-archive://")
_OF_OTHERS = ("target:", "input:")
_MOST_HOPS = 10


class Found(Record):
    """What a name stands for: an image, a directory (as a `LocalSource` step), or files from `elsewhere`."""

    resolved: Resolved | None
    directory: Step | None
    elsewhere: Step | None = None

    def base(self, name: str, platform: str, settings: Settings, label: str, at: Position | None) -> Stage:
        """The stage that starts from it."""
        if self.resolved is not None:
            return assemble.from_image(name, self.resolved, settings, label=label, position=at)
        return assemble.from_step(name, platform, self.files(label, at), settings)

    def files(self, label: str, at: Position | None) -> Step:
        """A whole filesystem of it, sealed."""
        if self.elsewhere is not None:
            return self.elsewhere
        if self.directory is None:
            assert self.resolved is not None
            return assemble.image_step(self.resolved, "", label, at)
        return Step(Copy((CopyPath("/", wildcard=False),), "/"), None, (self.directory,), label, "", at)


class NamedContexts:
    """The named contexts of one build, each looked at when it is first asked for; `normalize` as for `context_step`."""

    def __init__(
        self,
        values: tuple[tuple[str, str], ...],
        resolver: Resolver,
        inputs: Inputs,
        normalize: bool = False,
    ) -> None:
        self._normalize = normalize
        self._values = {short_name(name): value for name, value in values}
        self._resolver = resolver
        self._inputs = inputs
        self._found: dict[tuple[str, str], Found] = {}

    def find(self, name: str, platform: str, at: Position | None) -> Found | None:
        """What stands in for this name on this platform (`NAME::PLATFORM` goes before `NAME`), None for nothing."""
        key = short_name(name)
        if not self._values or name.lower() in _RESERVED:
            return None
        value = self._values.get(f"{key}::{platform}", self._values.get(key))
        if value is None:
            return None
        found = self._found.get((key, platform))
        if found is None:
            found = self._found[key, platform] = self._look(key, value, platform, at)
        return found

    def _look(self, name: str, value: str, platform: str, at: Position | None) -> Found:
        hops = {name}
        while value.startswith("docker-image://"):
            reference = value.removeprefix("docker-image://")
            key = short_name(reference)
            following = self._values.get(key)
            if key in hops or following is None:
                return Found(self._resolver.resolve(reference, platform, at), None)
            if len(hops) >= _MOST_HOPS:
                raise BuildfileError(f"the named contexts from `{name}` on refer to each other too deeply", at=at)
            hops.add(key)
            name, value = key, following
        if value.startswith(_IMAGES):
            return Found(self._resolver.resolve(value, platform, at), None)
        if value.startswith(_OF_OTHERS):
            kind = value.partition(":")[0]
            raise BuildfileError(
                f"the named context `{name}` is `{value}`: {kind}: means something to bake and to other frontends only",
                at=at,
                hint="a directory, an address of git, a URL, docker-image://REF, oci-layout://DIR, docker-archive://FILE",
            )
        remote = remote_source(value, name="context", short=True, at=at)
        if remote is not None:
            return Found(None, None, Step(remote, name=f"[context {name}] {shown_url(value)}", position=at))
        root = os.path.abspath(value.removeprefix("local:"))
        return Found(None, context_step(name, root, self._inputs, normalize=self._normalize, position=at))


def short_name(reference: str) -> str:
    """A reference as docker shows it: without the default registry, `library/` and `:latest`."""
    name = reference.removeprefix("docker.io/").removeprefix("index.docker.io/")
    if name is not reference and name.startswith("library/") and name.count("/") == 1:
        name = name.removeprefix("library/")
    return name.removesuffix(":latest")
