"""What is different between two images: configuration, packages, files, and which of them run with other rights."""

from __future__ import annotations

from buildkit_py.api.diff_steps import step_differences
from buildkit_py.api.opened import open_image
from buildkit_py.api.session import Session
from buildkit_py.image.difference import differences
from buildkit_py.image.entry import FILE, HARDLINK
from buildkit_py.image.packages import packages
from buildkit_py.image.union import Union
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.diff_steps import StepDifference
    from buildkit_py.api.opened import OpenedImage
    from buildkit_py.image.config import ImageDocument
    from buildkit_py.image.difference import FileDifference
    from buildkit_py.image.entry import Entry
    from buildkit_py.image.packages import Packages

_SPECIAL = 0o6000


class Difference(Record):
    """One thing that is otherwise: "" where one side does not have it. `what` is its kind, as in "env" or "dpkg"."""

    what: str
    name: str
    before: str
    after: str


class ImageDifference(Record):
    """`special` are files with the set-uid or set-gid bit, by their modes; `sizes` the bytes of all files.

    `steps` are those that differ, where they were asked for; `unread` are sentences about what could not be read of
    packages.
    """

    config: tuple[Difference, ...]
    packages: tuple[Difference, ...]
    files: tuple[FileDifference, ...]
    special: tuple[Difference, ...]
    sizes: tuple[int, int]
    steps: tuple[StepDifference, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the images are alike."""
        return not (self.config or self.packages or self.files)


class _Side(Record):
    image: OpenedImage
    files: dict[str, Entry]
    packages: Packages


def diff(before: str, after: str, *, steps: bool = False, store: str = "") -> ImageDifference:
    """Compare two images by name or digest, pulled where the store lacks them; with `steps` step by step, too.

    Times are not compared: they tell of when something was built. Raises `ImageNotFound` and what pulling raises.
    """
    with Session(store) as session:
        old, new = (_side(session, name) for name in (before, after))
        return ImageDifference(
            config=_compared(_config(old.image.document), _config(new.image.document)),
            packages=_compared(old.packages.versions, new.packages.versions),
            files=tuple(differences(old.files, new.files)),
            special=_compared(_special(old.files), _special(new.files)),
            sizes=(_size(old.files), _size(new.files)),
            steps=step_differences(session.materializer(), old.image, new.image) if steps else (),
            unread=tuple(dict.fromkeys((*old.packages.unread, *new.packages.unread))),
        )


def _side(session: Session, name: str) -> _Side:
    image = open_image(session, name)
    union = Union(session.materializer().trees(image.layers).directories)
    entries = union.walk("")
    return _Side(image, {entry.path: entry for entry in entries}, packages(union, entries))


def _compared(before: dict[tuple[str, str], str], after: dict[tuple[str, str], str]) -> tuple[Difference, ...]:
    return tuple(
        Difference(*key, before.get(key, ""), after.get(key, ""))
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    )


def _config(document: ImageDocument) -> dict[tuple[str, str], str]:
    """The configuration as single settings."""
    config = document.config
    out: dict[tuple[str, str], str] = {("platform", ""): f"{document.os}/{document.architecture}"}
    out |= {("env", name): value for name, value in config.env}
    out |= {("label", name): value for name, value in config.labels}
    out |= {("port", port): "exposed" for port in config.ports}
    out |= {("volume", path): "declared" for path in config.volumes}
    for name, value in (("cmd", config.cmd), ("entrypoint", config.entrypoint), ("shell", config.shell)):
        if value is not None:
            out[name, ""] = " ".join(value)
    for name, text in (("workdir", config.working_dir), ("user", config.user), ("stop signal", config.stop_signal)):
        if text:
            out[name, ""] = text
    if config.healthcheck is not None:
        out["healthcheck", ""] = " ".join(map(str, config.healthcheck.values()))
    out |= {("on build", str(number)): text for number, text in enumerate(config.on_build, 1)}
    return out


def _special(files: dict[str, Entry]) -> dict[tuple[str, str], str]:
    return {
        ("mode", path): f"{entry.mode:04o}"
        for path, entry in files.items()
        if entry.kind in (FILE, HARDLINK) and entry.mode & _SPECIAL
    }


def _size(files: dict[str, Entry]) -> int:
    return sum(entry.size for entry in files.values())
