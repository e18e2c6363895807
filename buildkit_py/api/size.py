"""Where the bytes of an image are: by the step that brought them, the directory that they lie in, or their package."""

from __future__ import annotations

from buildkit_py.api.opened import OpenedImage, open_image
from buildkit_py.api.session import Session
from buildkit_py.image.entry import DIR
from buildkit_py.image.packages import packages
from buildkit_py.image.union import Union
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.api.request import SizeLimits
    from buildkit_py.image.entry import Entry
    from buildkit_py.image.packages import Package

STEP, DIRECTORY, PACKAGE = "step", "dir", "package"
# What no package manager says that it brought.
REST = ""


class Share(Record):
    """One line of the answer. `files` is how many files there are, `bytes` what they hold.

    By step: `name` is the instruction, `bytes` what its files held when it ended, `packed` what its layer takes when
    it is pulled, `kept` how many of `bytes` are still in the image and not overwritten or removed by later steps.
    By directory: `name` is a path, and all that is below it counts. By package: `name` is `MANAGER NAME VERSION`,
    "" for the files of no package. `packed` and `kept` are -1 where that cannot be told.
    """

    name: str
    files: int
    bytes: int
    packed: int = -1
    kept: int = -1


class ImageSize(Record):
    """`packed` are the bytes that pulling the image takes: the sum of its layers' blobs, as `pybuild images` shows it.

    `shares` are by step in the steps' order, else the largest first; `bytes` is what all files of the image's
    filesystem hold, -1 where it was not asked for. `unread` are sentences about records of packages.
    """

    digest: str
    packed: int
    layers: int
    bytes: int = -1
    shares: tuple[Share, ...] = ()
    unread: tuple[str, ...] = ()


def image_size(name: str, by: str = "", *, depth: int = 2, store: str = "") -> ImageSize:
    """How large an image is, and, with `by` (step, dir or package), what of it that is.

    Without `by` nothing but the image's manifest is looked at. `depth`: directories with so many names in their path
    at most. A file of several names counts once, where its first name is. Raises `ImageNotFound` and what pulling
    raises.
    """
    with Session(store) as session:
        image = open_image(session, name)
        answer = ImageSize(image.digest, image.size, len(image.layers))
        if not by:
            return answer
        materializer = session.materializer()
        union = Union(materializer.trees(image.layers).directories)
        entries = union.walk("")
        unread: tuple[str, ...] = ()
        if by == STEP:
            trees = [materializer.trees((layer,)).directories for layer in image.layers]
            shares = _by_step(image, trees, entries)
        elif by == DIRECTORY:
            shares = _by_directory(entries, depth)
        else:
            records = packages(union, entries, files=True)
            shares, unread = _by_package(union, entries, records.found), records.unread
        return answer.replace(bytes=sum(entry.size for entry in entries), shares=tuple(shares), unread=unread)


def hold_size(name: str, limits: SizeLimits, *, store: str = "") -> None:
    """Hold an image against limits of its size. Raises `SizeExceeded`, and as `image_size` for both images."""
    from buildkit_py.api.size_limit import check_size, other_image

    with Session(store) as session:
        before = other_image(session, limits, "") if limits.compares else None
        check_size(limits, open_image(session, name).size, before, name)


def _by_step(image: OpenedImage, trees: Sequence[tuple[str, ...]], entries: Sequence[Entry]) -> list[Share]:
    # What is shown of the image is there because the topmost layer that has it is a certain one.
    kept: dict[str, int] = {}
    for entry in entries:
        if entry.source:
            root = entry.source[: -len(entry.path) - 1]
            kept[root] = kept.get(root, 0) + entry.size
    shares = []
    for step, packed, directories in zip(image.steps(), image.packed, trees, strict=True):
        own = Union(directories).walk("")
        held = sum(kept.get(directory.rstrip("/"), 0) for directory in directories)
        files = sum(entry.kind != DIR for entry in own)
        shares.append(Share(step, files, sum(entry.size for entry in own), packed, held))
    return shares


def _by_directory(entries: Sequence[Entry], depth: int) -> list[Share]:
    files: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for entry in entries:
        if entry.kind == DIR:
            continue
        parts = entry.path.split("/")[:-1]
        for length in range(min(depth, len(parts)) + 1):
            path = "/" + "/".join(parts[:length])
            files[path] = files.get(path, 0) + 1
            sizes[path] = sizes.get(path, 0) + entry.size
    return _largest_first([Share(path, files[path], sizes[path]) for path in files])


def _by_package(union: Union, entries: Sequence[Entry], found: Sequence[Package]) -> list[Share]:
    """A file that several packages name belongs to the last one that says so, as it does for their managers."""
    owner = _Owners(union, found)
    files: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for entry in entries:
        if entry.kind != DIR:
            name = owner.of(entry.path)
            files[name] = files.get(name, 0) + 1
            sizes[name] = sizes.get(name, 0) + entry.size
    return _largest_first([Share(name, files[name], sizes[name]) for name in files])


class _Owners:
    """Whose a file is, by what the packages say of their files."""

    def __init__(self, union: Union, found: Sequence[Package]) -> None:
        self._files: dict[str, str] = {}
        self._below: dict[str, str] = {}
        places: dict[str, str] = {}  # where the directories of the lists really are: /lib may lead to /usr/lib
        for package in found:
            name = f"{package.manager} {package.name} {package.version}"
            for path in package.files:
                if path.endswith("/"):
                    self._below[path.rstrip("/")] = name
                    continue
                parent, _, last = path.rpartition("/")
                if parent not in places:
                    node = union.lookup(parent)
                    places[parent] = node.path if node is not None else parent
                self._files[f"{places[parent]}/{last}" if places[parent] else last] = name

    def of(self, path: str) -> str:
        """The package's manager, name and version; "" for a file of none."""
        if path in self._files:
            return self._files[path]
        if self._below:
            # A package of npm may have others in it: the nearest one counts.
            while "/" in path:
                path = path.rpartition("/")[0]
                if path in self._below:
                    return self._below[path]
        return REST


def _largest_first(shares: list[Share]) -> list[Share]:
    return sorted(shares, key=lambda share: (-share.bytes, share.name))
