"""The second tier: a build whose Buildfile is unchanged goes on from the graph that the last one made of it.

Reading a Buildfile, resolving its images and lowering it costs more than
running a step; and mostly it is the sources that change.
"""

from __future__ import annotations

import sys

from buildkit_py.api.build import rebuild as build_again
from buildkit_py.api.witness import Witness
from buildkit_py.cli.progress import at_terminal, shown
from buildkit_py.cli.remember import answer, remember
from buildkit_py.freeze import thaw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def rebuild(memo: dict[str, Any], path: str) -> int:
    """Build what the memo at `path` remembers, or all from the start if it cannot be read; the exit code.

    Raises as a build does.
    """
    try:
        request, targets, notices = [thaw(memo[part]) for part in ("request", "graph", "notices")]
    except (AttributeError, ImportError, LookupError, TypeError, ValueError):  # frozen by other code than this
        from buildkit_py.cli.main import dispatch

        return dispatch(sys.argv[1:])
    request = request.replace(terminal=at_terminal())
    witness = Witness()
    witness.files.update(memo["files"])
    witness.names.update(memo["names"])
    witness.notices += notices
    witness.expires(memo["until"])
    progress = memo["progress"]
    result = shown(progress, lambda emit: build_again(request, targets, emit, witness))
    if progress == "quiet":
        sys.stdout.write(answer(request, result))
    remember(path, request, witness, progress, result)
    return 0
