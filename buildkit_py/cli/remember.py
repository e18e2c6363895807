"""Writing the memo that the first tier answers from, after a build that went well."""

from __future__ import annotations

import marshal
import os
import time

from buildkit_py.cli import first_tier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.request import BuildRequest
    from buildkit_py.api.witness import Witness

_BOOT = "/proc/sys/kernel/random/boot_id"


def remember(path: str, request: BuildRequest, witness: Witness, out: str, err: str) -> None:
    """Leave a memo, if the same command line could be answered from it.

    `path` is the command line's `first_tier.memo_path`, taken before the
    process entered a user namespace and became another user. `out` and `err`
    are the answer. What cannot be written is not an error: the next build
    takes the full path.
    """
    if witness.unprovable or not _can_be_a_no_op(request):
        return
    try:
        scans = []
        for number, data in enumerate(witness.scans):
            name = f"{path}.{number}"
            _write(name, data)
            scans.append((name, first_tier.file_identity(os.stat(name))))
        memo = {
            "format": first_tier.FORMAT,
            "time": time.time(),
            "files": witness.files,
            "names": {name: _text(name) for name in (*witness.names, _BOOT)},
            "held": {name: None if os.path.isdir(name) else os.lstat(name).st_size for name in witness.held},
            "scans": scans,
            "out": out,
            "err": err,
        }
        _write(path, marshal.dumps(memo, 4))
    except (OSError, KeyError, ValueError):
        return


def _can_be_a_no_op(request: BuildRequest) -> bool:
    """Whether doing it again with nothing changed would change nothing."""
    repeated = any(output.kind in ("registry", "local") or output.dest == "-" for output in request.outputs)
    return not (repeated or request.pull or request.no_cache or request.no_cache_filter or request.dry_run)


def _text(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(4096)


def _write(path: str, data: bytes) -> None:
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(data)
    os.rename(temporary, path)
