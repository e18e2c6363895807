"""Changes of an image's configuration, as instructions of a Buildfile that run nothing and copy nothing."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile import syntax
from buildkit_py.frontend.buildfile.lower import lower
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.target import Options, Resolved
from buildkit_py.image import platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.image.config import ImageConfig, ImageDocument
    from buildkit_py.source_map import Position

# Those that docker's commit takes (moby, builder/dockerfile: validCommitCommands).
_ALLOWED = (
    *(syntax.Cmd, syntax.Entrypoint, syntax.Env, syntax.Expose, syntax.Label, syntax.OnBuild, syntax.User),
    *(syntax.Volume, syntax.Workdir, syntax.StopSignal, syntax.HealthcheckStep),
)
_BASE = "image.invalid/of-the-container"


def changed(document: ImageDocument, changes: Sequence[str], *, name: str) -> ImageConfig:
    """The configuration of an image after these instructions, each a text of its own; `name` is where they were given.

    ONBUILD instructions of the image are neither run nor kept. Raises `BuildfileError`.
    """
    config = document.config.replace(on_build=())
    if not changes:
        return config
    text = "\n".join([*changes, ""])
    tree = parse_text(text, name)
    for node in tree.instructions:
        if not isinstance(node, _ALLOWED):
            raise BuildfileError(
                f"{node.keyword} is no change of an image's configuration",
                at=node.position,
                hint="it may be CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME "
                "or WORKDIR",
            )
    base = _Base(document.replace(config=config))
    begin = parse_text(f"FROM {_BASE}\n", name)  # by itself, so that places are those of the changes
    whole = tree.replace(instructions=(*begin.instructions, *tree.instructions))
    (target,) = lower(whole, Options(""), base, base, text=text.encode("utf-8", "surrogateescape"))
    return target.config


class _Base:
    """Resolves the one name, and need not remember what was looked at."""

    def __init__(self, document: ImageDocument) -> None:
        self._document = document

    def resolve(self, reference: str, wanted: str, position: Position | None) -> Resolved:
        """The image that the changes are made to, whatever platform it is for."""
        on = platform.of_image(self._document)
        return Resolved(reference, "sha256:" + "0" * 64, str(on), (), self._document)

    def file(self, path: str) -> None:
        """No file is read."""

    def env(self, name: str, value: str | None) -> None:
        """No variable of this process is read."""

    def impure(self, what: str) -> None:
        """Nothing is remembered."""
