"""Packages: which programs and libraries a root filesystem says that it has, by the records of its package managers.

dpkg: `/var/lib/dpkg/status`, and `status.d/` as distroless images have it
(deb-control(5)); the files in `info/NAME.list` and `NAME.md5sums`. apk:
`/lib/apk/db/installed` and `/usr/lib/apk/db/installed` (apk-tools, "Apk
spec"). rpm: its database (`rpm_database.py`). Python: `NAME-VERSION.dist-info`
in directories of packages, with their RECORD (PyPA, "Recording installed
projects"). npm: `package.json` of what lies in `node_modules`.
"""

from __future__ import annotations

import json

from buildkit_py.errors import ContextError
from buildkit_py.image import rpm_database
from buildkit_py.image.entry import DIR, FILE
from buildkit_py.image.rpm_header import LONGEST_PATH
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildkit_py.image.entry import Entry
    from buildkit_py.image.union import Union

_DPKG = ("var/lib/dpkg/status",)
_DPKG_PARTS = "var/lib/dpkg/status.d/"
_DPKG_FILES = "var/lib/dpkg/info/"
_APK = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_DIST_INFO = ".dist-info"
_PYTHON = ("/site-packages", "/dist-packages")
_NODE = "node_modules"
_LARGEST = 64 << 20
_LARGEST_JSON = 1 << 20
# So many characters may the paths of all packages have: records name a directory once for many files.
_MOST_PATHS = 1 << 28


class Package(Record):
    """A package by its manager, name and version. `files` are paths as the manager wrote them, without the leading
    slash; one that ends with a slash stands for all that is below it.
    """

    manager: str
    name: str
    version: str
    files: tuple[str, ...] = ()


class Packages(Record):
    """What a root filesystem has; `unread` are sentences about the records that could not be read."""

    found: tuple[Package, ...]
    unread: tuple[str, ...] = ()

    @property
    def versions(self) -> dict[tuple[str, str], str]:
        """The versions by (manager, name); of several versions of one name all, with commas."""
        versions: dict[tuple[str, str], set[str]] = {}
        for package in self.found:
            versions.setdefault((package.manager, package.name), set()).add(package.version)
        return {key: ", ".join(sorted(several)) for key, several in versions.items()}


def packages(union: Union, entries: Iterable[Entry], *, files: bool = False) -> Packages:
    """The packages of a filesystem, and, where wanted, their files; `entries` are those of the whole filesystem."""
    reader = _Reader(union, files)
    for entry in entries:
        reader.look_at(entry)
    return Packages(tuple(reader.found), tuple(reader.unread))


