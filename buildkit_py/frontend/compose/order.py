"""The order of services: each behind all that it depends on."""

from __future__ import annotations

from buildkit_py.errors import ComposeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.frontend.compose.project import Service


def ordered(services: Sequence[Service]) -> tuple[Service, ...]:
    """The services, what others depend on first, else in the order of the file.

    What a dependency names that is not among them is no matter. Raises `ComposeError` for a cycle, which it spells out.
    """
    known = {one.name: one for one in services}
    done: dict[str, Service] = {}
    for first in services:
        # The services on the way here, each with how many of its dependencies were looked at.
        way = [(first, 0)] if first.name not in done else []
        while way:
            service, position = way.pop()
            if position == len(service.depends_on):
                done[service.name] = service
                continue
            way.append((service, position + 1))
            name = service.depends_on[position].service
            names = [one.name for one, _ in way]
            if name in names:
                _refuse_cycle([one for one, _ in way[names.index(name) :]], position)
            if name in known and name not in done:
                way.append((known[name], 0))
    return tuple(done.values())


def _refuse_cycle(cycle: list[Service], position: int) -> None:
    names = " → ".join([f"`{one.name}`" for one in (*cycle, cycle[0])])
    closing = cycle[-1].depends_on[position]
    if len(cycle) == 1:
        raise ComposeError(f"`{closing.service}` depends on itself", at=closing.at, hint="leave that out")
    raise ComposeError(
        f"services wait for each other: {names}", at=closing.at, hint="one of them has to do without the next"
    )
