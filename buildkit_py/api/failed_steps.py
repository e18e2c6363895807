"""What steps that failed left: under which name it is kept, and keeping it."""

from __future__ import annotations

from buildkit_py.digest import key_of
from buildkit_py.solver.keys import op_parts
from buildkit_py.store.usage import disk_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.session import Session
    from buildkit_py.executor.run_place import Asked


def name_of(asked: Asked) -> str:
    """The name for what a step leaves: it stands for the op and every file below it, so that the one fits the other."""
    return key_of("failed", op_parts(asked.op), asked.stands_on, asked.snapshots)


def keep(session: Session, asked: Asked, upper: str) -> None:
    """Keep the directory that a failed step wrote in the session's store. Raises `StoreError`."""
    size = disk_bytes(upper)
    session.store.failed.keep(name_of(asked), upper)
    session.grew(size)
