"""Build args that nothing takes: probably a name was misspelt, and the build makes something else than was meant."""

from __future__ import annotations

from buildkit_py.frontend import assemble
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.platform_args import PLATFORM_ARGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.buildfile.lower import Notify
    from buildkit_py.frontend.target import Options
    from buildkit_py.source_map import Position

# Arguments that reach a build without being declared: never "not used".
_PREDEFINED = (*assemble.PROXIES, "source_date_epoch")


def tell_of_unused_args(options: Options, declared: set[str], at: Position | None, notice: Notify) -> None:
    """Have `notice` hear of each build arg that is none of the `declared` names, nor one that every build has."""
    if not options.build_args:
        return
    for name, _ in options.build_args:
        if name in declared or name in PLATFORM_ARGS or name.lower() in _PREDEFINED or name.startswith("BUILDKIT_"):
            continue
        notice(f"the build arg `{name}` is declared nowhere", at, did_you_mean(name, declared), "")
