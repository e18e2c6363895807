"""Mending a Buildfile: the edits that findings offer are made until there are none left."""

from __future__ import annotations

from buildkit_py.api.check import check, read
from buildkit_py.api.rewrite import rewrite
from buildkit_py.errors import UsageError
from buildkit_py.frontend.buildfile.checks.mend import apply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.check import CheckRequest

# One edit may make room for another (a keyword, then the AS beside it); more rounds than this mean a circle.
_ROUNDS = 10


def mend(request: CheckRequest) -> bool:
    """Make the edits in the file; whether there were any. A file that is wrong stays as it is.

    Raises what `check.read` raises, `UsageError` for standard input, `ExportError` where it cannot be written.
    """
    if request.file == "-":
        raise UsageError("`--fix` needs a file to write to", hint="name one in the place of `-`")
    before = data = read(request.file)
    for _ in range(_ROUNDS):
        checked = check(request, data)
        if checked.error is not None:
            break
        mended = apply(checked.text, checked.findings).encode("utf-8", "surrogateescape")
        if mended == data:
            break
        data = mended
    if data != before:
        rewrite(request.file, data)
    return data != before
