"""The ssh agents of a build: those that `--ssh` names, and one that is started for keys given as files."""

from __future__ import annotations

import os
from _thread import allocate_lock

from buildkit_py.errors import SourceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.request import Ssh
    from buildkit_py.executor.ssh_keys import KeyAgent


class SshAgents:
    """Shared by threads. What was started is ended by `close`."""

    def __init__(self, given: tuple[Ssh, ...]) -> None:
        self._given = {one.id: one for one in given}
        self._started: dict[str, KeyAgent] = {}
        self._lock = allocate_lock()

    def socket(self, id: str) -> str | None:
        """The path of an agent's socket, None for one that was not given. Raises `SourceError`."""
        ssh = self._given.get(id)
        if ssh is None:
            return None
        if ssh.socket:
            if not os.path.exists(ssh.socket):
                raise SourceError(f"the socket of the ssh agent `{id}` is gone", at=ssh.socket)
            return ssh.socket
        from buildkit_py.executor.ssh_keys import KeyAgent

        with self._lock:
            agent = self._started.get(id)
            if agent is None:
                agent = self._started[id] = KeyAgent(ssh.keys)
            return agent.socket

    def close(self) -> None:
        """End the agents that were started."""
        for agent in self._started.values():
            agent.close()
        self._started.clear()
