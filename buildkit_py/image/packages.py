"""Packages: which programs and libraries a root filesystem says that it has, by the records of its package managers.

dpkg: `/var/lib/dpkg/status`, and `status.d/` as distroless images have it
(deb-control(5)). apk: `/lib/apk/db/installed` and `/usr/lib/apk/db/installed`
(apk-tools, "Apk spec"). Python: `NAME-VERSION.dist-info` in directories of
packages (PyPA, "Recording installed projects"). npm: `package.json` of what
lies in `node_modules`.
"""

from __future__ import annotations

import json

from buildkit_py.errors import ContextError
from buildkit_py.image.entry import DIR, FILE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildkit_py.image.entry import Entry
    from buildkit_py.image.union import Union

_DPKG = ("var/lib/dpkg/status",)
_DPKG_PARTS = "var/lib/dpkg/status.d/"
_APK = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_DIST_INFO = ".dist-info"
_PYTHON = ("/site-packages", "/dist-packages")
_NODE = "node_modules"
_LARGEST = 64 << 20
_LARGEST_JSON = 1 << 20


def packages(union: Union, entries: Iterable[Entry]) -> dict[tuple[str, str], str]:
    """The versions of packages by (manager, name); `entries` are those of the whole filesystem.

    Of several versions of one name all are told, with commas. A record that cannot be read counts as none.
    """
    found: dict[tuple[str, str], set[str]] = {}
    for entry in entries:
        for manager, name, version in _of(union, entry):
            found.setdefault((manager, name), set()).add(version)
    return {key: ", ".join(sorted(versions)) for key, versions in found.items()}


def _of(union: Union, entry: Entry) -> Iterator[tuple[str, str, str]]:
    path = entry.path
    if entry.kind == DIR:
        parent, _, last = path.rpartition("/")
        if last.endswith(_DIST_INFO) and parent.endswith(_PYTHON):
            name, _, version = last.removesuffix(_DIST_INFO).rpartition("-")
            if name:
                yield "python", name.lower().replace("_", "-"), version
        return
    if entry.kind != FILE:
        return
    if path in _DPKG or (path.startswith(_DPKG_PARTS) and not path.endswith(".md5sums")):
        yield from _stanzas("dpkg", _text(union, path, _LARGEST), "Package", "Version", "Status")
    elif path in _APK:
        yield from _stanzas("apk", _text(union, path, _LARGEST), "P", "V", "")
    elif path.endswith("/package.json") and _is_node_package(path):
        yield from _node(_text(union, path, _LARGEST_JSON))


def _is_node_package(path: str) -> bool:
    """Whether it is that of a package itself: `node_modules/NAME` or `node_modules/@SCOPE/NAME`."""
    parts = path.split("/")[:-1]
    if len(parts) >= 2 and parts[-2] == _NODE:
        return not parts[-1].startswith(("@", "."))
    return len(parts) >= 3 and parts[-3] == _NODE and parts[-2].startswith("@")


def _text(union: Union, path: str, limit: int) -> str:
    try:
        return (union.read_file(path, limit) or b"").decode("utf-8", "replace")
    except ContextError:
        return ""


def _stanzas(manager: str, text: str, name: str, version: str, status: str) -> Iterator[tuple[str, str, str]]:
    """Blocks of `Field: value` lines, with an empty line between them."""
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in block.splitlines():
            key, colon, value = line.partition(":")
            if colon and not line.startswith((" ", "\t")):
                fields.setdefault(key, value.strip())
        # A package that was removed but not purged keeps its entry.
        if name in fields and (not status or fields.get(status, "").split()[-1:] in ([], ["installed"])):
            yield manager, fields[name], fields.get(version, "")


def _node(text: str) -> Iterator[tuple[str, str, str]]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(value, dict) and isinstance(value.get("name"), str) and isinstance(value.get("version"), str):
        yield "npm", value["name"], value["version"]
