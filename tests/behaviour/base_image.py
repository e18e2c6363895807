"""The base image of the behaviour tests: busybox, a few directories, two users; made from Debian's busybox-static."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:77:1000:App:/home/app:/bin/sh\n"
GROUP = "root:x:0:\nstaff:x:50:app\napp:x:1000:\n"
HERE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
ENV = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def rootfs_tar() -> bytes:
    """The root filesystem as a tar."""
    binary = Path(str(shutil.which("busybox", path="/bin:/usr/bin:/sbin:/usr/sbin"))).read_bytes()
    listed = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:

        def add(name: str, kind: bytes, mode: int, data: bytes = b"", link: str = "") -> None:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.size, info.linkname, info.mtime = kind, mode, len(data), link, 1_700_000_000
            archive.addfile(info, io.BytesIO(data))

        for name, mode in {
            "bin": 0o755,
            "etc": 0o755,
            "home": 0o755,
            "home/app": 0o755,
            "root": 0o700,
            "tmp": 0o1777,
            "usr": 0o755,
            "usr/bin": 0o755,
            "var": 0o755,
        }.items():
            add(name, tarfile.DIRTYPE, mode)
        add("bin/busybox", tarfile.REGTYPE, 0o755, binary)
        for applet in listed:
            if applet != "busybox":
                add(f"bin/{applet}", tarfile.SYMTYPE, 0o777, link="busybox")
        add("etc/passwd", tarfile.REGTYPE, 0o644, PASSWD.encode())
        add("etc/group", tarfile.REGTYPE, 0o644, GROUP.encode())
        add("lib", tarfile.SYMTYPE, 0o777, link="usr/lib")
        add("usr/lib", tarfile.DIRTYPE, 0o755)
    return out.getvalue()


def busybox_layout(path: Path) -> None:
    """Write the image as an OCI layout."""
    layer_layout(path, rootfs_tar())


def layer_layout(
    path: Path, data: bytes, kind: str = "tar", plain: bytes | None = None, architecture: str | None = HERE
) -> None:
    """An OCI layout of an image with one layer: its bytes, the end of its media type, and what they unpack to.

    The config has no `architecture` where that is None.
    """
    staged = path.with_suffix(f".{os.getpid()}")
    blobs = staged / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    layer = put(data, f"application/vnd.oci.image.layer.v1.{kind}")
    diff_id = hashlib.sha256(data if plain is None else plain).hexdigest()
    config = {
        **({"architecture": architecture} if architecture is not None else {}),
        "os": "linux",
        "config": {"Env": [ENV], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "busybox"}],
    }
    configured = put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": configured,
        "layers": [layer],
    }
    manifest = put(json.dumps(document).encode(), "application/vnd.oci.image.manifest.v1+json")
    (staged / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    index = {
        "schemaVersion": 2,
        "manifests": [{**manifest, "annotations": {"org.opencontainers.image.ref.name": "latest"}}],
    }
    (staged / "index.json").write_text(json.dumps(index))
    staged.rename(path)
