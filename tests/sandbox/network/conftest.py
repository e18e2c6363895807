"""`lan`: sandboxes on the isolated network of a machine of their own (`machine`), by each way out and each user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.needs import need
from tests.sandbox.conftest import Box, start_as

MACHINE = Path(__file__).with_name("machine.py")
WAYS = [
    ("root", "pasta"),
    ("range", "pasta"),
    ("single", "pasta"),
    ("root", "bridge"),
    ("root", "slirp4netns"),
    ("range", "slirp4netns"),
]


class Lan(Box):
    """A box whose sandboxes are on the isolated network, which reaches out by `uplink`."""

    uplink = ""

    def run(self, *argv: str, **fields: Any) -> SimpleNamespace:
        return super().run(*argv, **{"network": "isolated", **fields})


def on_a_machine(scratch: Path, command: list[str]) -> list[str]:
    """The command line that runs a command on a machine of its own."""
    need("ip", "mount")
    return [sys.executable, str(MACHINE), str(scratch), *command]


@pytest.fixture(scope="session", params=WAYS, ids="-".join)
def lan(request: pytest.FixtureRequest, rootfs: Path, place: Path, package_copy: Path) -> Iterator[Lan]:
    if os.geteuid() != 0:
        pytest.skip("needs root to make a machine")
    mode, uplink = request.param
    if uplink != "bridge":
        need(uplink)
    work = place / f"lan-{mode}-{uplink}"
    work.mkdir()
    work.chmod(0o1777)
    driver = place / "network-driver.py"
    shutil.copy(Path(__file__).parent.with_name("driver.py"), driver)
    command = start_as(mode, place, [str(driver), str(package_copy), str(work), str(rootfs), uplink])
    scratch = place / f"scratch-{mode}-{uplink}"
    process = subprocess.Popen(on_a_machine(scratch, command), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        box = Lan(mode, rootfs, process)
        box.uplink = uplink
        yield box
    finally:
        assert process.stdin is not None
        process.stdin.close()
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(30) == 0
