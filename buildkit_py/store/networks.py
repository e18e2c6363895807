"""`networks/` of a store: who is in the network of a project, and under which names, started or not.

A member is known by the name of its container. Its seat is a number from 0,
of which its address is made (`sandbox/network/plan.py`): it keeps it for as
long as it is a member, so that the others can name it before it starts. When
it has left no other one gets it while the network is there.
"""

from __future__ import annotations

from buildkit_py.errors import StoreError, UsageError
from buildkit_py.record import Record
from buildkit_py.store.containers import is_name
from buildkit_py.store.faults import store_error
from buildkit_py.store.locks import Lock
from buildkit_py.store.sealed import read_regular, seal, unseal
from buildkit_py.store.work import make_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from buildkit_py.store.work import Work

SEATS = (1 << 14) - 2
"""How many members a network can have."""
_GIVEN = ""  # no container's name


class Member(Record):
    """`names` are those under which the others find it."""

    seat: int
    names: tuple[str, ...]


def check_alias(name: str) -> None:
    """Raise `UsageError` where a name can be none under which others find a member: it is a word of hosts(5)."""
    if not name.isprintable() or not name or " " in name or "#" in name:
        raise UsageError(
            f"{name!r} cannot be a name in a network",
            hint="it is a word of /etc/hosts: without white space, `#`, and what cannot be printed",
        )


class Networks:
    """Methods raise `StoreError`."""

    def __init__(self, work: Work) -> None:
        self.dir = work.root + "/networks"
        self._work = work

    def path(self, name: str) -> str:
        """The directory of a network. Raises `UsageError` for a name that is none."""
        if not is_name(name):
            raise UsageError(
                f"`{name}` cannot be the name of a project",
                hint="a name holds letters, digits, `_`, `.` and `-`, and begins with a letter or a digit",
            )
        return f"{self.dir}/{name}"

    def make(self, name: str) -> str:
        """The directory of a network, which is there then. Raises as `path`."""
        path = self.path(name)
        try:
            make_dir(self.dir)
            make_dir(path)
        except OSError as problem:
            raise store_error(problem, self._work.root, "make a network") from problem
        return path

    def members(self, name: str) -> dict[str, Member]:
        """All members, by the names of their containers; none where there is no such network."""
        return self._read(name)[0]

    def _read(self, name: str) -> tuple[dict[str, Member], int]:
        """The members, and from which number on no seat was given yet."""
        path = self.path(name) + "/members"
        try:
            data = read_regular(path)
            values = unseal(data) if data is not None else {}
            given = values.pop(_GIVEN, 0)
            return {container: Member(*member) for container, member in values.items()}, int(given)
        except (ValueError, TypeError, AttributeError):
            raise StoreError(
                f"{path} is damaged", hint="stop the project's containers, remove the file, and start them anew"
            ) from None
        except OSError as problem:
            raise store_error(problem, self._work.root, "read the members of a network") from problem

    def join(self, name: str, wanted: Mapping[str, Iterable[str]]) -> dict[str, Member]:
        """Make members of containers, by their names with those that the others find each under; all members then.

        Those that are members keep their seats. Raises `UsageError` where there is no seat left, and as `check_alias`.
        """
        with self._lock():
            members, given = self._read(name)
            taken = {member.seat for member in members.values()}
            # Not again the number of one that has left, as long as there are others: its name leads there for who runs.
            free = (seat for seat in (*range(given, SEATS), *range(min(given, SEATS))) if seat not in taken)
            for container, names in wanted.items():
                before = members.get(container)
                seat = before.seat if before is not None else next(free, -1)
                if seat < 0:
                    raise UsageError(f"the network of `{name}` is full: it has {SEATS} members")
                members[container] = Member(seat, tuple(dict.fromkeys((container, *names))))
                for alias in members[container].names:
                    check_alias(alias)
                given = max(given, seat + 1)
            self._write(name, members, given)
            return members

    def leave(self, name: str, containers: Iterable[str]) -> None:
        """They are members no more; with the last one goes what is kept of the network."""
        with self._lock():
            members, given = self._read(name)
            for container in containers:
                members.pop(container, None)
            self._write(name, members, given)

    def beginning(self, name: str, waiting: Callable[[int], object]) -> Lock:
        """Held by the one who finds nobody that has the network, until somebody has. `waiting` is as of `Lock`."""
        return Lock(f"{self._work.root}/locks/network-{name}", waiting=waiting)

    def _lock(self) -> Lock:
        return Lock(f"{self._work.root}/locks/networks")

    def _write(self, name: str, members: dict[str, Member], given: int) -> None:
        if not members:
            self._work.remove(self.path(name))
            return
        values: dict[str, object] = {container: member.values() for container, member in members.items()}
        self._work.write(self.make(name) + "/members", seal({_GIVEN: given, **values}))
