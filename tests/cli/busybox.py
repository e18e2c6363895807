"""An image with nothing but busybox and an /etc, in a store, as a pull would leave it."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from typing import TYPE_CHECKING

from buildkit_py.image import document, manifest
from buildkit_py.image.config import History, ImageConfig, ImageDocument
from buildkit_py.image.manifest import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor, Manifest
from buildkit_py.image.platform import local
from buildkit_py.store.store import Store
from tests.needs import need

if TYPE_CHECKING:
    from pathlib import Path

APPLETS = (
    *("sh", "ls", "cat", "true", "false", "sleep", "env", "id", "pwd", "kill", "hostname", "stty", "tty", "touch"),
    *("echo", "head", "yes", "printf", "rm", "mkdir", "trap", "wc", "ip"),
)
PASSWD = b"root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n"


def _layer() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:

        def put(name: str, data: bytes | None = None, mode: int = 0o755, link: str = "") -> None:
            info = tarfile.TarInfo(name)
            info.mode = mode
            if link:
                info.type, info.linkname = tarfile.SYMTYPE, link
                tar.addfile(info)
            elif data is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))

        put("bin")
        with open(str(shutil.which("busybox", path="/bin:/usr/bin:/sbin:/usr/sbin")), "rb") as file:
            put("bin/busybox", file.read())
        for applet in APPLETS:
            put(f"bin/{applet}", link="busybox")
        put("etc")
        put("etc/passwd", PASSWD, 0o644)
        put("etc/group", b"root:x:0:\nalice:x:1000:\nstaff:x:50:alice\n", 0o644)
        put("data")
        put("data/seed", b"seed\n", 0o644)
        put("tmp", mode=0o1777)
    return out.getvalue()


def put_busybox(home: Path, name: str = "docker.io/library/box:latest", config: ImageConfig | None = None) -> str:
    """Put the image into the store of `home`; its manifest's digest."""
    need("busybox")
    store = Store.open(f"{home}/store")
    layer = _layer()
    config = config or ImageConfig(
        env=(("PATH", "/bin"), ("WHO", "image")), cmd=("echo", "the default"), volumes=("/data",)
    )
    here = local()
    diff_id = "sha256:" + hashlib.sha256(layer).hexdigest()
    data = document.dump(ImageDocument(here.architecture, here.os, config, (diff_id,), (History("busybox"),)))
    found = Manifest(
        OCI_MANIFEST,
        Descriptor(OCI_CONFIG, store.blobs.put(data), len(data)),
        (Descriptor(OCI_LAYER, store.blobs.put(layer), len(layer)),),
    )
    digest = store.blobs.put(manifest.dump(found))
    store.images.set(name, digest)
    return digest
