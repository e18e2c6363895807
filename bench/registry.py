"""The local registry of the benchmark, and the images in it: busybox, with a big file or a web server, and a Debian."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bench import web
from bench.daemon import Daemon, free_port

BUSYBOX, SEED, WEB, DEBIAN = "busybox:1", "seed:1", "web:1", "debian:trixie"
# Making it takes a package mirror and some 15 s, so it outlives the benchmark.
DEBIAN_ROOT = "/var/tmp/pybuild-bench-base.tar.gz"
SEED_SIZE = 16 << 20
_APPLETS = ("sh", "true", "cat", "echo", "mkdir", "rm", "seq", "sleep", "touch")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Registry:
    """A running `docker-registry` with its storage below a directory. Images are put into it when first asked for."""

    def __init__(self, directory: str, env: Mapping[str, str]) -> None:
        os.makedirs(directory)
        self.data = f"{directory}/data"
        self._log = f"{directory}/log"
        port = free_port()
        config = f"{directory}/config.yml"
        Path(config).write_text(
            f"version: 0.1\nlog:\n  level: error\n"
            f"storage:\n  filesystem:\n    rootdirectory: {self.data}\n  delete:\n    enabled: true\n"
            f"http:\n  addr: 127.0.0.1:{port}\n"
        )
        self.host = f"127.0.0.1:{port}"
        self._layers: dict[str, str] = {}
        command = ("docker-registry", "serve", config)
        self.daemon = Daemon(command, self._log, {**env, "OTEL_TRACES_EXPORTER": "none"}, self._answers)

    def image(self, name: str) -> str:
        """The full reference of one of the four images, which is in the registry afterwards."""
        if name not in self._layers:
            make = {BUSYBOX: _busybox, SEED: _seed, WEB: _web, DEBIAN: _debian}[name]
            self._push(name, make())
        return f"{self.host}/{name}"

    def layer(self, name: str) -> str:
        """The digest of such an image's only layer."""
        self.image(name)
        return self._layers[name]

    def sent(self) -> int:
        """How many bytes of bodies it has sent so far, by its access log (Apache's combined form)."""
        total = 0
        with open(self._log, encoding="utf-8", errors="replace") as log:
            for line in log:
                after = line.split('" ')
                if len(after) > 1 and line.split('"')[1].startswith("GET "):
                    total += int(after[1].split()[1])
        return total

    def _answers(self) -> bool:
        try:
            return self._ask("GET", "/v2/")[0] == 200
        except OSError:
            return False

    def _push(self, name: str, layer: bytes) -> None:
        repository, _, tag = name.partition(":")
        diff_id = "sha256:" + hashlib.sha256(gzip.decompress(layer)).hexdigest()
        config = json.dumps(
            {
                "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
                "os": "linux",
                "config": {"Env": [_PATH], "Cmd": ["sh"]},
                "rootfs": {"type": "layers", "diff_ids": [diff_id]},
                "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "bench"}],
                "created": "2024-01-01T00:00:00Z",
            }
        ).encode()
        described = []
        for kind, data in ((_CONFIG, config), (_LAYER, layer)):
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            status, where = self._ask("POST", f"/v2/{repository}/blobs/uploads/")
            _expect(status, 202)
            path = where.partition(self.host)[2] or where
            mark = "&" if "?" in path else "?"
            _expect(self._ask("PUT", f"{path}{mark}digest={digest}", data, "application/octet-stream")[0], 201)
            described.append({"mediaType": kind, "digest": digest, "size": len(data)})
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": described[0], "layers": described[1:]}
        _expect(self._ask("PUT", f"/v2/{repository}/manifests/{tag}", json.dumps(manifest).encode(), _MANIFEST)[0], 201)
        self._layers[name] = str(described[1]["digest"])

    def _ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": kind} if kind else {})
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("Location") or ""
        finally:
            connection.close()


def _expect(status: int, wanted: int) -> None:
    if status != wanted:
        raise RuntimeError(f"the registry answers {status} instead of {wanted}")


def busybox_root(directory: str) -> None:
    """A root filesystem of busybox alone, in a new directory."""
    program = shutil.which("busybox")
    if program is None:
        raise RuntimeError("busybox is missing: apt install busybox-static")
    os.makedirs(f"{directory}/bin")
    os.mkdir(f"{directory}/tmp", 0o1777)
    shutil.copy(program, f"{directory}/bin/busybox")
    for applet in _APPLETS:
        os.symlink("busybox", f"{directory}/bin/{applet}")


def seed() -> bytes:
    """16 MB of which a half can be compressed, the same ones each time."""
    return b"".join(
        hashlib.shake_256(b"%d" % number).digest(4096) + b"line %09d of text\n" % number * 178
        for number in range(SEED_SIZE // 8192)
    )


def _busybox(files: Mapping[str, bytes] | None = None) -> bytes:
    out = io.BytesIO()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        busybox_root(f"{directory}/root")
        for name, data in (files or {}).items():
            path = Path(f"{directory}/root/{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o755)
        with tarfile.open(fileobj=out, mode="w") as archive:
            archive.add(f"{directory}/root", ".")
    return gzip.compress(out.getvalue(), 6)


def _seed() -> bytes:
    return _busybox({"seed": seed()})


def _web() -> bytes:
    return _busybox(web.files())


def _debian() -> bytes:
    if not os.path.exists(DEBIAN_ROOT):
        new = f"{DEBIAN_ROOT}.{os.getpid()}"
        try:
            with open(new, "wb") as file:
                command = ["mmdebstrap", "--variant=minbase", "--quiet", "trixie", "-"]
                made = subprocess.Popen(command, stdout=subprocess.PIPE)
                subprocess.run(["gzip", "-6"], stdin=made.stdout, stdout=file, check=True)
                if made.wait():
                    raise RuntimeError(f"mmdebstrap ends with {made.returncode}")
            os.rename(new, DEBIAN_ROOT)
        finally:
            if os.path.exists(new):
                os.unlink(new)
    return Path(DEBIAN_ROOT).read_bytes()
