"""Writing the memo that the first tier answers from, after a build that went well."""

from __future__ import annotations

import marshal
import os
import time

from buildkit_py.cli import first_tier
from buildkit_py.freeze import freeze
from buildkit_py.graph.op import moves
from buildkit_py.graph.step import in_order
from buildkit_py.solver.lookup import must_run
from buildkit_py.store.checksum import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.request import BuildRequest, BuildResult
    from buildkit_py.api.witness import Witness

_BOOT = "/proc/sys/kernel/random/boot_id"


def remember(path: str, request: BuildRequest, witness: Witness, progress: str, result: BuildResult) -> None:
    """Leave a memo, if the same command line could be answered from it.

    `path` is the command line's `first_tier.memo_path`, taken before the
    process entered a user namespace and became another user. `progress` is
    the kind of progress that was shown. What cannot be written is not an
    error: the next build takes the full path.
    """
    if witness.unprovable or progress == "json" or not _may_be_believed(request):
        return
    out = answer(request, result) if progress == "quiet" else ""
    names = ", ".join(target.name for target in result.targets)
    steps = result.ran + result.cached
    graph = tuple(in_order([one.step for one in witness.targets if one.step is not None]))
    end = f"{names}: up to date, all {steps} steps are cached\n"
    err = ("", "") if progress == "quiet" else (_notices(witness, False) + end, _notices(witness, True) + end)
    try:
        scans = []
        for number, data in enumerate(witness.scans):
            name = f"{path}.{number}"
            _write(name, data)
            scans.append((name, first_tier.file_identity(os.stat(name))))
        memo = {
            "format": first_tier.FORMAT,
            # What a URL or a branch is now, only its server knows; but the graph stays what it is.
            "answers": not (witness.spoke or any(must_run(s) or moves(s.op) for s in graph)),
            "request": freeze(request),
            "graph": freeze(witness.targets, graph),
            "notices": freeze(tuple(witness.notices)),
            "progress": progress,
            "time": time.time(),
            "until": witness.until,
            "files": witness.files,
            "names": {**witness.names, _BOOT: _text(_BOOT)},
            "places": witness.places,
            "held": {name: None if os.path.isdir(name) else os.lstat(name).st_size for name in witness.held},
            "scans": scans,
            "out": out,
            "err": err,
        }
        _write(path, checked(marshal.dumps(memo, 4)))
    except (OSError, KeyError, ValueError):
        return


def _notices(witness: Witness, terminal: bool) -> str:
    """What is odd about the Buildfile, as the full path says it on a terminal or elsewhere."""
    if not witness.notices:
        return ""
    from buildkit_py.report.color import wanted_if
    from buildkit_py.report.message import notice_lines

    on = wanted_if(terminal)
    return "".join([notice_lines(notice, on) for notice in witness.notices])


def answer(request: BuildRequest, result: BuildResult) -> str:
    """What a quiet build prints: for each target the digest of its image, or else the name of its filesystem.

    Nothing, where standard output is what was built: behind an archive it would be no part of that.
    """
    if any(output.dest == "-" for output in request.outputs):
        return ""
    return "".join((target.image or target.snapshot) + "\n" for target in result.targets)


def _may_be_believed(request: BuildRequest) -> bool:
    """Whether nothing was asked for that the next build has to do again."""
    return not (request.pull or request.no_cache or request.no_cache_filter or request.dry_run)


def _text(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(4096)


def _write(path: str, data: bytes) -> None:
    temporary = f"{path}.{os.getpid()}.new"
    with open(temporary, "wb") as file:
        file.write(data)
    os.rename(temporary, path)
