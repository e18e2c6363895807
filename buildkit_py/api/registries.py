"""Registries for one command: the client that the configuration describes."""

from __future__ import annotations

from buildkit_py.registry.client import Client
from buildkit_py.registry.mirrors import Routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.config import Config


def client(config: Config) -> Client:
    """A client of all registries; it is shared by the threads of a command."""
    return Client(
        Routes(
            mirrors=tuple((registry.name, registry.mirrors) for registry in config.registries if registry.mirrors),
            insecure=tuple(registry.name for registry in config.registries if registry.insecure),
            ca_bundle=config.ca_bundle,
        )
    )
