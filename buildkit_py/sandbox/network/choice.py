"""Which network a command gets: the one that is asked for, or where that cannot be had, the machine's, said once."""

from __future__ import annotations

from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.sandbox.network.plan import Plan

NETWORKS = ("isolated", "host", "none")
DEFAULT = "host"


class Choice:
    """For one build or run. `default` is what is meant where nothing is said; `warn(message, hint)` is told of what
    cannot be had. For many threads.
    """

    def __init__(self, default: str, warn: Callable[[str, str], None]) -> None:
        self._default = default or DEFAULT
        self._warn = warn
        self._plan: Plan | None = None
        self._lock = allocate_lock()
        self._files: dict[str, bytes] = {}

    def network(self, wanted: str) -> str:
        """What a command gets that wants "default" or one of `NETWORKS`: one of those."""
        network = self._default if wanted == "default" else wanted
        return "host" if network == "isolated" and not self.plan().uplinks else network

    def plan(self) -> Plan:
        """How the isolated network is made here."""
        with self._lock:
            if self._plan is None:
                from buildkit_py.sandbox.network.plan import draw

                self._plan = draw()
                if not self._plan.uplinks:
                    self._warn(
                        "no isolated network can be made here, so commands share this machine's",
                        f"{self._plan.missing[0][1]}; or choose it: --network=host",
                    )
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
