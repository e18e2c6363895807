"""Entitlements: what a Buildfile may ask for only where whoever builds has allowed it (`--allow`)."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.source_map import Position

# BuildKit's names for them.
INSECURE = "security.insecure"
HOST_NETWORK = "network.host"


def check_security(mode: str, allowed: tuple[str, ...], at: Position | None) -> str:
    """The security mode of a RUN, as given. Raises `BuildfileError` for one that this build does not allow."""
    if mode == "insecure" and INSECURE not in allowed:
        raise BuildfileError(
            "a RUN with `--security=insecure` is not allowed in this build",
            at=at,
            hint=f"whoever builds has to allow it: --allow {INSECURE}",
        )
    return mode


def check_network(network: str, allowed: tuple[str, ...], at: Position | None) -> str:
    """The network of a RUN, as given. Raises `BuildfileError` for one that this build does not allow."""
    if network == "host" and HOST_NETWORK not in allowed:
        raise BuildfileError(
            "a RUN with `--network=host` is not allowed in this build",
            at=at,
            hint=f"whoever builds has to allow it: --allow {HOST_NETWORK}",
        )
    return network
