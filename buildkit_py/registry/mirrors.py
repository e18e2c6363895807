"""Where a registry is really reached: its mirrors, its own address, and whether plain http will do.

    registry of an image -> mirrors in their order -> the registry itself

Plain http is spoken to a mirror whose address says so, to a registry that the
configuration marks `insecure`, and to this machine itself, as docker does.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from buildkit_py.config import Config
from buildkit_py.errors import UsageError
from buildkit_py.http.proxy import is_loopback
from buildkit_py.image.reference import DEFAULT_REGISTRY
from buildkit_py.record import Record

# The default registry's name and the host that serves it have differed since 2015.
_DEFAULT_HOST = "registry-1.docker.io"


class Endpoint(Record):
    """An address that speaks the distribution protocol under `base` + `/v2/`.

    `login` is the name under which credentials are looked up. `verify` False: certificates are not checked.
    """

    base: str
    login: str
    verify: bool = True
    mirror: bool = False


def mirrors(config: Config, registry: str) -> tuple[Endpoint, ...]:
    """The mirrors of a registry, in the order in which they are asked.

    Raises `UsageError` where a mirror's address is none.
    """
    found = []
    for address in config.registry(registry).mirrors:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise UsageError(
                f"the mirror `{address}` of `{registry}` is not a URL of a registry", at=config.file or None
            )
        host = parts.netloc.rpartition("@")[2]
        base = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
        found.append(Endpoint(base, host, not config.registry(host).insecure, mirror=True))
    return tuple(found)


def candidates(config: Config, registry: str) -> tuple[Endpoint, ...]:
    """The addresses of the registry itself: the first that answers is the one."""
    if registry == DEFAULT_REGISTRY:
        return (Endpoint(f"https://{_DEFAULT_HOST}", DEFAULT_REGISTRY),)
    host = urlsplit(f"//{registry}").hostname or registry
    if is_loopback(host):
        return (Endpoint(f"http://{registry}", registry), Endpoint(f"https://{registry}", registry, verify=False))
    if config.registry(registry).insecure:
        return (Endpoint(f"https://{registry}", registry, verify=False), Endpoint(f"http://{registry}", registry))
    return (Endpoint(f"https://{registry}", registry),)
