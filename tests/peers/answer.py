"""An answer: what an image is, in plain values that are compared and stored; files as their difference from the base.

Both engines write an OCI layout as a tar (`docker save`, `-o type=oci`), so both are read, and their layers
flattened, by the same code, which is none of pybuild's.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

from tests.peers.case import SITE

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
# What an image says; docker's config has more that says nothing about an image.
CONFIG = ("Env", "Cmd", "Entrypoint", "WorkingDir", "User", "Labels", "ExposedPorts", "Volumes", "Shell")
CONFIG += ("StopSignal", "Healthcheck", "OnBuild", "ArgsEscaped")
KINDS = {tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.FIFOTYPE: "p", tarfile.CHRTYPE: "c", tarfile.BLKTYPE: "b"}
MADE = 315_532_800
SHOWN = 1000  # content up to this length is stored as text where it is text


class Node(NamedTuple):
    """One file of a layer, as a line; names that are links of one another share the object."""

    line: str
    directory: bool


class Archive:
    """A layout in a tar."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as archive:
            members = [member for member in archive if member.isfile()]
            self._files = {member.name: archive.extractfile(member).read() for member in members}  # type: ignore[union-attr]

    def blob(self, descriptor: dict[str, Any]) -> bytes:
        """A blob, without its compression."""
        data = self._files["blobs/" + descriptor["digest"].replace(":", "/")]
        if descriptor["mediaType"].endswith("zstd"):
            return zstandard.ZstdDecompressor().decompressobj().decompress(data)
        return data

    def image(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The config and the flattened files."""
        index = json.loads(self._files["index.json"])
        manifest = json.loads(self.blob(index["manifests"][0]))
        config = json.loads(self.blob(manifest["config"]))
        return config, flatten([self.blob(layer) for layer in manifest["layers"]])


def lines(answer: dict[str, Any]) -> list[str]:
    """An answer as lines, so that a test shows what differs and no more."""
    out = [f"file {path}: {line}" for path, line in answer.get("files", {}).items()]
    out += [f"config {key}: {json.dumps(value, sort_keys=True)}" for key, value in answer.get("config", {}).items()]
    out += [f"history {number}: {line}" for number, line in enumerate(answer.get("history", ()))]
    return out + [f"{key}: {answer[key]}" for key in ("gone", "author", "error") if key in answer]


def flatten(layers: list[bytes]) -> dict[str, str]:
    """Path to a line that says what is there, for everything that the layers together leave."""
    tree: dict[str, Node] = {}
    for layer in layers:
        _apply(tree, layer)
    names: dict[int, list[str]] = defaultdict(list)
    for path, node in tree.items():
        names[id(node)].append(path)
    return {
        path: node.line + (f" = {' '.join(sorted(names[id(node)]))}" if len(names[id(node)]) > 1 else "")
        for path, node in sorted(tree.items())
    }


def _apply(tree: dict[str, Node], layer: bytes) -> None:
    """One layer over a tree (OCI image spec, layer.md): whiteouts say what is gone from below, so they come first."""

    def remove(path: str) -> None:
        for below in [name for name in tree if name == path or name.startswith(path + "/")]:
            del tree[below]

    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        members = [(member.name.removeprefix("./").strip("/"), member) for member in archive]
        for path, _ in members:
            parent, _, name = path.rpartition("/")
            if name == OPAQUE:
                for below in [other for other in tree if other.startswith(parent + "/")]:
                    del tree[below]
            elif name.startswith(WHITEOUT):
                remove(f"{parent}/{name.removeprefix(WHITEOUT)}".lstrip("/"))
        for path, member in members:
            if path.rpartition("/")[2].startswith(WHITEOUT) or path in ("", "."):
                continue
            if member.islnk():
                node = tree[member.linkname.removeprefix("./").strip("/")]
            else:
                extracted = archive.extractfile(member) if member.isfile() else None
                node = Node(_line(member, extracted.read() if extracted else b""), member.isdir())
            if not node.directory or (path in tree and not tree[path].directory):
                remove(path)
            tree[path] = node


def _line(member: tarfile.TarInfo, data: bytes) -> str:
    parts = [KINDS.get(member.type, "-"), f"{member.mode:04o}", f"{member.uid}:{member.gid}"]
    if member.issym():
        parts.append(f"-> {member.linkname}")
    elif member.isdev():
        parts.append(f"{member.devmajor}:{member.devminor}")
    elif member.isfile():
        text = data.decode("ascii", "replace")
        shown = len(data) <= SHOWN and "\ufffd" not in text
        parts.append(json.dumps(text) if shown else f"{len(data)} sha256:{hashlib.sha256(data).hexdigest()}")
    # What a build makes itself has the clock's time or, from pybuild, a fixed one; only a time that was kept is the
    # same everywhere. That of a directory changes with everything that is made in it.
    if not member.isdir() and member.mtime < time.time() - 86400 and member.mtime != MADE:
        parts.append(f"@{member.mtime:.9f}".rstrip("0").rstrip("."))
    for key, value in sorted(member.pax_headers.items()):
        if key.startswith("SCHILY.xattr."):
            parts.append(f"{key.removeprefix('SCHILY.xattr.')}={value!r}")
    return " ".join(parts)


def answer_of(archive: Path, base: dict[str, str], site: str = SITE) -> dict[str, Any]:
    """The answer for an image whose base (or whose stages' base) has the files `base`.

    `site` is the address of the server that it was fetched from, which is another one each time.
    """
    config, files = Archive(archive).image()
    own = config.get("config") or {}
    answer = {
        "files": {path: line for path, line in files.items() if base.get(path) != line},
        "gone": [path for path in base if path not in files],
        "config": {key: own[key] for key in CONFIG if own.get(key)},
        "history": [
            [line.get("created_by", "").replace(site, SITE), bool(line.get("empty_layer"))]
            for line in config["history"]
        ],
    }
    if len(answer["gone"]) > len(base) // 2:
        answer["gone"] = ["(not based on the base)"]
    if config.get("author"):
        answer["author"] = config["author"]
    return answer
