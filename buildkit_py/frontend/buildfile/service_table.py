"""The services of a Buildfile by their names: a SERVICE belongs to its file, wherever in it it stands."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.services import check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.buildfile.own_words import Service
    from buildkit_py.frontend.buildfile.stages import StageNode, Unit
    from buildkit_py.frontend.buildfile.static_scope import StaticScope
    from buildkit_py.frontend.buildfile.syntax import Flag
    from buildkit_py.source_map import Position


class ServiceNode:
    """One SERVICE: its line, and what its FROM comes to: `base_name` is the expanded word, `base` the stage that it
    names, None for an image. Both are known once the stages are linked.
    """

    def __init__(self, head: Service, unit: Unit) -> None:
        self.head = head
        self.unit = unit
        self.base_name = ""
        self.base: StageNode | None = None

    def scope(self) -> StaticScope:
        """What the words of its line may name: the global ARGs, and the variables of the blocks around."""
        return self.unit.scope.static(dict(self.head.variables))


class ServiceTable:
    """The services that can be named in one file, with their names there: its own, and those that it includes."""

    def __init__(self) -> None:
        self.by_name: dict[str, ServiceNode] = {}

    def add(self, name: str, node: ServiceNode, at: Position) -> None:
        """Take one in. Raises `BuildfileError` at `at` for a name that none can have, or that another one has."""
        check_name(name, at)
        known = self.by_name.setdefault(name, node)
        if known is not node:
            other = known.head.position
            apart = "INCLUDE that file with `--as NAME`, and its names begin with `NAME.`"
            raise BuildfileError(
                f"there are two services `{name}`; the other one stands in {other.file}:{other.line}",
                at=at,
                hint="give one of them another name" if at is node.head.position else apart,
            )

    def find(self, name: str, at: Position) -> ServiceNode:
        """The service of a name. Raises `BuildfileError`."""
        found = self.by_name.get(name.lower())
        if found is None:
            listed = f"the services are {', '.join(self.by_name)}" if self.by_name else ""
            raise BuildfileError(
                f"there is no service `{name}`",
                at=at,
                hint=did_you_mean(name, self.by_name) or listed or f"define it: `SERVICE {name} FROM IMAGE`",
            )
        return found


def names_of(flag: Flag) -> tuple[str, ...]:
    """The services that a `--with` names. Raises `BuildfileError`."""
    value = flag.value or ""
    if "$" in value:
        raise BuildfileError(
            "variables are not expanded in --with",
            at=flag.position,
            hint="name the service; what it starts from may be a variable: `SERVICE db FROM postgres:$VERSION`",
        )
    names = tuple(name.strip() for name in value.split(","))
    if not all(names):
        raise BuildfileError("--with lacks the name of a service", at=flag.position, hint="write `--with=db,web`")
    return names
