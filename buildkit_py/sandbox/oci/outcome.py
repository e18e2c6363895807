"""How a sandbox ended that a runtime ran: by its command, or because the runtime could not start it.

A runtime ends with 1 for its own failures, as a command may. It writes those
to its log, and a container that ran leaves none there.
"""

from __future__ import annotations

from buildkit_py.errors import SandboxError
from buildkit_py.sandbox.oci.streams import give_back
from buildkit_py.sandbox.spec import Exit

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
# What crun and runc say of a command that is not there, or is none.
_COMMAND = (
    *("exec: ", "exec /", "exec user process", "exec container process"),
    *("executable file ", "open executable", "is not a regular file", "is not executable"),
)
_MISSING = ("not found", "no such file or directory")


def outcome(ended: Exit, runtime: tuple[str, ...]) -> Exit:
    """The end as `pybuild run` tells it. Raises `SandboxError` with the runtime's words where it failed itself."""
    kind, program, bundle = runtime
    give_back(bundle)
    if ended.code == 0:
        return ended
    said = _last_error(f"{bundle}/log")
    if not said:
        return ended
    lower = said.lower()
    if any(word in lower for word in _COMMAND):
        missing = any(word in lower for word in _MISSING)
        return Exit(_NOT_FOUND if missing else _NOT_EXECUTABLE, ended.seconds, ended.max_rss)
    raise SandboxError(
        f"{kind} could not run the container",
        at=program,
        notes=(said,),
        hint="leave `--runtime` out, and pybuild runs it by itself",
    )


def _last_error(path: str) -> str:
    """The last error of a log of JSON lines; "" for none."""
    import json

    found = ""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict) and entry.get("level") in ("error", "fatal", "panic"):
                    found = str(entry.get("msg", ""))
    except OSError:
        return ""
    return found
