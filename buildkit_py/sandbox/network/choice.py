"""Which network a command gets: the one that is asked for, or where nobody asked, what the machine has to give."""

from __future__ import annotations

from _thread import allocate_lock

from buildkit_py.errors import SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.sandbox.network.plan import Plan

NETWORKS = ("isolated", "host", "none")


class Choice:
    """For one build or run. `default` is what somebody has set for where nothing is said, "" where nobody has: then it
    is the isolated network, and where that cannot be had the machine's, of which `warn(message, hint)` is told once.
    For many threads.
    """

    def __init__(self, default: str, warn: Callable[[str, str], None]) -> None:
        self._default = default
        self._warned = False
        self._warn = warn
        self._plan: Plan | None = None
        self._lock = allocate_lock()
        self._files: dict[str, bytes] = {}

    def network(self, wanted: str) -> str:
        """What a command gets that wants "default" or one of `NETWORKS`: one of those.

        Raises `SandboxError` where the isolated one is asked for and cannot be had.
        """
        asked = self._default if wanted == "default" else wanted
        network = asked or "isolated"
        if network != "isolated" or self.plan().uplinks:
            return network
        fix = self.plan().missing[0][1]
        if asked:
            raise SandboxError("no isolated network can be made here", hint=fix)
        with self._lock:
            told, self._warned = self._warned, True
        if not told:
            self._warn(
                "no isolated network can be made here, so commands share this machine's",
                f"{fix}; or choose it: --network=host",
            )
        return "host"

    def plan(self) -> Plan:
        """How the isolated network is made here."""
        with self._lock:
            if self._plan is None:
                from buildkit_py.sandbox.network.plan import draw

                self._plan = draw()
            return self._plan

    def resolv_conf(self, network: str) -> bytes:
        """The /etc/resolv.conf for a command on that network, one of `NETWORKS`."""
        if network == "isolated":
            return self.plan().resolv_conf
        found = self._files.get(network)
        if found is None:
            from buildkit_py.sandbox.resolv import resolv_conf

            found = self._files[network] = resolv_conf()
        return found