class _Reader:
    def __init__(self, union: Union, files: bool) -> None:
        self._union = union
        self._files = files
        self.found: list[Package] = []
        self.unread: list[str] = []
        self._left = _MOST_PATHS

    def look_at(self, entry: Entry) -> None:
        """Read what an entry records of packages, if it is one that does."""
        path = entry.path
        if entry.kind == DIR:
            parent, _, last = path.rpartition("/")
            if last.endswith(_DIST_INFO) and parent.endswith(_PYTHON):
                self._python(parent, last)
        elif entry.kind != FILE:
            return
        elif path in _DPKG or (path.startswith(_DPKG_PARTS) and not path.endswith(".md5sums")):
            self._dpkg(path)
        elif path in _APK:
            self._apk(path)
        elif path.endswith("/package.json") and _is_node_package(path):
            self._node(path)
        else:
            directory, _, name = path.rpartition("/")
            if directory in rpm_database.DIRECTORIES:
                self._rpm(path, name)

    def _text(self, path: str, limit: int = _LARGEST) -> str:
        try:
            return (self._union.read_file(path, limit) or b"").decode("utf-8", "surrogateescape")
        except ContextError as problem:
            self.unread.append(f"{path}: {problem.message}")
            return ""

    def _has_room(self, path: str, size: int) -> bool:
        """Whether a path of so many characters that a record names can be one, and may be kept."""
        if size > LONGEST_PATH or self._left < 0:
            return False
        self._left -= size
        if self._left < 0:
            self.unread.append(f"{path}: the packages have more files than a system can have")
        return self._left >= 0

    def _dpkg(self, path: str) -> None:
        for fields in _stanzas(self._text(path)):
            # A package that was removed but not purged keeps its entry.
            if "Package" in fields and fields.get("Status", "").split()[-1:] in ([], ["installed"]):
                name = fields["Package"]
                files = self._dpkg_files(path, name, fields.get("Architecture", "")) if self._files else ()
                self.found.append(Package("dpkg", name, fields.get("Version", ""), files))

    def _dpkg_files(self, path: str, name: str, architecture: str) -> tuple[str, ...]:
        if path.startswith(_DPKG_PARTS):
            lines = self._text(f"{path}.md5sums").splitlines()
            return tuple(line.partition("  ")[2].removeprefix("./").lstrip("/") for line in lines)
        # Of a package that may be here for several architectures each has its own list.
        text = self._text(f"{_DPKG_FILES}{name}.list") or self._text(f"{_DPKG_FILES}{name}:{architecture}.list")
        return tuple(line.lstrip("/") for line in text.splitlines())

    def _apk(self, path: str) -> None:
        """Blocks of `X:value` lines: P and V the name and version, F a directory, R a file of the last one."""
        for block in self._text(path).split("\n\n"):
            name = version = directory = ""
            files = []
            for line in block.splitlines():
                key, _, value = line.partition(":")
                if key == "P":
                    name = value
                elif key == "V":
                    version = value
                elif key == "F":
                    directory = value
                elif key == "R" and self._files and self._has_room(path, len(directory) + 1 + len(value)):
                    files.append(f"{directory}/{value}" if directory else value)
            if name:
                self.found.append(Package("apk", name, version, tuple(files)))

    def _rpm(self, path: str, name: str) -> None:
        if name in rpm_database.UNREAD:
            self.unread.append(f"{path}: the packages of rpm are {rpm_database.UNREAD[name]}, which is not read")
        elif name == rpm_database.SQLITE:
            try:
                found = rpm_database.packages(self._union, path, self._left if self._files else 0)
            except ValueError as problem:
                self.unread.append(f"{path}: it is damaged or no database of rpm: {problem}")
            except ContextError as problem:
                self.unread.append(f"{path}: {problem.message}")
            else:
                self.found += [Package("rpm", *package) for package in found]
                self._left -= sum([len(file) for _, _, files in found for file in files])

    def _python(self, parent: str, directory: str) -> None:
        name, _, version = directory.removesuffix(_DIST_INFO).rpartition("-")
        if name:
            files = self._recorded(parent, directory) if self._files else ()
            self.found.append(Package("python", name.lower().replace("_", "-"), version, files))

    def _recorded(self, parent: str, directory: str) -> tuple[str, ...]:
        import csv
        from posixpath import normpath

        text = self._text(f"{parent}/{directory}/RECORD")
        try:
            rows = [row[0] for row in csv.reader(text.splitlines()) if row]
        except csv.Error:
            return ()
        # What lies elsewhere, as scripts do, has a path that begins with `..`.
        where = f"{parent}/{directory}/RECORD"
        paths = (row if row.startswith("/") else f"{parent}/{row}" for row in rows)
        return tuple(normpath(path).lstrip("/") for path in paths if self._has_room(where, len(path)))

    def _node(self, path: str) -> None:
        try:
            value = json.loads(self._text(path, _LARGEST_JSON))
        except (ValueError, RecursionError):
            return
        if isinstance(value, dict) and isinstance(value.get("name"), str) and isinstance(value.get("version"), str):
            files = (path.removesuffix("package.json"),) if self._files else ()
            self.found.append(Package("npm", value["name"], value["version"], files))


def _is_node_package(path: str) -> bool:
    """Whether it is that of a package itself: `node_modules/NAME` or `node_modules/@SCOPE/NAME`."""
    parts = path.split("/")[:-1]
    if len(parts) >= 2 and parts[-2] == _NODE:
        return not parts[-1].startswith(("@", "."))
    return len(parts) >= 3 and parts[-3] == _NODE and parts[-2].startswith("@")


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    """Blocks of `Field: value` lines, with an empty line between them."""
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in block.splitlines():
            key, colon, value = line.partition(":")
            if colon and not line.startswith((" ", "\t")):
                fields.setdefault(key, value.strip())
        yield fields
