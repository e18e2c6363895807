"""A real S3 server for tests: Ceph's `radosgw` without a cluster, its objects in a database of a given directory."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.registry_server import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COMMANDS = ("radosgw", "radosgw-admin")
KEYS: Mapping[str, str] = {
    "AWS_ACCESS_KEY_ID": "PYBUILDTEST",
    "AWS_SECRET_ACCESS_KEY": "its-secret-key",
    "AWS_REGION": "us-east-1",
}


@contextmanager
def s3_server(directory: Path, *buckets: str) -> Iterator[str]:
    """The URL of a running server with these buckets, whose only user has `KEYS`."""
    directory.mkdir(parents=True)
    port = free_port()
    config = directory / "ceph.conf"
    config.write_text(
        f"[global]\nrgw_backend_store = dbstore\nrgw_config_store = dbstore\n"
        f"dbstore_db_dir = {directory}\ndbstore_config_uri = file://{directory}/config.db\n"
        f"rgw_frontends = beast endpoint=127.0.0.1:{port}\n"
        f"log_file = {directory}/log\nrun_dir = {directory}\nadmin_socket = {directory}/asok\nrgw_data = {directory}\n"
    )
    environment = {**os.environ, "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"}
    options = ("-c", str(config), "--no-mon-config")
    user = ("--uid=test", "--display-name=test", f"--access-key={KEYS['AWS_ACCESS_KEY_ID']}")
    secret = f"--secret-key={KEYS['AWS_SECRET_ACCESS_KEY']}"
    _run_until_told(["radosgw-admin", *options, "user", "create", *user, secret], environment)
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(
            ["radosgw", "-f", *options, "-n", "client.rgw.a"],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url, directory)
        for bucket in buckets:
            _make(url, bucket)
        yield url
    finally:
        process.kill()
        process.wait()


def _run_until_told(command: list[str], environment: Mapping[str, str]) -> None:
    """Run radosgw-admin until it has shown what it did; after that it sometimes waits for its own threads for ever."""
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        told = b"}\n" in iter(process.stdout.readline, b"")
        process.kill()
    if not told:
        raise RuntimeError(f"`{' '.join(command)}` failed")


def _wait(process: subprocess.Popen[bytes], url: str, directory: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while process.poll() is None:
        try:
            with opener.open(url, timeout=5):
                return
        except urllib.error.HTTPError as answer:
            answer.close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"radosgw does not start: {(directory / 'output').read_text()[-2000:]}")


def _make(url: str, bucket: str) -> None:
    from datetime import timedelta

    import obstore
    from obstore.store import S3Store

    store = S3Store(
        bucket,
        endpoint=url,
        access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        region=KEYS["AWS_REGION"],
        client_options={"allow_http": True},
    )
    address = obstore.sign(store, "PUT", "", timedelta(minutes=5))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(address, method="PUT"), timeout=30):
        pass
