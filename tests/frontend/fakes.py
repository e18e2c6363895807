"""Stand-ins for what the frontend is given: images that are known, and a list of what was looked at."""

from __future__ import annotations

from buildkit_py.errors import ImageNotFound
from buildkit_py.frontend.target import Resolved
from buildkit_py.image.config import History, ImageConfig, ImageDocument

BASE_HISTORY = History("ADD rootfs.tar / # buildkit", created="2024-01-01T00:00:00Z")


class FakeResolver:
    """Knows the images it was given by name; `asked` are the (reference, platform) of each look-up."""

    def __init__(self, **configs: ImageConfig) -> None:
        self.configs = configs
        self.asked: list[tuple[str, str]] = []

    def resolve(self, reference, platform, position):
        self.asked.append((reference, platform))
        name = reference.replace("-", "_").partition(":")[0]
        if name not in self.configs:
            raise ImageNotFound(f"there is no image `{reference}`", at=position)
        system, _, arch = platform.partition("/")
        document = ImageDocument(arch, system, self.configs[name], ("d" * 64,), (BASE_HISTORY,), author="base author")
        return Resolved(reference, "sha256:" + "a" * 64, platform, ("d" * 64,), document)


class SeenInputs:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.variables: dict[str, str | None] = {}
        self.impurities: list[str] = []

    def file(self, path):
        self.files.append(path)

    def env(self, name, value):
        self.variables[name] = value

    def impure(self, what):
        self.impurities.append(what)
