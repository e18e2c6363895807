"""Which signals a process notices, by what the kernel says of real ones."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from buildkit_py.executor.started_service import hears


@pytest.mark.parametrize(
    ("does", "heard"),
    [
        ("pass", False),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", False),
        ("signal.signal(signal.SIGTERM, print)", True),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])", True),
        ("signal.signal(signal.SIGRTMAX, print)", False),
    ],
)
def test_a_process(does: str, heard: bool) -> None:
    script = f"import signal; {does}; print('so', flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"so\n"
        assert hears(process.pid, signal.SIGTERM) is heard
        assert hears(process.pid, signal.SIGRTMAX) is ("RTMAX" in does)
        assert hears(process.pid, signal.SIGKILL)
        process.kill()
    assert not hears(process.pid, signal.SIGTERM), "it has ended"
