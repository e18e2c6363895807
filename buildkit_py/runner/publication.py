"""The published ports of one container: sockets for as long as somebody looks after it, a forwarder while it runs."""

from __future__ import annotations

import os

from buildkit_py import port_spec
from buildkit_py.errors import SandboxError, UsageError
from buildkit_py.runner.published import DEFAULT_ADDRESS, Published, bind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.image.config import ImageConfig
    from buildkit_py.runner.forwarder import Forwarder
    from buildkit_py.runner.request import RunRequest
    from buildkit_py.sandbox.launch import Sandbox


class Publication:
    """`container_at(port, protocol)` is the name of a container that has a port of this machine, "" where none has.

    Raises `UsageError` and `SandboxError` as `bind`.
    """

    def __init__(
        self, ports: tuple[Published, ...], container_at: Callable[[int, str], str] = lambda port, protocol: ""
    ) -> None:
        self._bound = bind(ports, container_at)
        self._forwarder: Forwarder | None = None

    @property
    def places(self) -> tuple[tuple[str, int, int, str], ...]:
        """Where the ports are reached: each (address, port, port of the container, protocol)."""
        return tuple(
            [(one.wanted.host_ip, one.port, one.wanted.container_port, one.wanted.protocol) for one in self._bound]
        )

    def begin(self, sandbox: Sandbox) -> None:
        """The container was started: pass on to it, once it is in its network. Who connected before has waited.

        Raises `SandboxError`, and then the container is no more.
        """
        if not self._bound:
            return
        from buildkit_py.runner.forwarder import Forwarder

        try:
            sandbox.await_ready()
            self._forwarder = Forwarder(self._bound, sandbox.pidfd)
        except OSError as problem:
            sandbox.put_away()
            raise SandboxError(f"no process for the published ports: {os.strerror(problem.errno or 0)}") from problem
        except BaseException:
            sandbox.put_away()
            raise

    def end(self) -> None:
        """The container has ended: so have its connections."""
        if self._forwarder is not None:
            self._forwarder.close()
            self._forwarder = None

    def close(self) -> None:
        """Let go of the ports."""
        self.end()
        for bound in self._bound:
            bound.socket.close()
        self._bound = ()


def check_free(ports: tuple[Published, ...], container_at: Callable[[int, str], str]) -> None:
    """Raise as `bind` where a port cannot be had now: it is told before anything is built."""
    for bound in bind(ports, container_at):
        bound.socket.close()


def wanted_ports(
    request: RunRequest, config: ImageConfig, network: str, warn: Callable[[str, str], None]
) -> tuple[Published, ...]:
    """What is to be published of a container on `network`: what was asked for, and the image's where all are wanted.

    `warn(message, hint)` is told of what means nothing. Raises `UsageError` where the network has nothing to reach.
    """
    ports = request.ports
    if request.publish_all:
        wanted = [port for exposed in config.ports for port in _exposed(exposed, warn)]
        taken = {(port.container_port, port.protocol) for port in ports}
        ports += tuple([port for port in dict.fromkeys(wanted) if (port.container_port, port.protocol) not in taken])
    if not ports or network == "isolated":
        return ports
    if request.network == "host":  # as docker has it
        warn("published ports mean nothing on this machine's network", "leave `-p` or `--network=host` out")
        return ()
    raise UsageError("ports can be published of a container on the isolated network only", hint="--network=isolated")


def _exposed(text: str, warn: Callable[[str, str], None]) -> tuple[Published, ...]:
    """What an image exposes, as that says it: `80/tcp`, `8000-8002/udp`. Other builders look at it less closely."""
    try:
        found = port_spec.pairs("", "", text, text)
    except ValueError as problem:
        warn(f"the image exposes `{text}`, which is not published: {problem}", "publish what it means with `-p`")
        return ()
    return tuple([Published(DEFAULT_ADDRESS, host, port, protocol) for _, host, port, protocol in found])
